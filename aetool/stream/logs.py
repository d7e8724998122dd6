"""A bundle of windows over a log of any length."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.manifest import Series
from aetool.runtime.moments import MomentScores, RowScores, by_moment, channel_shares, covering, highest_windows
from aetool.runtime.session import AutoencoderSession
from aetool.tables.windows import Log, Run, window_labels, windows

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
    """Window -> share of each channel in its score, of those that an event may peak in, if it was asked for."""
    labels: NDArray[np.bool_] | None = None
    """(rows,) True = anomaly; None where the log was read without."""


def moments_of_log(model: AutoencoderSession, log: Log, *, explained: bool) -> list[RunMoments]:
    """Return the runs of a log with a score for each row, in the order in which they begin.

    Rows with a score above `model.row_threshold` are abnormal. Where the bundle has a threshold for rows, what a
    row contributes counts in its score, else its windows alone: see `aetool.runtime.moments.RowScores`.

    Args:
        model: a bundle of windows.
        log: a log.
        explained: also find the share of each channel.

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    begun: dict[int, _Begun] = {}
    by_row = model.manifest.row_threshold(model.precision) is not None
    explained = explained and "explainer" in model.graphs
    for found in compute_log(model, "explainer" if by_row else "detector", log):
        known = begun.get(found.run.number)
        if known is None:
            known = begun[found.run.number] = _Begun(found.run, log.series, model.row_threshold)
        if by_row:
            # A score is the sum of its contributions: the explainer alone gives both.
            known.add_contributions(found, explained=explained)
        else:
            known.add_scores(found, model if explained else None)
    return [begun[number].end() for number in sorted(begun)]


def normal_row_scores(model: AutoencoderSession, log: Log) -> NDArray[np.float64]:
    """Return the finite scores of a log's rows, ascending, but of those that a window with a labelled row covers.

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    window, stride = log.series.window, log.series.stride
    found = [np.empty(0)]
    for run in moments_of_log(model, log, explained=False):
        scores, places = run.moments.score, np.arange(len(run.moments.score))
        if run.labels is not None:
            odd = np.concatenate([[0], np.cumsum(window_labels(run.labels, window, stride))])
            first, last = covering(places, len(run.scores), window, stride)
            scores = scores[odd[last + 1] == odd[np.minimum(first, last + 1)]]
        found.append(scores[np.isfinite(scores)].astype(np.float64))
    return np.sort(np.concatenate(found))


class _Begun:
    """What is known of a run so far."""

    def __init__(self, run: Run, series: Series, threshold: float) -> None:
        self.group, self.first_row, self.threshold = run.group, run.first_row, threshold
        self.window, self.stride = series.window, series.stride
        self.scorer = RowScores(series.window, series.stride)
        self.scores: list[NDArray[np.float32]] = []
        self.moments: list[MomentScores] = []
        self.times: list[NDArray[Any]] = []
        self.labels: list[NDArray[np.bool_]] = []
        self.rows, self.scored = 0, 0
        self.shares: dict[int, NDArray[np.float64]] = {}
        self.recent: list[tuple[NDArray[np.float32], ...]] = []
        """Scores of the last windows, and contributions to them, in blocks."""

    def add_scores(self, found: ComputedWindows, model: AutoencoderSession | None) -> None:
        """Take the next windows by their scores; `model` explains those above the threshold."""
        scores = found.outputs["score"]
        if model is not None and (odd := np.flatnonzero(~(scores <= model.threshold))).size:
            contribution = model.explain(found.rows[odd]).contribution
            self.shares |= {
                self.scorer.windows + int(i): channel_shares(part)
                for i, part in zip(odd, contribution, strict=True)
            }
        self._add(found, scores, self.scorer.add(scores))

    def add_contributions(self, found: ComputedWindows, *, explained: bool) -> None:
        """Take the next windows by contributions; explain those of rows above the threshold if asked to."""
        contribution = found.outputs["contribution"]
        scores, own = by_moment(contribution)
        moments = self.scorer.add(scores, own)
        if explained:
            self.recent = [*self.recent, (scores, contribution)]
            self._explain(moments)
            # Kept are as many as may cover a row that has no score yet.
            most = -(-self.window // self.stride)
            last = [[part[-most:] for part in parts] for parts in zip(*self.recent, strict=True)]
            self.recent = [tuple(np.concatenate(parts)[-most:] for parts in last)]
        self._add(found, scores, moments)

    def _explain(self, moments: MomentScores) -> None:
        """Keep the shares of channels in the windows behind abnormal ones of the moments that were scored last."""
        odd = self.scored + np.flatnonzero(~(moments.score <= self.threshold))
        begin = self.scorer.windows - sum(len(scores) for scores, _ in self.recent)
        scores = np.concatenate([scores for scores, _ in self.recent])
        behind = np.unique(highest_windows(odd, scores, self.window, self.stride, begin))
        for scores, contribution in self.recent:
            here = behind[(behind >= begin) & (behind < begin + len(scores))]
            self.shares |= {place: channel_shares(contribution[place - begin]) for place in here.tolist()}
            begin += len(scores)

    def _add(self, found: ComputedWindows, scores: NDArray[np.float32], moments: MomentScores) -> None:
        self.scores.append(scores)
        self.moments.append(moments)
        self.scored += len(moments.score)
        # Rows up to the end of the last window, without those that are there already.
        run, stop = found.run, int(found.starts[-1]) + self.window
        fresh = slice(max(0, self.rows - run.offset), stop)
        self.rows = run.offset + stop
        if run.times is not None:
            self.times.append(run.times[fresh])
        if run.labels is not None:
            self.labels.append(run.labels[fresh])

    def end(self) -> RunMoments:
        """Return the run, which has no more windows."""
        moments = self.scorer.end()
        if self.recent:
            self._explain(moments)
        score, maximum = (np.concatenate(parts) for parts in zip(*self.moments, moments, strict=True))
        times = np.concatenate(self.times) if self.times else None
        labels = np.concatenate(self.labels) if self.labels else None
        scores = np.concatenate(self.scores)
        return RunMoments(
            self.group, times, self.first_row, scores, MomentScores(score, maximum), self.shares, labels
        )
