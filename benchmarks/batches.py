"""Batches of 1 to 4,096 rows: aetool's choice of engine against bare onnxruntime, at every size.

    python benchmarks/batches.py

Single-stream: the next batch when the last is answered, each contestant in its own process. `auto` answers a few
rows on its own core, more in one run of onnxruntime, many in chunks: at no size may it be slower than
`session.run` on the same graph.
"""

import tempfile
from pathlib import Path

import numpy as np
from common import parser, save
from competing import contestants_on, figures
from models import NAMES, make

from aetool.bench.contestants import Load, opened
from aetool.bench.rounds import take_turns

BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 17, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
GRAPHS = ("encode", "reconstruct", "score")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=8, help="turns at each size")
    arguments.add_argument("--seconds", type=float, default=0.2, help="of a turn")
    arguments.add_argument("--models", default=",".join(NAMES))
    arguments.add_argument("--graphs", default=",".join(GRAPHS))
    arguments.add_argument("--batches", default=",".join(map(str, BATCHES)))
    options = arguments.parse_args()
    results: dict[str, dict[str, dict[int, object]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            model = make(name, Path(folder))
            np.save(rows := Path(folder) / "rows.npy", model.rows)
            for graph in options.graphs.split(","):
                with opened(contestants_on(model, graph, ("raw-onnxruntime",))) as running:
                    for one in running:
                        one.load()
                        one.take(rows)
                    for batch in map(int, options.batches.split(",")):
                        load = Load(batch=batch, seconds=options.seconds, calls=64)
                        found = figures(take_turns(running, load, rounds=options.rounds, seed=batch))
                        to = found["raw-onnxruntime"]["to_it"]
                        results.setdefault(name, {}).setdefault(graph, {})[batch] = found
                        print(
                            f"{name:10} {graph:12} {batch:5} rows: p50 {to['p50']:.3f}  p99 {to['p99']:.3f}",
                            flush=True,
                        )
    save("batches", vars(options), results)


if __name__ == "__main__":
    main()
