"""Where the time of one row goes: what reading the weights takes, what onnxruntime takes, and aetool.

    python benchmarks/one_row_parts.py

Shares of bare `session.run`'s time.

weights  reading as many bytes as the graph's weights have, from the cache they fit in, in C, on one core: one core
         that reads them all computes no row in less. Not measured where there is no C compiler.
bound    onnxruntime's own call alone, in the session that aetool opens for its provider "cpu", bound to memory
         beforehand: nothing written around it can be faster.
copied   with the row copied in and the result out: else rows would have to lie where the session reads, and the
         next run would overwrite the result.
aetool   its method, which checks the row, takes any shape and type, and may be called by any thread. Its provider
         is "auto", which answers one row on aetool's own core: `bound` and `copied` do not limit it.

And the share of the bound: the time of `weights` by aetool's.
"""

import ctypes
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from common import parser, save
from competing import compete, contestants_on, figures
from models import NAMES, make

import aetool
from aetool.bench.contestants import Contestant, Load
from aetool.bench.factories import OUTPUT, Phase
from aetool.bench.grid import OURS, RAW, Setting
from aetool.bundle.bundle import Bundle
from aetool.choices import CALLS

GRAPHS = ("encode", "reconstruct", "score")
PARTS = ("bound", "copied")
WEIGHTS = "weights"
PASSES = 64
"""Times that one call reads the weights: what Python takes for the call is then no hundredth of it."""
READER = """
#if defined(__AVX512F__)
typedef float vector __attribute__((vector_size(64)));
#elif defined(__AVX__)
typedef float vector __attribute__((vector_size(32)));
#else
typedef float vector __attribute__((vector_size(16)));
#endif

int stride(void) { return 8 * sizeof(vector); }

float read_all(const vector *from, long vectors, int passes) {
    vector a = {0}, b = {0}, c = {0}, d = {0}, e = {0}, f = {0}, g = {0}, h = {0};
    for (int pass = 0; pass < passes; pass++) {
        for (long i = 0; i < vectors; i += 8) {
            a += from[i], b += from[i + 1], c += from[i + 2], d += from[i + 3];
            e += from[i + 4], f += from[i + 5], g += from[i + 6], h += from[i + 7];
        }
        __asm__ volatile("" ::: "memory"); /* each pass reads again */
    }
    vector sum = a + b + c + d + e + f + g + h;
    return sum[0] + sum[1] + sum[2] + sum[3];
}
"""


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--rounds", type=int, default=20, help="turns in each of two launches")
    options_of.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    options = options_of.parse_args()
    load = Load(batch=1, seconds=options.seconds, calls=700)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))
        if library is None:
            print("weights are not measured: there is no C compiler, $CC, cc, gcc or clang", file=sys.stderr)
        for name in NAMES:
            model = make(name, Path(folder))
            for graph in GRAPHS:
                arguments = {"path": str(model.bundle), "graph": graph}
                parts = [Contestant(part, f"{__file__}:{part}", arguments) for part in PARTS]
                entrants = [*contestants_on(model, graph, [RAW]), *parts]
                size = weight_bytes(Setting(graph, "cpu", "fp32", None).file(Bundle.open(model.bundle)))
                if library is not None:
                    reading = {"library": str(library), "size": size}
                    entrants.append(Contestant(WEIGHTS, f"{__file__}:weights", reading))
                turns = compete(entrants, model.rows, load, rounds=options.rounds)
                found = figures(turns, of=RAW)
                shares = {part: 1 / found[part]["to_it"]["p50"] for part in (*PARTS, OURS)}
                p50 = {part: found[part]["latency_us"]["p50"] for part in (RAW, *shares)}
                one: dict[str, Any] = {"shares": shares, "p50_us": p50, "weight_bytes": size}
                if library is not None:
                    shares[WEIGHTS] = 1 / found[WEIGHTS]["to_it"]["p50"] / PASSES
                    p50[WEIGHTS] = found[WEIGHTS]["latency_us"]["p50"] / PASSES
                    one["read_gb_per_s"] = size / p50[WEIGHTS] / 1e3
                    one["share_of_the_bound"] = 1 / figures(turns)[WEIGHTS]["to_it"]["p50"] / PASSES
                print(f"{name:10} {graph:12}", *(f"{part} {share:.3f}" for part, share in shares.items()))
                if library is not None:
                    share, took, rate = one["share_of_the_bound"], p50[WEIGHTS], one["read_gb_per_s"]
                    print(f"{'':23} share of the bound {share:.3f}: {size:,} B in {took:.2f} µs, {rate:.0f} GB/s")
                results.setdefault(name, {})[graph] = one
    save("one_row_parts", vars(options), results)


def bound(phase: Phase, *, path: str, graph: str) -> Any:
    """A contestant: onnxruntime alone, on a row that lies there."""
    model, (_, run, binding, _, _) = _ready(phase, path, graph)
    return SimpleNamespace(call=lambda _: run(binding, None), outputs=(OUTPUT[graph],), model=model)


def copied(phase: Phase, *, path: str, graph: str) -> Any:
    """A contestant: with the row copied in, and the result out."""
    model, (features, run, binding, take, _) = _ready(phase, path, graph)

    def call(rows: Any) -> Any:
        features[...] = rows
        run(binding, None)
        return take()

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],), model=model)


def weights(phase: Phase, *, library: str, size: int) -> Any:
    """A contestant: `size` bytes read, PASSES times a call."""
    reader = ctypes.CDLL(library)
    read = reader.read_all
    read.argtypes, read.restype = (ctypes.c_void_p, ctypes.c_long, ctypes.c_int), ctypes.c_float
    stride = reader.stride()
    whole = -(-size // stride) * stride  # whole rounds of the loop
    memory = np.ones(whole // 4 + 16, np.float32)  # written, or all its pages would be one
    address = memory.ctypes.data + -memory.ctypes.data % 64
    vectors = whole // (stride // 8)
    return SimpleNamespace(call=lambda _: read(address, vectors, PASSES), outputs=("sum",), memory=memory)


def compiled(folder: Path) -> Path | None:
    """The library that READER makes; None: there is no C compiler."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if compiler is None:
        return None
    source, library = folder / "reader.c", folder / "reader.so"
    source.write_text(READER, encoding="utf-8")
    flags = ("-O3", "-march=native", "-fPIC", "-shared")
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return library


def weight_bytes(file: Path) -> int:
    """Bytes of the float32 constants in an ONNX graph, each of which a row has to be computed with."""
    import onnx

    constants = onnx.load(file, load_external_data=False).graph.initializer
    return sum(4 * math.prod(one.dims) for one in constants if one.data_type == onnx.TensorProto.FLOAT)


def _ready(phase: Phase, path: str, graph: str) -> tuple[aetool.AutoencoderSession, Any]:
    """The bundle, and what its method for one row uses inside."""
    with phase("session_creation"):
        model = aetool.load(path, provider="cpu")
        row = np.zeros((1, *model.input_shape), np.float32)
        getattr(model, graph)(row)
    opened = model._graphs["score alone" if graph == "score" else CALLS[graph]]
    return model, opened._ready[OUTPUT[graph]][row.shape][0]


if __name__ == "__main__":
    main()
