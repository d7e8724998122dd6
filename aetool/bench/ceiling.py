"""What this machine can do at most, measured beside every result: a figure means little without its ceiling."""

import tempfile
from pathlib import Path

import numpy as np

from aetool.bench.contestants import Contestant, Load, opened, wait_until_idle
from aetool.bench.machine import usable_cores
from aetool.bench.result import Ceiling

SIZE = 1536
"""Of the square matrices: 9 MB each, more than a core's cache holds, and 7 GFLOP a product."""
COPY_BYTES = 128 << 20
SECONDS = 0.4
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def ceiling(threads: tuple[int, ...] | None = None, seconds: float = SECONDS) -> Ceiling:
    """Measure, each in a process of its own; by default for one thread and for all cores."""
    wanted = sorted(set(threads or (1, usable_cores())))
    peaks = {str(count): max(_matmul(contestant, seconds) for contestant in _products(count)) for count in wanted}
    return Ceiling(peaks, _copy(seconds))


def _products(threads: int) -> list[Contestant]:
    variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return [
        Contestant("numpy matmul", "aetool.bench.peaks:numpy_matmul", {"size": SIZE}, variables),
        Contestant(
            "onnxruntime MatMul", "aetool.bench.peaks:onnxruntime_matmul", {"size": SIZE, "threads": threads}
        ),
    ]


def _matmul(contestant: Contestant, seconds: float) -> float:
    rows = np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)
    return 2 * SIZE**3 / _fastest(contestant, rows, seconds) / 1e9


def _copy(seconds: float) -> float:
    rows = np.ones((COPY_BYTES >> 12, 1 << 10), np.float32)
    return 2 * rows.nbytes / _fastest(Contestant("copy", "aetool.bench.peaks:copy"), rows, seconds) / 1e9


def _fastest(
    contestant: Contestant, rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", seconds: float
) -> float:
    """Seconds of the fastest call on all rows: a ceiling is what was reached once."""
    with opened([contestant]) as (running,), tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "rows.npy", rows)
        running.load()
        running.take(path)
        load = Load(batch=len(rows), seconds=seconds, calls=3)
        running.warm(Load(batch=len(rows), seconds=seconds / 4, calls=1))
        wait_until_idle([running])
        return float(running.turn(load).latencies_ns.min()) / 1e9
