"""A bundle of windows over a log of any length."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.session import AutoencoderSession
from aetool.tables.windows import Log, Run, windows

_NUMBERS = 1 << 23
"""Numbers of the windows that are computed together: as float32, 32 MiB."""


class ComputedWindows(NamedTuple):
    """Some windows of a run, one after another, with what a graph gives for them."""

    run: Run
    starts: NDArray[np.intp]
    """(windows,) the row of the run at which each begins."""
    rows: NDArray[np.float32]
    """(windows, window, channels)"""
    outputs: Mapping[str, NDArray[Any]]
    """Output -> (windows, ...)."""


def compute_log(model: AutoencoderSession, graph: str, log: Log) -> Iterator[ComputedWindows]:
    """Yield what a graph gives for the windows of a log, a stride apart.

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    window, stride = log.series.window, log.series.stride
    for run in log.runs():
        views = windows(run, window, stride)
        at_once = max(1, _NUMBERS // (window * run.values.shape[1]))
        for begin in range(0, len(views), at_once):
            rows = np.ascontiguousarray(views[begin : begin + at_once])
            starts = np.arange(begin, begin + len(rows)) * stride
            yield ComputedWindows(run, starts, rows, model.run(graph, rows))
