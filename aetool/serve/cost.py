"""How long a graph takes for so many rows: measured here, to decide where it is computed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INLINE_S = 0.0005
"""A batch that takes less is computed by the thread that answers: handing it to another takes as long."""
_REPETITIONS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a batch, a straight line through two measurements."""

    first_s: float
    """Of one row."""
    more_s: float
    """Of each row more."""

    def inline(self, rows: int) -> bool:
        """Whether so many rows are cheaper computed than handed to another thread."""
        return self.first_s + (rows - 1) * self.more_s <= INLINE_S


def measured(run: Callable[[NDArray[np.float32]], Any], rows: NDArray[np.float32], batch: int) -> Cost:
    """The cost of `run`, from one row and from `batch` rows made of `rows`; a first run of each does not count."""
    one = _best(run, rows[:1])
    if batch == 1:
        return Cost(one, one)
    many = _best(run, np.resize(rows, (batch, *rows.shape[1:])))
    return Cost(one, max(0.0, many - one) / (batch - 1))


def _best(run: Callable[[NDArray[np.float32]], Any], rows: NDArray[np.float32]) -> float:
    times = []
    for _ in range(_REPETITIONS + 1):
        begin = time.perf_counter()
        run(rows)
        times.append(time.perf_counter() - begin)
    return min(times[1:])
