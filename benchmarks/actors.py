"""Two actors of Ray against one, on a model that computes more than it reads.

python benchmarks/actors.py

Starting Ray and its actors is not counted: each run begins when its first file is done.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from common import parser, save

from aetool import model
from aetool.export import export_checkpoint
from aetool.stream import Task, stream
from aetool.stream.ray import RayEngine
from aetool.tables import table_from_columns

WIDTHS = (32, 512, 512, 256, 64)  # and back: a million multiply-adds a row


def seconds_of(bundle: Path, rows: Path, out: Path, actors: int) -> float:
    """From the first file that is done to the last, per file that was done meanwhile."""
    moments: list[float] = []
    shutil.rmtree(out, ignore_errors=True)
    engine = RayEngine(actors)
    stream(
        Task("score", str(bundle)),
        [str(rows)],
        str(out),
        engine=engine,
        progress=lambda *_: moments.append(time.perf_counter()),
    )
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--files", type=int, default=24)
    arguments.add_argument("--rows", type=int, default=65_536, help="Of each file.")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "rows").mkdir()
        random = np.random.default_rng(0)
        columns = {f"c{i}": random.normal(size=options.rows).astype(np.float32) for i in range(WIDTHS[0])}
        table = table_from_columns({name: column[:4096] for name, column in columns.items()})
        shape = model.AutoencoderConfig(WIDTHS[0], WIDTHS[-1], WIDTHS[1:-1])
        export_checkpoint(model.train(table, model.TrainingConfig(epochs=1), shape), work / "bundle")
        pq.write_table(pa.table(columns), work / "rows" / "0.parquet")
        for number in range(1, options.files):
            (work / "rows" / f"{number}.parquet").hardlink_to(work / "rows" / "0.parquet")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for actors, seen in times.items():
                seen.append(seconds_of(work / "bundle", work / "rows", work / "out", actors))
    medians = {actors: statistics.median(seen) for actors, seen in times.items()}
    print(
        f"a file of {options.rows:,} rows: {medians}; two actors are {medians[1] / medians[2]:.2f} times as fast"
    )
    save("actors", vars(options), {"seconds_per_file": medians, "speed_up": medians[1] / medians[2]})


if __name__ == "__main__":
    main()
