"""What this machine can do at most, measured beside every result: a figure means little without its ceiling."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.bench.contestants import Contestant, Load, opened, wait_until_idle
from aetool.bench.machine import usable_cores

SIZE = 1536
"""Of the square matrices: 9 MB each, more than a core's cache holds, and 7 GFLOP a product."""
COPY_BYTES = 128 << 20
SECONDS = 0.4
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Ceiling:
    matmul_gflops: dict[str, float]
    """Threads -> GFLOP/s of a large float32 matrix product: the better of numpy's and onnxruntime's."""
    copy_gb_per_s: float
    """Of a large copy by one thread, GB/s; what is read and what is written both count."""

    def or_better(self, other: "Ceiling") -> "Ceiling":
        """The higher of two measurements of the same threads: another program can only lower one."""
        both = zip(self.matmul_gflops.items(), other.matmul_gflops.values(), strict=True)
        peaks = {threads: max(one, two) for (threads, one), two in both}
        return Ceiling(peaks, max(self.copy_gb_per_s, other.copy_gb_per_s))


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
