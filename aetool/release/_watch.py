"""A new version on probation: what programs report of it, and whether that is what was promised.

The promise is the interval of the share of normal rows that the threshold flags, which `aetool calibrate` (or the
export) recorded. The rows that programs report are counted in windows. A window is judged by the exact binomial
test: the version is taken back if so many flagged rows, or so few, had a probability below CHANCE within the
promise. The number of rows in a window follows from it: as many as find ten times the promised share with a
probability of 99 %.
"""

import math
from pathlib import Path
from typing import NamedTuple

from aetool.bundle.manifest import Manifest
from aetool.bundle.schema import Size
from aetool.checks.binomial import at_least, at_most, interval
from aetool.runtime.following import report_of

CHANCE = 1e-6
"""Probability, in each window, of taking back a version that keeps its promise."""
WINDOWS = 20
"""Windows of a probation."""
_POWER, _TIMES = 0.99, 10
_MOST_ROWS = 1_000_000


class Promise(NamedTuple):
    """What was promised of a version, and how many rows judge it."""

    share: float
    low: float
    high: float
    window: int
    """Rows of a window; 0 where no number of rows would do."""

    @property
    def rows(self) -> int:
        """Rows of the probation."""
        return WINDOWS * self.window


def promise_of(manifest: Manifest, tolerated: float = 0.0) -> Promise | None:
    """Return what calibration promised; None where the bundle has no counted rows.

    Args:
        manifest: the bundle's.
        tolerated: share of live rows that may be anomalies, added to the upper end.
    """
    counted = manifest.calibration.get("false_alarms")
    try:
        if counted:
            rows, flagged = int(counted["rows"]), int(counted["count"])
        else:
            rows = int(manifest.threshold["rows"])
            flagged = round(rows * float(manifest.threshold["flagged_share"]))
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 <= flagged <= rows or not 0 < rows <= 10**9:
        return None
    low, high = interval(flagged, rows)
    high = min(1.0, high + tolerated)
    return Promise(flagged / rows, low, high, _window(flagged / rows + tolerated, high))


def _window(share: float, high: float) -> int:
    bad = min(1.0, max(_TIMES * share, 2 * high))
    if bad <= high:
        return 0
    rows = 1
    while rows <= _MOST_ROWS:
        least = _least(rows, high)
        if least <= rows and at_least(least, rows, bad) >= _POWER:
            return rows
        rows = math.ceil(rows * 1.05)
    return 0


def _least(rows: int, high: float) -> int:
    """Return the fewest flagged of `rows` that are too many; one more than `rows` if none are."""
    low, most = 0, rows + 1
    while low < most:
        middle = (low + most) // 2
        low, most = (low, middle) if at_least(middle, rows, high) <= CHANCE else (middle + 1, most)
    return low


class Reported(NamedTuple):
    """Sums of what programs reported of one version."""

    rows: int = 0
    flagged: int = 0
    errors: int = 0
    error: str = ""
    """The last."""


def read_reports(folder: Path, version: str) -> Reported:
    """Return what programs have reported of a version to the agent of `folder`."""
    found = report_of(folder, version)
    return Reported(found["rows"], found["flagged"], found["errors"], found["error"])


class Probation(NamedTuple):
    """How far a version has come; a row of the agent's state."""

    version: str
    windows: Size = 0
    """Windows that it has passed."""
    rows: Size = 0
    """Rows reported before the window that is being counted."""
    flagged: Size = 0


def judge(
    reported: Reported, probation: Probation, promise: Promise | None, most_errors: int
) -> tuple[Probation, str | None]:
    """Return the probation as it is after a report, and the reason to take the version back, if there is one."""
    if reported.errors > most_errors:
        times = "an error" if reported.errors == 1 else f"{reported.errors:,} errors"
        return probation, f"programs reported {times}: {reported.error or 'without a message'}"
    rows, flagged = reported.rows - probation.rows, reported.flagged - probation.flagged
    if promise is None or promise.window == 0 or probation.windows >= WINDOWS or rows < 0:
        return probation, None
    counted = max(rows, promise.window)  # so many flagged already are as many at the end of the window
    if at_least(flagged, counted, promise.high) <= CHANCE:
        return probation, _reason("more", flagged, rows, promise)
    if rows >= promise.window and at_most(reported.flagged, reported.rows, promise.low) <= CHANCE:
        return probation, _reason("less", reported.flagged, reported.rows, promise)
    if rows < promise.window:
        return probation, None
    passed = min(WINDOWS, probation.windows + rows // promise.window)
    return probation._replace(windows=passed, rows=reported.rows, flagged=reported.flagged), None


def _reason(word: str, flagged: int, rows: int, promise: Promise) -> str:
    return (
        f"{flagged:,} of {rows:,} rows ({100 * flagged / max(rows, 1):.3g} %) were flagged, {word} than "
        f"calibration promised ({100 * promise.low:.2g} to {100 * promise.high:.2g} %); by chance in less "
        f"than one case of {1 / CHANCE:,.0f}"
    )
