"""Windows of a series against PyOD's detectors of series: how well anomalies are found, how long training takes.

python benchmarks/series.py --peer VENV/bin/python      a Python that has PyOD and torch

The series is made here (`make_series`): its generator is the documentation. Every contestant learns from the same
normal rows, has a process and a thread of its own and its default options, and scores each row of the test. Times
are those of the processor, so that other work on the machine does not count for much. A contestant that takes more
than --limit seconds of it has not finished. Results are kept by --rows, since detectors by nearest neighbours take
the square of them.
"""

import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import RESULTS, contestant, parser, save
from numpy.typing import NDArray
from range_metrics import areas, ranges, volumes

Floats = NDArray[np.float64]
CHANNELS, WINDOW = 8, 48
FAULTS = ("spike", "shift", "noise", "stuck", "decoupled")
PEERS = (
    *("LSTMAD", "AnomalyTransformer", "SpectralResidual", "KShape", "MatrixProfile", "SAND"),
    *("TimeSeriesOD IForest", "TimeSeriesOD KNN", "TimeSeriesOD LOF"),
)
BUFFER = 48
"""Rows of the buffer of the range-based areas, and of the longest one of the volumes."""


class Made(NamedTuple):
    """A series, in two parts of as many rows."""

    train: Floats
    """Normal, (rows, channels)."""
    test: Floats
    labels: NDArray[np.bool_]
    """(rows,) of the test."""
    kinds: list[str]
    """Of the anomalies, in their order."""


def make_series(seed: int, half: int = 6000) -> Made:
    """A machine of 8 sensors, `half` normal rows and as many with five kinds of fault: seasonal, drifting.

    - A load follows a day of 96 rows with two harmonics, and a mean-reverting random walk of its own.
    - A channel is a gain times the load some rows ago, plus a shorter cycle of 17 to 40 rows, plus noise (an
      autoregression of order 1), and drifts: a random walk as wide as a fifth of its spread at the end.
    - Faults, one after another with normal rows between, in one to three channels: `spike` (1 to 3 rows, 4 to 6
      spreads), `shift` (30 to 90 rows, 1.5 to 2.5 spreads), `noise` (30 to 90 rows, four times the noise), `stuck`
      (30 to 90 rows keep one value) and `decoupled` (40 to 100 rows follow the load of another time).
    """
    random = np.random.default_rng(seed)
    rows = 2 * half
    t = np.arange(rows + 400)
    load = np.sin(2 * np.pi * t / 96) + 0.4 * np.sin(4 * np.pi * t / 96 + 1) + 0.2 * np.sin(6 * np.pi * t / 96 + 2)
    load = load + _autoregression(random, len(t), 0.98, 0.06)
    gain, lag = random.uniform(0.5, 1.5, CHANNELS), random.integers(0, 24, CHANNELS)
    period, phase = random.uniform(17, 40, CHANNELS), random.uniform(0, 6.28, CHANNELS)
    values, noises = np.empty((rows, CHANNELS)), np.empty((rows, CHANNELS))
    for channel in range(CHANNELS):
        cycle = 0.5 * np.sin(2 * np.pi * t[:rows] / period[channel] + phase[channel])
        noises[:, channel] = _autoregression(random, rows, 0.6, 0.1)
        drift = np.cumsum(random.normal(0, 0.2 / np.sqrt(rows), rows))
        values[:, channel] = gain[channel] * load[200 - lag[channel] :][:rows] + cycle + drift + noises[:, channel]
    spread = values[:half].std(axis=0)
    labels, kinds = np.zeros(rows, bool), []
    place = half + 150
    while place < rows - 200:
        kind = FAULTS[len(kinds) % len(FAULTS)]
        length = int(random.integers(*{"spike": (1, 4), "decoupled": (40, 101)}.get(kind, (30, 91))))
        at = slice(place, place + length)
        for channel in random.choice(CHANNELS, random.integers(1, 4), replace=False):
            sign = random.choice([-1, 1])
            if kind == "spike":
                values[at, channel] += sign * random.uniform(4, 6) * spread[channel]
            elif kind == "shift":
                values[at, channel] += sign * random.uniform(1.5, 2.5) * spread[channel]
            elif kind == "noise":
                values[at, channel] += 4 * _autoregression(random, length, 0.6, 0.1)
            elif kind == "stuck":
                values[at, channel] = values[place, channel]
            else:
                other = load[200 - lag[channel] + 40 :][at]
                values[at, channel] += gain[channel] * (other - load[200 - lag[channel] :][at])
        labels[at] = True
        kinds.append(kind)
        place += length + int(random.integers(90, 200))
    values = values * random.uniform(0.1, 100, CHANNELS) + random.uniform(-50, 50, CHANNELS)
    return Made(values[:half], values[half:], labels[half:], kinds)


def _autoregression(random: np.random.Generator, rows: int, keep: float, step: float) -> Floats:
    made, value = np.empty(rows), 0.0
    for i, change in enumerate(random.normal(0, step, rows)):
        value = keep * value + change
        made[i] = value
    return made


def judged(made: Made, score: Floats) -> dict[str, Any]:
    """Figures of scores of the test's rows."""
    score = np.nan_to_num(score, nan=np.nanmin(score))
    roc, precision = areas(made.labels, score, BUFFER)
    volume_roc, volume_precision = volumes(made.labels, score, BUFFER)
    found: dict[str, list[float]] = {kind: [] for kind in FAULTS}
    normal = np.sort(score[~made.labels])
    for kind, (start, stop) in zip(made.kinds, ranges(made.labels), strict=True):
        rank = np.searchsorted(normal, score[start:stop].max()) / len(normal)
        found[kind].append(float(rank))
    return {
        "range_auroc": roc,
        "range_auprc": precision,
        "vus_roc": volume_roc,
        "vus_pr": volume_precision,
        "highest_above_normal": {kind: float(np.mean(ranks)) for kind, ranks in found.items()},
    }


def of_aetool(made: Made, architecture: str, folder: Path) -> dict[str, Any]:
    """Train and export with default options, and score every row."""
    import torch

    import aetool
    from aetool.bundle.manifest import Series
    from aetool.export import export_checkpoint
    from aetool.model.windows import for_windows, train_windows
    from aetool.stream.logs import moments_of_log
    from aetool.tables import write_table
    from aetool.tables.windows import Log

    torch.set_num_threads(1)
    names = [f"s{i}" for i in range(CHANNELS)]
    for name in ("train", "test"):
        columns = dict(zip(names, getattr(made, name).T, strict=True))
        write_table(folder / f"{name}.parquet", columns)
    log = Log(folder / "train.parquet", Series(WINDOW, 1))
    begin = time.process_time()
    log.head()
    choice = (
        None if architecture == "default" else lambda count: for_windows(WINDOW, CHANNELS, count, architecture)
    )
    trained = train_windows(log, architecture=choice)
    seconds = time.process_time() - begin
    export_checkpoint(trained, folder / "bundle")
    with aetool.load(folder / "bundle") as model:
        assert model.manifest.series is not None
        test = Log(folder / "test.parquet", model.manifest.series, names)
        begin = time.process_time()
        (run,) = moments_of_log(model, test, explained=False)
        took = time.process_time() - begin
        score = run.moments.score.astype(np.float64)
        flagged = float(np.mean(score[:100] > model.row_threshold))
    return {
        "train_s": seconds,
        "score_s": took,
        "architecture": trained.network.config.architecture,
        "flagged_of_first_rows": flagged,
        **judged(made, score),
    }


def of_peer(made: Made, name: str, peer: str, limit: int, folder: Path) -> dict[str, Any]:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    np.savez(folder / "series.npz", train=made.train, test=made.test)
    script = Path(__file__).with_name("series_peer.py")
    command = [peer, str(script), name, str(folder / "series.npz"), str(folder / "scores.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)
    if done.returncode < 0:  # ended by a signal
        return {"failed": f"did not finish in {limit} s"}
    if done.returncode:
        return {"failed": done.stderr.splitlines()[-1][:200]}
    return {**json.loads(done.stdout.splitlines()[-1]), **judged(made, np.load(folder / "scores.npy"))}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--contestant")
    options.add_argument("--peer", required=True, help="Python with PyOD")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--rows", type=int, default=20_000, help="rows to train on, and as many to test")
    options.add_argument("--limit", type=int, default=600, help="seconds of the processor for each contestant")
    options.add_argument("--only", nargs="*", help="contestants to measure again")
    given = options.parse_args()
    if given.contestant:
        made = make_series(given.seed, given.rows)
        kind, _, name = given.contestant.partition(" ")
        with tempfile.TemporaryDirectory() as folder:
            found = (
                of_aetool(made, name, Path(folder))
                if kind == "aetool"
                else of_peer(made, name, given.peer, given.limit, Path(folder))
            )
        print(json.dumps(found))
        return
    passed = ["--peer", given.peer, "--rows", str(given.rows), "--limit", str(given.limit)]
    names = [*(f"aetool {name}" for name in ("default", "dense", "conv", "gru")), *(f"PyOD {n}" for n in PEERS)]
    names = [name for name in names if not given.only or name in given.only]
    for name in names:
        rounds = [contestant(__file__, name, [*passed, "--seed", str(seed)]) for seed in range(given.seeds)]
        found = _medians(rounds)
        print(name, {key: round(value, 3) for key, value in found.items()} or rounds[0], flush=True)
        # Read again: `--only` adds to what is there, so that slow contestants can be measured apart.
        path = RESULTS / f"series_{given.rows}.json"
        adds = path.exists() and (given.only or name != names[0])
        results = json.loads(path.read_text(encoding="utf-8"))["results"] if adds else {}
        results[name] = {"rounds": rounds, **found}
        save(path.stem, {"rows": given.rows, "channels": CHANNELS, "window": WINDOW, "buffer": BUFFER}, results)


def _medians(rounds: list[dict[str, Any]]) -> dict[str, float]:
    keys = ("train_s", "score_s", "range_auroc", "range_auprc", "vus_roc", "vus_pr")
    return {key: float(np.median([each[key] for each in rounds])) for key in keys if all(key in r for r in rounds)}


if __name__ == "__main__":
    main()
