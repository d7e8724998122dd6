"""Events of a log against the findings in it."""

import numpy as np
import pytest
from series_bundles import row_scores

from aetool.checks.findings import Criterion, ScoredRun, measure_findings

WINDOW, STRIDE, ROWS = 4, 2, 40
ALONE = Criterion(0.4)


def run_of(findings, odd_windows, seconds=None):
    """A run with findings, (start, stop) each, and the windows that score 1 rather than 0."""
    labels = np.zeros(ROWS, bool)
    for start, stop in findings:
        labels[start:stop] = True
    scores = np.zeros((ROWS - WINDOW) // STRIDE + 1, np.float32)
    scores[list(odd_windows)] = 1
    return ScoredRun(labels, seconds, scores, row_scores(scores, WINDOW, STRIDE).score)


def measured(run, events_by=ALONE, alerts_by=ALONE):
    return measure_findings([run], WINDOW, STRIDE, events_by=events_by, alerts_by=alerts_by)


def test_findings_are_found_or_not_and_events_have_one_or_none():
    # Window 5 covers rows 10 to 13, and is complete with row 13; window 15 covers rows 30 to 33.
    run = run_of([(11, 13), (20, 22)], [5, 15])
    found = measured(run)
    assert found[:4] == (2, 1, 2, 1) and found[4:] == (2.0, 2.0, "rows")
    assert found.text() == (
        "1 of 2 findings found, 1 of 2 events without a finding; an alert comes after 2 rows (most: 2)"
    )


def test_smoothing_makes_alerts_later_by_its_strides_in_seconds():
    run = run_of([(10, 20)], [5, 6, 7, 8], np.arange(ROWS) * 10.0)
    at_once, later = (measured(run, alerts_by=Criterion(0.4, smooth)) for smooth in (None, (2, 3)))
    assert (at_once.after_median, later.after_median) == (30.0, 50.0) and later.unit == "s"


@pytest.mark.parametrize("odd", [[], [15]])
def test_without_an_alert_in_time_there_is_no_delay(odd):
    found = measured(run_of([(4, 6)], odd))
    assert found.found == 0 and found.after_median is None and "an alert" not in found.text()


def test_events_go_by_the_threshold_of_rows_and_alerts_by_that_of_windows():
    run = run_of([(11, 13)], [5])
    rows, windows = (measured(run, **{which: Criterion(2.0)}) for which in ("events_by", "alerts_by"))
    assert (rows.found, rows.events, rows.after_median) == (0, 0, 2.0)
    assert (windows.found, windows.events, windows.after_median) == (1, 1, None)


def test_events_and_alerts_are_each_smoothed_by_their_own():
    run = run_of([(10, 14)], [5])  # covers four rows
    events, alerts = (measured(run, **{which: Criterion(0.4, (5, 5))}) for which in ("events_by", "alerts_by"))
    assert (events.found, events.events, events.after_median) == (0, 0, 3.0)
    assert (alerts.found, alerts.events, alerts.after_median) == (1, 1, None)
