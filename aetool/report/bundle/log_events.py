"""The events of a log, as `aetool score --events` finds them, and what its labels say about them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.report.bundle.records import LogEvent, LogEvents
from aetool.runtime.moments import (
    Event,
    count_overlapped,
    event_smoothing,
    find_events,
    highest_windows,
    smoothing_text,
)
from aetool.runtime.session import AutoencoderSession
from aetool.stream.logs import RunMoments, moments_of_log
from aetool.tables.windows import Log, time_texts

_CHANNELS = 3
"""Channels that an event names."""


def events_of(model: AutoencoderSession, log: Log, smooth: tuple[int, int] | None = None) -> LogEvents:
    """Score the rows of a log, and return its events, the one with the highest score first.

    Args:
        model: a bundle of windows.
        log: the log.
        smooth: (K, N): K of the last N rows must be above the threshold.  [default: see `event_smoothing`]

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    runs = moments_of_log(model, log, explained=True)
    own = model.manifest.row_threshold(model.precision)
    smooth = event_smoothing(own, smooth)
    found: list[LogEvent] = []
    labelled, met = 0, 0
    for run in runs:
        score = run.moments.score
        covered = np.arange(len(score)) % log.series.stride < log.series.window
        flags = ~(score <= model.row_threshold) & covered
        events = find_events(flags, score, smooth)
        peaks = np.array([event.peak for event in events], np.int64)
        behind = highest_windows(peaks, run.scores, log.series.window, log.series.stride)
        shares = map(run.shares.get, behind.tolist())
        found += [_event(model, run, each, share) for each, share in zip(events, shares, strict=True)]
        if run.labels is not None:
            stretches = find_events(run.labels, run.labels)
            labelled += len(stretches)
            met += count_overlapped(stretches, events)
    height = [event.score if np.isfinite(event.score) else np.inf for event in found]
    order = np.argsort([-value for value in height], kind="stable")
    is_labelled = any(run.labels is not None for run in runs)
    return LogEvents(
        events=tuple(found[place] for place in order),
        rows=sum(len(run.moments.score) for run in runs),
        labelled=labelled if is_labelled else None,
        met=met,
        row_threshold=None if own is None else model.row_threshold,
        of_last=smoothing_text(smooth, "rows"),
    )


def _event(model: AutoencoderSession, run: RunMoments, event: Event, share: NDArray[Any] | None) -> LogEvent:
    times = run.times if run.times is not None else run.first_row + 1 + np.arange(len(run.moments.score))
    start, end, peak = map(str, time_texts(times[[event.start, event.stop - 1, event.peak]]).tolist())
    order = () if share is None else np.argsort(-share, kind="stable")[:_CHANNELS].tolist()
    return LogEvent(
        group=run.group,
        start=start,
        end=end,
        peak=peak,
        rows=event.stop - event.start,
        score=event.score,
        channels=() if share is None else tuple((model.feature_names[i], float(share[i])) for i in order),
        label=None if run.labels is None else bool(run.labels[event.start : event.stop].any()),
    )
