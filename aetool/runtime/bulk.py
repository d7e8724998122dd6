"""Many rows through one session: cut into chunks, spread over the cores, written where they belong."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.ending import call_native

CHUNK_ROWS = 512
"""Rows in one run: their activations stay in a core's cache."""

Outputs = dict[str, NDArray[Any]]


def run_rows(session: Any, rows: NDArray[np.float32]) -> Outputs:
    """All outputs of `session` for `rows`, (rows, width); equal to one run over all of them."""
    names = [output.name for output in session.get_outputs()]
    feed = session.get_inputs()[0].name

    def run(start: int) -> Outputs:
        parts = call_native(session.run, names, {feed: rows[start : start + CHUNK_ROWS]})
        return dict(zip(names, parts, strict=True))

    first = run(0)
    if len(rows) <= CHUNK_ROWS:
        return first
    whole = {name: np.empty((len(rows), *part.shape[1:]), part.dtype) for name, part in first.items()}

    def fill(start: int, parts: Outputs | None = None) -> None:
        for name, part in (parts or run(start)).items():
            whole[name][start : start + CHUNK_ROWS] = part

    fill(0, first)
    starts = range(CHUNK_ROWS, len(rows), CHUNK_ROWS)
    with ThreadPoolExecutor(min(usable_cores(), len(starts))) as pool:
        try:
            futures = [pool.submit(fill, start) for start in starts]
        except RuntimeError:  # the interpreter is ending and starts no more threads; this one may go on
            futures = []
            for start in starts:
                fill(start)
        for future in futures:
            future.result()
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
