"""From windows to a score for each moment, and from these to events: start, end, peak, channels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

Floats = NDArray[np.float32]

EVENT_SMOOTHING = (3, 5)
"""Smoothing of events by default, K of the last N rows, where rows have a threshold of their own.

One normal row in a hundred lies above it, mostly alone: without smoothing, each of these would be an event.
"""


class MomentScores(NamedTuple):
    """Scores of moments (samples) of a run; NaN where no window covers one."""

    score: Floats
    """(moments,) see `RowScores`."""
    maximum: Floats
    """(moments,) the highest score of the windows that cover each."""


class Event(NamedTuple):
    """A stretch of moments that are abnormal, one after another."""

    start: int
    """First moment."""
    stop: int
    """Moment after the last one."""
    peak: int
    """Moment with the highest score."""
    score: float
    """Score of that moment."""


class RowScores:
    """Scores of the moments of a run, from its windows in order, block after block.

    The mean score of the windows that cover a moment tells how odd its surroundings are. The mean of what it
    contributes to them, times the rows of a window, tells how odd it is itself. The score is the geometric mean of
    both, or the first alone where contributions are not known. A window whose score is not finite makes those of
    all moments that it covers NaN or infinite: like the window they are abnormal.
    """

    def __init__(self, window: int, stride: int) -> None:
        """Begin a run; window i covers the moments from i * stride to i * stride + window - 1."""
        self._window, self._stride = window, stride
        self.windows = 0
        """Windows taken."""
        self._first = 0
        self._scores, self._own, self._number, self._highest = _sums(0)
        self._knows_own = False

    def add(self, scores: NDArray[Any], own: NDArray[np.float64] | None = None) -> MomentScores:
        """Take the next windows, and return the scores of the moments that no later one covers.

        Those of the first call begin with moment 0, those of another behind the ones before.

        Args:
            scores: (windows,)
            own: (windows, window), what each moment contributes to the window's score; in every call or in none.
        """
        if not len(scores):
            return self._take(0)
        stride, span = self._stride, (len(scores) - 1) * self._stride
        begin = self.windows * stride - self._first
        grown = _sums(begin + span + self._window)
        for old, new in zip((self._scores, self._own, self._number, self._highest), grown, strict=True):
            new[: len(old)] = old
        self._scores, self._own, self._number, self._highest = grown
        self._knows_own = own is not None
        with np.errstate(invalid="ignore", over="ignore"):
            # From the last place to the first: each moment adds up its windows in their order, however they come.
            for place in range(self._window - 1, -1, -1):
                at = slice(begin + place, begin + place + span + 1, stride)
                self._scores[at] += scores
                self._number[at] += 1
                self._highest[at] = np.maximum(self._highest[at], scores)
                if own is not None:
                    self._own[at] += own[:, place]
        self.windows += len(scores)
        return self._take(min(self.windows * stride, (self.windows - 1) * stride + self._window) - self._first)

    def end(self) -> MomentScores:
        """Return the scores of the moments that are left, up to the end of the last window."""
        return self._take(len(self._scores))

    def _take(self, count: int) -> MomentScores:
        parts = self._scores, self._own, self._number, self._highest
        scores, own, number, highest = (part[:count] for part in parts)
        self._scores, self._own, self._number, self._highest = (part[count:] for part in parts)
        self._first += count
        with np.errstate(all="ignore"):
            mean = scores / number
            if self._knows_own:
                mean = np.sqrt(mean * (self._window * own / number))
            return MomentScores(mean.astype(np.float32), np.where(number > 0, highest, np.nan).astype(np.float32))


def _sums(count: int) -> tuple[NDArray[np.float64], ...]:
    """Return, before any window, the sum of the scores and of the contributions, the number, and the highest."""
    return np.zeros(count), np.zeros(count), np.zeros(count), np.full(count, -np.inf)


def by_moment(contribution: NDArray[Any]) -> tuple[Floats, NDArray[np.float64]]:
    """Return the scores of windows, (windows,), and what each moment contributes to them, (windows, window).

    Args:
        contribution: (windows, window, channels), as an explainer gives it.
    """
    own: NDArray[np.float64] = np.zeros(contribution.shape[:2])
    total: NDArray[np.float64] = np.zeros(len(own))
    with np.errstate(invalid="ignore", over="ignore"):
        # One after the other: the order, and so the last bit, is the same in every language.
        for channel in range(contribution.shape[2]):
            own += contribution[:, :, channel]
        for place in range(own.shape[1]):
            total += own[:, place]
        return total.astype(np.float32), own


def smoothed(flags: NDArray[np.bool_], least: int, of: int) -> NDArray[np.bool_]:
    """Return for each place whether `least` or more of the last `of` flags are set, its own included."""
    if not 1 <= least <= of:
        raise InputError(f"smoothing: expected K of the last N with 1 <= K <= N, found {least} of {of}")
    counts: NDArray[np.int64] = np.cumsum(np.concatenate((np.zeros(of, np.int64), flags)))
    return counts[of:] - counts[:-of] >= least


def event_smoothing(row_threshold: float | None, given: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the smoothing of events, K of the last N rows: the given one or the default; None for none.

    Args:
        row_threshold: see `Manifest.row_threshold`; None, as in older bundles, has no smoothing by default.
        given: what the user chose, if anything; (1, 1) judges each row alone.
    """
    return EVENT_SMOOTHING if given is None and row_threshold is not None else given


def smoothing_text(smooth: tuple[int, int] | None, things: str) -> str | None:
    """Return a smoothing in words, such as "3 of the last 5 rows"; None where each is judged alone."""
    return None if smooth in (None, (1, 1)) else "{} of the last {} {}".format(*smooth, things)


def find_events(
    flags: NDArray[np.bool_], scores: NDArray[Any], smooth: tuple[int, int] | None = None
) -> list[Event]:
    """Return the events of a run: each longest stretch of flags that are set, with its peak.

    With a smoothing, each longest stretch of moments that are abnormal by it, from the first flag that made it so
    to the last. A score that is NaN is higher than every other.

    Args:
        flags: (moments,)
        scores: (moments,)
        smooth: (K, N), see `smoothed`.
    """
    abnormal = flags if smooth is None else smoothed(flags, *smooth)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], abnormal, [False])).astype(np.int8)))
    behind = 0 if smooth is None else smooth[1] - 1
    found: list[Event] = []
    for first, end in edges.reshape(-1, 2).tolist():
        begin = max(first - behind, found[-1].stop if found else 0)
        set_at = begin + np.flatnonzero(flags[begin:end])
        start, stop = int(set_at[0]), int(set_at[-1]) + 1
        height = np.where(np.isnan(scores[start:stop]), np.inf, scores[start:stop])
        peak = start + int(height.argmax())
        found.append(Event(start, stop, peak, float(scores[peak])))
    return found


def count_overlapped(stretches: Sequence[Event], events: Sequence[Event]) -> int:
    """Return how many stretches an event overlaps; both are in order, and no two of one kind overlap."""
    starts, stops = (np.array([event[place] for event in events]) for place in range(2))
    after = [int(np.searchsorted(stops, each.start, side="right")) for each in stretches]
    return sum(i < len(events) and starts[i] < each.stop for i, each in zip(after, stretches, strict=True))


def covering(
    moments: NDArray[np.int64], count: int, window: int, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last window, of `count`, that cover each moment; where none does, last < first."""
    first = -((window - 1 - moments) // stride)  # rounded up
    return np.maximum(first, 0), np.minimum(moments // stride, count - 1)


def highest_windows(
    moments: NDArray[np.int64], scores: NDArray[Any], window: int, stride: int, begin: int = 0
) -> NDArray[np.int64]:
    """Return the window with the highest score, the first of them, among those that cover each of some moments.

    NaN is higher than every number. Where no window covers a moment, -1.

    Args:
        moments: of a run.
        scores: of its windows from number `begin` on, with all that cover one of the moments.
        window: moments of a window.
        stride: moments from one window to the next.
        begin: number of the first window that `scores` has.
    """
    height = np.where(np.isnan(scores), np.inf, scores)
    first, last = covering(moments, begin + len(scores), window, stride)
    best = np.minimum(first, last)
    for step in range(1, -(-window // stride)):
        place = np.minimum(first + step, last)
        best = np.where(height[place - begin] > height[best - begin], place, best)
    return np.where(first <= last, best, -1)


def channel_shares(contribution: NDArray[Any], first: int = 0, stop: int | None = None) -> NDArray[np.float64]:
    """Return the share of each channel in the score of a window, (channels,), of the moments `first` to `stop`.

    Contributions, (window, channels), that are not finite count before all others, in equal parts.
    """
    part = contribution[first:stop].astype(np.float64)
    odd = ~np.isfinite(part)
    weight = np.where(odd, 1.0, 0.0).sum(axis=0) if odd.any() else part.sum(axis=0)
    total = weight.sum()
    return weight / total if total > 0 and np.isfinite(total) else np.zeros_like(weight)
