"""A bundle on an NVIDIA GPU: against the bus, against torch.compile, against the CPU.

    python benchmarks/gpu.py                        needs CUDA for onnxruntime and for torch

Host to host, bulk: rows/s against what copying as many bytes to the device and back allows, both ways at once from
page-locked memory (bar: 0.70). On the device: rows/s against torch.compile in float32 (bar: 1.0). One row from the
host and back, and from how many rows on the GPU is faster than the CPU.

Each contestant runs in its own process, the processes take turns; every contestant's outputs are compared with the
golden vectors before it is timed. Both models are trained on random numbers: only speed is measured.
"""

import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import contestant, parser, save
from numpy.typing import NDArray

from aetool.errors import AetoolError, ProviderError, VerificationError
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS, candidates

GRAPH = "autoencoder"
HOST_BAR, DEVICE_BAR = 0.70, 1.0
TOLERANCE = 1e-5  # scaled by the range, as in aetool.checks.parity
ROUNDS = 3
Record = dict[str, Any]


def golden(folder: Path) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
    with np.load(folder / "bundle" / "golden.npz") as archive:
        return archive["features"].astype(np.float32), {name: archive[name] for name in archive.files}


def require_equal(name: str, found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    for output, values in found.items():
        wanted = expected[output].astype(np.float64)
        difference = float(np.max(np.abs(values - wanted)) / np.ptp(wanted))
        if not difference <= TOLERANCE:
            raise VerificationError(f"{name}: {output} differs from the golden vectors by {difference:.1e} scaled")


def rate(rows: int, run: Callable[[], Any], seconds: float = 3.0) -> Record:
    """Rows per second over whole runs of at least `seconds`, after a warm-up."""
    for _ in range(3):
        run()
    begin, count = time.perf_counter(), 0
    while (taken := time.perf_counter() - begin) < seconds:
        run()
        count += 1
    return {"rows_per_s": rows * count / taken, "runs": count}


def session_of(folder: Path, provider: str = "cuda") -> tuple[bytes, Any]:
    model = (folder / "bundle" / f"{GRAPH}.onnx").read_bytes()
    return model, open_session(model, PROVIDERS[provider], where=GRAPH)


def many(folder: Path, rows: int) -> NDArray[np.float32]:
    features, _ = golden(folder)
    return np.resize(features, (rows, features.shape[1]))


def run_bulk(folder: Path, rows: int) -> Record:
    from aetool.runtime.gpu.pinned import Staging, pinned_memory
    from aetool.runtime.ort import placement

    model, session = session_of(folder)
    memory = pinned_memory()
    staging = Staging(session, memory=memory)
    features, expected = golden(folder)
    require_equal("bulk", staging.run(features), expected)
    given = many(folder, rows)
    found = rate(rows, lambda: staging.run(given))
    nodes = Counter(node.provider for node in placement(model, PROVIDERS["cuda"], GRAPH))
    return {**found, "page_locked": memory is not None, "chunk_rows": staging.chunk_rows, "nodes": nodes}


def run_bus(folder: Path, rows: int) -> Record:
    """As many bytes to the device and back as the graph takes and gives, both ways at once; nothing computed."""
    import torch

    features, expected = golden(folder)
    wide_in, wide_out = features.shape[1], sum(expected[name][0].size for name in ("embedding", "reconstruction"))
    chunk = min(rows, 65_536)
    up = (torch.empty(chunk, wide_in).pin_memory(), torch.empty(chunk, wide_in, device="cuda"))
    down = (torch.empty(chunk, wide_out, device="cuda"), torch.empty(chunk, wide_out).pin_memory())
    streams = torch.cuda.Stream(), torch.cuda.Stream()

    def run() -> None:
        for stream, (source, target) in zip(streams, (up, down), strict=True):
            with torch.cuda.stream(stream):
                target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()

    return rate(chunk, run)


def run_device(folder: Path, rows: int) -> Record:
    import torch

    from aetool.runtime.gpu._arrays import run_on_device

    _, session = session_of(folder)
    features, expected = golden(folder)
    shape = features.shape[1:]
    found = run_on_device(session, torch.from_numpy(features).cuda(), shape)
    require_equal(
        "device", {name: torch.from_dlpack(array).cpu().numpy() for name, array in found.items()}, expected
    )
    given = torch.from_numpy(many(folder, rows)).cuda()
    return rate(rows, lambda: run_on_device(session, given, shape))


def run_compile(folder: Path, rows: int) -> Record:
    import torch

    from aetool.model import load_checkpoint

    pipeline = load_checkpoint(folder / "checkpoint").pipeline().cuda().eval()
    features, expected = golden(folder)

    def autoencoder(given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = pipeline(given)
        return outputs.embedding, outputs.reconstruction  # the score is left out: the compiler drops it

    compiled = torch.compile(autoencoder)
    with torch.inference_mode():
        embedding, reconstruction = compiled(torch.from_numpy(features).cuda())
        found = {"embedding": embedding.cpu().numpy(), "reconstruction": reconstruction.cpu().numpy()}
        require_equal("compile", found, expected)
        given = torch.from_numpy(many(folder, rows)).cuda()

        def run() -> None:
            compiled(given)
            torch.cuda.synchronize()

        return rate(rows, run)


def run_single(folder: Path, _: int) -> Record:
    """Latencies of one row from the host and back, in microseconds; percentiles need their samples."""
    _, session = session_of(folder)
    _, cpu = session_of(folder, "cpu")
    features, expected = golden(folder)
    first = session.run(list(expected), {"features": features[:1]})
    require_equal("plain", dict(zip(expected, first, strict=True)), {name: v[:1] for name, v in expected.items()})
    contestants: dict[str, Callable[[NDArray[np.float32]], Any]] = {
        "plain": lambda row: session.run(None, {"features": row}),
        "cpu": lambda row: cpu.run(None, {"features": row}),
    }
    found = {}
    for name, run in contestants.items():
        samples = []
        for index in range(3000):
            row = features[index % len(features)][None]
            begin = time.perf_counter_ns()
            run(row)
            samples.append((time.perf_counter_ns() - begin) / 1000)
        found[name] = {str(p): float(np.percentile(samples[500:], p)) for p in (50, 90, 99)}
    return found


def run_crossover(folder: Path, _: int) -> Record:
    import aetool
    from aetool.runtime.gpu.graph import crossover

    cpu, gpu = (aetool.load(folder / "bundle", provider=provider) for provider in ("cpu", "cuda"))
    return {"rows": crossover(GRAPH, cpu.input_shape, cpu.reconstruct, gpu.reconstruct, budget_s=20)}


CONTESTANTS: dict[str, Callable[[Path, int], Record]] = {
    "bulk": run_bulk,
    "bus": run_bus,
    "device": run_device,
    "compile": run_compile,
    "single": run_single,
    "crossover": run_crossover,
}


def make(folder: Path, name: str) -> None:
    """A checkpoint and its bundle in `folder`."""
    from aetool import model
    from aetool.export import export_checkpoint
    from aetool.tables import table_from_columns

    config = {
        "256-128-256": model.AutoencoderConfig(),
        "640-128x4-8-128x4-640": model.AutoencoderConfig(
            n_features=640, embedding_dim=8, hidden_dims=(128,) * 4, activation="relu", batch_norm=True, dropout=0
        ),
    }[name]
    rows = np.random.default_rng(0).normal(size=(2000, config.n_features))
    table = table_from_columns({f"x_{i}": column for i, column in enumerate(rows.T)}, source="random")
    model.save_checkpoint(model.train(table, model.TrainingConfig(epochs=2), config), folder / "checkpoint")
    export_checkpoint(folder / "checkpoint", folder / "bundle")


def measure(folder: Path, rows: int) -> Record:
    rounds: dict[str, list[Record]] = {name: [] for name in CONTESTANTS}
    for turn in range(ROUNDS):
        for name in CONTESTANTS:
            rounds[name].append(contestant(__file__, name, [str(folder), "--rows", str(rows)]))
            print(f"  round {turn + 1} {name:9} {json.dumps(rounds[name][-1])}")
    middle = {
        name: statistics.median(found["rows_per_s"] for found in rounds[name])
        for name in ("bulk", "bus", "device", "compile")
    }
    ratios = {"of_bus": middle["bulk"] / middle["bus"], "of_compile": middle["device"] / middle["compile"]}
    passed = ratios["of_bus"] >= HOST_BAR and ratios["of_compile"] >= DEVICE_BAR
    return {"rows_per_s": middle, "ratios": ratios, "passed": passed, "rounds": rounds}


def gpu_name() -> str:
    """Of the GPU that will be measured.

    Raises:
        ProviderError: onnxruntime or torch cannot use one here.
    """
    candidates("cuda")
    import torch

    if not torch.cuda.is_available():
        raise ProviderError(f"torch {torch.__version__} cannot use the GPU; install torch for its CUDA")
    return str(torch.cuda.get_device_name(0))


def main() -> None:
    arguments = parser(__doc__, tuple(CONTESTANTS))
    arguments.add_argument("folder", type=Path, nargs="?")  # for contestants
    arguments.add_argument("--rows", type=int, default=1_000_000)
    options = arguments.parse_args()
    if options.contestant:
        print(json.dumps(CONTESTANTS[options.contestant](options.folder, options.rows)))
        return
    gpu = gpu_name()
    results = {}
    for name in ("256-128-256", "640-128x4-8-128x4-640"):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), name)
            print(name)
            results[name] = measure(Path(folder), options.rows)
        print(f"{name}: {json.dumps(results[name]['ratios'])} {'passed' if results[name]['passed'] else 'FAILED'}")
    save("gpu", {"gpu": gpu, "rows": options.rows, "rounds": ROUNDS}, results)


if __name__ == "__main__":
    try:
        main()
    except AetoolError as error:
        sys.exit(f"{type(error).__name__}: {error}")
