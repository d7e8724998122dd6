"""Many rows through `aetool score`: memory, time against its parts, and runs that are killed.

    python benchmarks/streaming.py DATA.npz        NPZ with X and y (1 = anomaly)

The rows of DATA are drawn with seeded noise into a directory of Parquet files. Each contestant is a process of its
own; they take turns. `io` reads and writes with the same code and computes nothing; `compute` scores as many rows
that are in memory already.
"""

import argparse
import filecmp
import json
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import contestant, parser, save

CONTESTANTS = ("stream", "io", "compute")
FILE_ROWS, GROUP_ROWS, BATCH_ROWS = 1_000_000, 250_000, 131_072
START_S = 0.3  # of a process, until it has begun to work


def make_rows(data: Path, folder: Path, files: int) -> None:
    """`files` files of FILE_ROWS rows, and one.parquet beside the folder with the rows of all."""
    with np.load(data, allow_pickle=False) as archive:
        real = archive["X"].astype(np.float32)
    noise = np.random.default_rng(0)
    folder.mkdir()
    schema = pa.schema([(f"X_{i}", pa.float32()) for i in range(real.shape[1])])
    with pq.ParquetWriter(folder.with_suffix(".parquet"), schema) as whole:
        for number in range(files):
            rows = real[noise.integers(0, len(real), FILE_ROWS)]
            rows += noise.normal(0, 0.01, rows.shape).astype(np.float32) * real.std(axis=0)
            table = pa.table([np.ascontiguousarray(column) for column in rows.T], schema=schema)
            pq.write_table(table, folder / f"part-{number:03}.parquet", row_group_size=GROUP_ROWS)
            whole.write_table(table, row_group_size=GROUP_ROWS)


def make_bundle(data: Path, place: Path) -> None:
    from aetool import model
    from aetool.export import export_checkpoint
    from aetool.tables import read_table

    export_checkpoint(model.train(read_table(data, label="y")), place)


class _NoModel:
    """Gives results of the right shape for nothing."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def run(self, graph: str, rows: Any) -> dict[str, Any]:
        scores = rows.reshape(-1)[: len(rows)]
        return {"score": scores, "is_anomaly": scores > 0}


def run(name: str, bundle: Path, rows: Path, out: Path) -> dict[str, Any]:
    """One contestant over the rows of a directory; seconds and peak memory in MB."""
    from aetool import load
    from aetool.stream import LocalEngine, Task, stream
    from aetool.stream import _engines as engines
    from aetool.stream._file import run_shard

    if name == "compute":
        files = [rows] if rows.is_file() else sorted(rows.iterdir())
        count = sum(pq.read_metadata(path).num_rows for path in files)
        table = pq.ParquetFile(files[0]).read_row_group(0)
        values = np.stack([column.to_numpy() for column in table.columns], axis=1)[:BATCH_ROWS]
        values = np.ascontiguousarray(np.tile(values, (8, 1)))
        with load(bundle) as model:
            model.score(values)
            cpu_before, begin = time.process_time(), time.perf_counter()
            for start in range(0, count, len(values)):
                model.score(values[: min(len(values), count - start)])
            seconds = time.perf_counter() - begin
    else:
        if name == "io":
            engines.run_shard = lambda model, *rest: run_shard(_NoModel(model), *rest)  # type: ignore[attr-defined]
        cpu_before, begin = time.process_time(), time.perf_counter()
        stream(Task("score", str(bundle)), [str(rows)], str(out), engine=LocalEngine(), overwrite=True)
        seconds = time.perf_counter() - begin
    # Not getrusage: its peak may be that of the process which started this one.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    cpu = time.process_time() - cpu_before
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": int(peak[1]) / 1024 if peak else 0.0}


def killed(bundle: Path, rows: Path, out: Path, whole: Path, kills: int, seconds: float) -> dict[str, Any]:
    """Kill runs at random moments and resume them; every finished directory must equal `whole`."""
    moments = random.Random(0)
    command = [sys.executable, "-m", "aetool", "score", str(bundle), str(rows), "-o", str(out), "--resume"]
    done = finished = 0
    while done < kills:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(START_S + moments.uniform(0, seconds / 4))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            done += 1
        else:  # it was faster
            finished += require_same(out, whole)
            shutil.rmtree(out)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"kills": done, "finished": finished + require_same(out, whole)}


def require_same(out: Path, whole: Path) -> int:
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in out.iterdir()), "files are missing, or too many"
    _, different, odd = filecmp.cmpfiles(whole, out, names, shallow=False)
    assert not different and not odd, (different, odd)
    return 1


def main() -> None:
    arguments = parser(__doc__, CONTESTANTS)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--files", type=int, default=20, help="Of a million rows each.")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument(
        "--work", type=Path, help="Directory for rows and results, kept.  [default: a temporary one]"
    )
    arguments.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.contestant:
        found = run(options.contestant, options.work / "bundle", options.rows, options.work / "out")
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(options, options.work or Path(folder))


def measure(options: Any, work: Path) -> None:
    if not (work / "tenth.parquet").exists():
        work.mkdir(exist_ok=True)
        make_bundle(options.data, work / "bundle")
        make_rows(options.data, work / "rows", options.files)
        make_rows(options.data, work / "tenth", max(1, options.files // 10))

    def turn(name: str, rows: str) -> dict[str, Any]:
        return contestant(__file__, name, [str(options.data), "--work", str(work), "--rows", str(work / rows)])

    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    cpu: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    peaks: dict[str, list[float]] = {rows: [] for rows in ("rows", "tenth", "rows.parquet", "tenth.parquet")}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            found = turn(name, "rows")
            times[name].append(found["seconds"])
            cpu[name].append(found["cpu_seconds"])
        for rows, seen in peaks.items():
            shutil.rmtree(work / "out", ignore_errors=True)
            seen.append(turn("stream", rows)["peak_mb"])
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    peak = {rows: statistics.median(seen) for rows, seen in peaks.items()}
    ratio = medians["stream"] / max(medians["io"], medians["compute"])
    print(f"{options.files * FILE_ROWS:,} rows: {medians['stream']:.2f} s; io {medians['io']:.2f}, ", end="")
    print(f"compute {medians['compute']:.2f}: {ratio:.2f} of the larger")
    growth = {"directory": peak["rows"] / peak["tenth"], "one file": peak["rows.parquet"] / peak["tenth.parquet"]}
    used = {name: round(statistics.median(seconds), 2) for name, seconds in cpu.items()}
    print(f"seconds of processor time: {used}")
    print(f"peak memory, MB: {peak}; ten times the rows: {growth}")
    shutil.rmtree(work / "out", ignore_errors=True)
    turn("stream", "rows")
    shutil.rmtree(work / "whole", ignore_errors=True)
    (work / "out").rename(work / "whole")
    kills = killed(work / "bundle", work / "rows", work / "out", work / "whole", options.kills, medians["stream"])
    print(f"killed {kills['kills']} times, {kills['finished']} runs came to their end, all alike")
    results = {
        "seconds": medians,
        "rounds": times,
        "cpu_seconds": used,
        "to_the_larger": ratio,
        "peak_mb": peak,
        "growth": growth,
    }
    parameters = {"data": options.data.name, "rows": options.files * FILE_ROWS, "rounds": options.rounds}
    save("streaming", parameters, {**results, **kills})


if __name__ == "__main__":
    main()
