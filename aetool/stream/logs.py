"""A bundle of windows over a log of any length."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.moments import MomentScores, channel_shares, moment_scores
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


class RunMoments(NamedTuple):
    """A run of a log with a score for each of its rows, but for the last ones that no window covers."""

    group: str | None
    times: NDArray[Any] | None
    """(rows,) as of `Run`; None where there is no time."""
    first_row: int
    scores: NDArray[np.float32]
    """(windows,)"""
    moments: MomentScores
    shares: Mapping[int, NDArray[np.float64]]
    """Window -> share of each channel in its score, of windows above the threshold, if they were explained."""
    labels: NDArray[np.bool_] | None = None
    """(rows,) True = anomaly; None where the log was read without."""


def moments_of_log(model: AutoencoderSession, log: Log, *, explained: bool) -> list[RunMoments]:
    """Return the runs of a log with a score for each row, in the order in which they begin.

    Args:
        model: a bundle of windows.
        log: a log.
        explained: also find the share of each channel.

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    window, stride = log.series.window, log.series.stride
    begun: dict[int, _Begun] = {}
    explained = explained and "explainer" in model.graphs
    for found in compute_log(model, "detector", log):
        run = found.run
        known = begun.setdefault(run.number, _Begun(run.group, run.first_row))
        first, scores = known.windows, found.outputs["score"]
        if explained and (odd := np.flatnonzero(~(scores <= model.threshold))).size:
            contribution = model.explain(found.rows[odd]).contribution
            known.shares |= {
                first + int(i): channel_shares(part) for i, part in zip(odd, contribution, strict=True)
            }
        known.scores.append(scores)
        # Rows up to the end of the last window, without those that are there already.
        stop = int(found.starts[-1]) + window
        fresh = slice(max(0, known.rows - run.offset), stop)
        known.rows = run.offset + stop
        if run.times is not None:
            known.times.append(run.times[fresh])
        if run.labels is not None:
            known.labels.append(run.labels[fresh])
    result = []
    for number in sorted(begun):
        known = begun[number]
        scores = np.concatenate(known.scores)
        length = (len(scores) - 1) * stride + window
        times = np.concatenate(known.times) if known.times else None
        labels = np.concatenate(known.labels) if known.labels else None
        moments = moment_scores(scores, length, window, stride)
        result.append(RunMoments(known.group, times, known.first_row, scores, moments, known.shares, labels))
    return result


class _Begun:
    """What is known of a run so far."""

    def __init__(self, group: str | None, first_row: int) -> None:
        self.group, self.first_row = group, first_row
        self.scores: list[NDArray[np.float32]] = []
        self.times: list[NDArray[Any]] = []
        self.labels: list[NDArray[np.bool_]] = []
        self.rows = 0
        self.shares: dict[int, NDArray[np.float64]] = {}

    @property
    def windows(self) -> int:
        """Return the number of windows."""
        return sum(map(len, self.scores))
