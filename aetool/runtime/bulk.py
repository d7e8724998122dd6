"""Many rows through one session: cut into chunks, spread over the cores, written where they belong."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 512
"""Rows in one run: their activations stay in a core's cache."""

Outputs = dict[str, NDArray[Any]]


def run_rows(session: Any, rows: NDArray[np.float32]) -> Outputs:
    """All outputs of `session` for `rows`, (rows, width); equal to one run over all of them."""
    names = [output.name for output in session.get_outputs()]
    feed = session.get_inputs()[0].name
    first = dict(zip(names, session.run(names, {feed: rows[:CHUNK_ROWS]}), strict=True))
    if len(rows) <= CHUNK_ROWS:
        return first
    whole = {name: np.empty((len(rows), *part.shape[1:]), part.dtype) for name, part in first.items()}
    for name, part in first.items():
        whole[name][:CHUNK_ROWS] = part

    def fill(start: int) -> None:
        stop = start + CHUNK_ROWS
        for name, part in zip(names, session.run(names, {feed: rows[start:stop]}), strict=True):
            whole[name][start:stop] = part

    starts = range(CHUNK_ROWS, len(rows), CHUNK_ROWS)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(fill, starts):
            pass
    return whole


@cache
def usable_cores() -> int:
    """Cores this process may use: its affinity, and the quota of its container (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as stream:  # noqa: PTH123 - read at start-up
            quota, period = stream.read().split()
    except (OSError, ValueError):  # no cgroup v2 here: no quota to respect
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, round(int(quota) / int(period))))
