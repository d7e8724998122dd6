"""Where the time of one row goes: what onnxruntime itself takes, the copies, and what aetool adds.

    python benchmarks/one_row_parts.py

Shares of bare `session.run`'s time.

bound    onnxruntime's own call alone, in the session that aetool opens, bound to memory beforehand: nothing
         written around it can be faster.
copied   with the row copied in and the result out: else rows would have to lie where the session reads, and the
         next run would overwrite the result.
aetool   its method, which checks the row, takes any shape and type, and may be called by any thread.
"""

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
from aetool.bench.grid import OURS, RAW
from aetool.choices import CALLS

GRAPHS = ("encode", "reconstruct", "score")
PARTS = ("bound", "copied")


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--rounds", type=int, default=20, help="turns in each of two launches")
    options_of.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    options = options_of.parse_args()
    load = Load(batch=1, seconds=options.seconds, calls=700)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            model = make(name, Path(folder))
            for graph in GRAPHS:
                arguments = {"path": str(model.bundle), "graph": graph}
                parts = [Contestant(part, f"{__file__}:{part}", arguments) for part in PARTS]
                entrants = [*contestants_on(model, graph, [RAW]), *parts]
                found = figures(compete(entrants, model.rows, load, rounds=options.rounds), of=RAW)
                shares = {part: 1 / found[part]["to_it"]["p50"] for part in (*PARTS, OURS)}
                print(f"{name:10} {graph:12}", *(f"{part} {share:.3f}" for part, share in shares.items()))
                p50 = {part: found[part]["latency_us"]["p50"] for part in (RAW, *shares)}
                results.setdefault(name, {})[graph] = {"shares": shares, "p50_us": p50}
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
