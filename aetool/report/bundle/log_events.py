"""The events of a log, as `aetool score --events` finds them, and what its labels say about them."""

from typing import Any

import numpy as np

from aetool.report.bundle.records import LogEvent, LogEvents
from aetool.runtime.moments import find_events, peak_window
from aetool.runtime.session import AutoencoderSession
from aetool.stream.logs import RunMoments, moments_of_log
from aetool.tables.windows import Log, time_texts

_CHANNELS = 3
"""Channels that an event names."""


def events_of(model: AutoencoderSession, log: Log) -> LogEvents:
    """Score the rows of a log, and return its events, the one with the highest score first.

    Raises:
        InputError: see `aetool.tables.windows.read_runs`.
    """
    runs = moments_of_log(model, log, explained=True)
    found: list[LogEvent] = []
    labelled, met = 0, 0
    for run in runs:
        score = run.moments.score
        covered = np.arange(len(score)) % log.series.stride < log.series.window
        flags = ~(score <= model.row_threshold) & covered
        found += [_event(model, log, run, each) for each in find_events(flags, score)]
        if run.labels is not None:
            stretches = find_events(run.labels, run.labels)
            labelled += len(stretches)
            met += sum(bool(flags[stretch.start : stretch.stop].any()) for stretch in stretches)
    height = [event.score if np.isfinite(event.score) else np.inf for event in found]
    order = np.argsort([-value for value in height], kind="stable")
    is_labelled = any(run.labels is not None for run in runs)
    return LogEvents(
        events=tuple(found[place] for place in order),
        rows=sum(len(run.moments.score) for run in runs),
        labelled=labelled if is_labelled else None,
        met=met,
    )


def _event(model: AutoencoderSession, log: Log, run: RunMoments, event: Any) -> LogEvent:
    times = run.times if run.times is not None else run.first_row + 1 + np.arange(len(run.moments.score))
    start, end, peak = map(str, time_texts(times[[event.start, event.stop - 1, event.peak]]).tolist())
    share = run.shares.get(peak_window(run.scores, event, log.series.window, log.series.stride))
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
