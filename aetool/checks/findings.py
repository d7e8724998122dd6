"""Events of a log against findings: the stretches of rows that somebody has labelled as abnormal."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.moments import Event, count_overlapped, find_events, smoothed


class ScoredRun(NamedTuple):
    """A run of a log, scored and labelled."""

    labels: NDArray[np.bool_]
    """(rows,) True = anomaly."""
    seconds: NDArray[np.float64] | None
    """(rows,) None: a log without times."""
    window_scores: NDArray[np.float32]
    """(windows,)"""
    row_scores: NDArray[np.float32]
    """(rows up to the end of the last window,)"""


class Criterion(NamedTuple):
    """When scores, one after another, are abnormal."""

    threshold: float
    """Highest score that counts as normal."""
    smooth: tuple[int, int] | None = None
    """(K, N): K of the last N scores must be above the threshold; None: each is judged alone."""

    def flags(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for each score whether it is abnormal."""
        odd = ~(scores <= self.threshold)
        return odd if self.smooth is None else smoothed(odd, *self.smooth)

    def events(self, scores: NDArray[np.float32], at: NDArray[np.bool_]) -> list[Event]:
        """Return the events among scores; where `at` is False, one counts as normal."""
        return find_events(~(scores <= self.threshold) & at, scores, self.smooth)


class Findings(NamedTuple):
    """What became of the findings."""

    findings: int
    """Stretches of labelled rows, one after another in a run."""
    found: int
    """Those that an event overlaps."""
    events: int
    events_without_finding: int
    after_median: float | None
    """From the first row of a finding to the alert of `aetool watch`, of those that have one; None: none has."""
    after_most: float | None
    unit: str
    """Of these: "s", or "rows" where a log has no times."""

    def text(self) -> str:
        """Return it as a sentence for people."""
        without = f"{self.events_without_finding:,} of {self.events:,} events without a finding"
        if self.after_median is None:
            return f"{self.found:,} of {self.findings:,} findings found, {without}"
        after = f"{self.after_median:g} {self.unit} (most: {self.after_most:g})"
        return f"{self.found:,} of {self.findings:,} findings found, {without}; an alert comes after {after}"


def measure_findings(
    runs: Iterable[ScoredRun], window: int, stride: int, *, events_by: Criterion, alerts_by: Criterion
) -> Findings:
    """Compare the events of `aetool score --events` with findings, and tell when `aetool watch` alerts.

    Args:
        runs: the runs of a log.
        window: rows of a window.
        stride: rows from one window to the next.
        events_by: when rows are abnormal.
        alerts_by: when windows are.
    """
    findings = found = events = false = 0
    after: list[float] = []
    unit = "rows"
    for run in runs:
        own = find_events(run.labels, run.labels.astype(np.float32))
        begun = events_by.events(run.row_scores, np.arange(len(run.row_scores)) % stride < window)
        findings, events, found = findings + len(own), events + len(begun), found + count_overlapped(own, begun)
        false += sum(not run.labels[event.start : event.stop].any() for event in begun)
        clock: NDArray[Any] = np.arange(len(run.labels), dtype=np.float64)
        if run.seconds is not None:
            clock, unit = run.seconds, "s"
        alerts = np.flatnonzero(alerts_by.flags(run.window_scores)) * stride + window - 1
        for finding in own:
            # Of the windows that hold a row of it, the first with an alert.
            within = alerts[(alerts >= finding.start) & (alerts < finding.stop + window - 1)]
            if len(within):
                after.append(float(clock[within[0]] - clock[finding.start]))
    median, most = (float(np.median(after)), max(after)) if after else (None, None)
    return Findings(findings, found, events, false, median, most, unit)
