"""From scores of windows to a score for each moment, and from these to events: start, end, peak, channels."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

Floats = NDArray[np.float32]


class MomentScores(NamedTuple):
    """Scores of the windows that cover each moment (sample) of a run; NaN where none does."""

    mean: Floats
    """Sum of the scores of these windows, divided by their number."""
    maximum: Floats
    """Largest of the scores of these windows."""


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


def moment_scores(scores: NDArray[Any], length: int, window: int, stride: int) -> MomentScores:
    """Return the scores of the `length` moments of a run, of whose windows `scores` are, (windows,).

    Window i covers the moments from i * stride to i * stride + window - 1. A window whose score is NaN makes NaN
    of all moments that it covers: like the window they are abnormal.
    """
    count = 0 if length < window else (length - window) // stride + 1
    if len(scores) != count:
        raise InputError(
            f"scores: a run of {length:,} moments has {count:,} windows of {window} with stride {stride}, "
            f"found {len(scores):,} scores; give all of one run in order"
        )
    moments = np.arange(length)
    last = moments // stride
    first = -((window - 1 - moments) // stride)  # rounded up
    number = np.minimum(last, count - 1) - np.maximum(first, 0) + 1
    most = -(-window // stride)
    sums = np.full(length, np.nan)
    highest = np.full(length, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        for size in {most, window // stride} - {0}:
            wanted = (last - first + 1 == size) & (number > 0)
            sums[wanted] = _over(scores, size, np.add, 0.0)[last[wanted]]
            highest[wanted] = _over(scores, size, np.maximum, -np.inf)[last[wanted]]
        mean = sums / np.maximum(number, 1)
    return MomentScores(mean.astype(np.float32), highest.astype(np.float32))


def _over(values: NDArray[Any], size: int, combine: Callable[..., Any], nothing: float) -> NDArray[np.float64]:
    """Return at i what `combine` makes of the values from i - size + 1 to i; those outside are `nothing`."""
    outside = np.full(size - 1, nothing)
    level = np.concatenate((outside, values.astype(np.float64), outside))  # of 1, 2, 4, ... values from each on
    length, at, width = len(values) + size - 1, 0, 1
    found: Any = None
    while size:
        if size & 1:
            part = level[at : at + length]
            found = part if found is None else combine(found, part)
            at += width
        size >>= 1
        if size:
            level = combine(level[:-width], level[width:])
            width *= 2
    return np.asarray(found)


def smoothed(flags: NDArray[np.bool_], least: int, of: int) -> NDArray[np.bool_]:
    """Return for each place whether `least` or more of the last `of` flags are set, its own included."""
    if not 1 <= least <= of:
        raise InputError(f"smoothing: expected K of the last N with 1 <= K <= N, found {least} of {of}")
    counts: NDArray[np.int64] = np.cumsum(np.concatenate((np.zeros(of, np.int64), flags)))
    return counts[of:] - counts[:-of] >= least


def find_events(flags: NDArray[np.bool_], scores: NDArray[Any]) -> list[Event]:
    """Return the events of a run: each longest stretch of flags that are set, (moments,), with its peak.

    A score that is NaN is higher than every other.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    found = []
    for start, stop in edges.reshape(-1, 2).tolist():
        height = np.where(np.isnan(scores[start:stop]), np.inf, scores[start:stop])
        peak = start + int(height.argmax())
        found.append(Event(start, stop, peak, float(scores[peak])))
    return found


def peak_window(scores: NDArray[Any], event: Event, window: int, stride: int) -> int:
    """Return the window with the highest score among those that cover the peak of an event."""
    first = max(0, -((window - 1 - event.peak) // stride))
    last = min(event.peak // stride, len(scores) - 1)
    part = scores[first : last + 1]
    return first + int(np.where(np.isnan(part), np.inf, part).argmax())


def channel_shares(contribution: NDArray[Any], first: int = 0, stop: int | None = None) -> NDArray[np.float64]:
    """Return the share of each channel in the score of a window, (channels,), of the moments `first` to `stop`.

    Contributions, (window, channels), that are not finite count before all others, in equal parts.
    """
    part = contribution[first:stop].astype(np.float64)
    odd = ~np.isfinite(part)
    weight = np.where(odd, 1.0, 0.0).sum(axis=0) if odd.any() else part.sum(axis=0)
    total = weight.sum()
    return weight / total if total > 0 and np.isfinite(total) else np.zeros_like(weight)
