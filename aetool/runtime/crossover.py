"""From how many rows on a GPU is faster than the CPU: measured here, not assumed.

For few rows the launches and copies of a GPU cost more than the whole computation on the CPU; where that turns
depends on the graph, the CPU, the GPU and the bus between them.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCHES = tuple(4**power for power in range(9))
"""1 to 65,536 rows."""
MOST_BYTES = 64 << 20
"""Of rows: larger batches are not tried."""
REPETITIONS = 5

Run = Callable[[NDArray[np.float32]], Any]
"""Runs rows, and returns when the results are in the memory of the host."""

_found: dict[Hashable, int | None] = {}
_measuring = threading.RLock()


def crossover(
    graph: Hashable,
    shape: tuple[int, ...],
    cpu: Run,
    gpu: Run,
    *,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> int | None:
    """The fewest rows from which `gpu` is faster than `cpu`; None: it never was.

    Measured once per process and graph, in `budget_s` and what the first run of both takes; the call that meets
    the end of the budget is finished.

    Args:
        graph: what the answer is kept under.
        shape: of one row.
        cpu: the contestant for few rows.
        gpu: the contestant for many.
        budget_s: seconds for all batches.
        clock: tells seconds.
    """
    if graph not in _found:
        with _measuring:  # one at a time: two measurements at once would spoil each other
            if graph not in _found:
                _found[graph] = _measured(_rounds(shape, cpu, gpu, budget_s, clock))
    return _found[graph]


def _measured(rounds: Iterator[tuple[int, float, float]]) -> int | None:
    won: int | None = None
    for rows, cpu_s, gpu_s in rounds:
        if gpu_s >= cpu_s:
            won = None
        elif won is not None:
            return won  # twice in a row: no chance hit
        else:
            won = rows
    return won


def _rounds(
    shape: tuple[int, ...], cpu: Run, gpu: Run, budget_s: float, clock: Callable[[], float]
) -> Iterator[tuple[int, float, float]]:
    """Rows and the median seconds of both, for each batch that fits the budget."""
    some = np.random.default_rng(0).standard_normal((256, *shape), np.float32)
    end = None
    for batch in BATCHES:
        if batch * some[0].nbytes > MOST_BYTES:
            return
        rows = np.resize(some, (batch, *shape))
        cpu(rows)  # what a new shape costs once is not counted
        gpu(rows)
        end = end or clock() + budget_s  # nor against the budget what a GPU's very first run costs
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(REPETITIONS):
            for run, times in zip((cpu, gpu), taken, strict=True):
                start = clock()
                if start >= end:
                    return
                run(rows)
                times.append(clock() - start)
        yield batch, median(taken[0]), median(taken[1])


def _after_fork_in_child() -> None:
    global _measuring  # noqa: PLW0603 - a thread that does not exist here may hold it
    _measuring = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
