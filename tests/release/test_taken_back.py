"""A version on probation: what was promised of it, and when it is taken back."""

import json
from pathlib import Path

import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.checks.binomial import at_least, at_most, interval
from aetool.release import _watch as watch
from aetool.release import add_report, promise_of, status_of

EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"
BATCH = 10


def flagged_share(model, rows):
    return float(model.detect(rows).mean())


def mixture(site, table, share, count):
    """Rows of which the current model flags `share`, in random order."""
    normal, abnormal = table
    with aetool.load(site.current, provider="cpu") as model:
        rows = np.concatenate([normal, abnormal])
        decisions = model.detect(rows)
    random = np.random.default_rng(7)
    chosen = random.random(count) < share
    return np.where(
        chosen[:, None],
        rows[decisions][random.integers(0, decisions.sum(), count)],
        rows[~decisions][random.integers(0, (~decisions).sum(), count)],
    ).astype(np.float32)


@pytest.fixture
def on_probation(site, promised):
    """The device has a, and since a moment the calibrated bundle."""
    site.push("a")
    site.poll()
    site.push(promised)
    site.poll()
    return site


def test_a_version_that_flags_ten_times_what_was_promised_is_taken_back_within_the_stated_rows(
    on_probation, table, promised
):
    site, promise = on_probation, promise_of(Bundle.open(promised).manifest)
    bad = site.current.name
    assert (
        0 < promise.window < 1000
        and f"judged every {promise.window:,} rows" in status_of(site.device).promised_text
    )
    rows = mixture(site, table, 10 * promise.share, promise.window)
    with site.agent() as agent, aetool.follow(site.device, look_s=None) as model:
        for start in range(0, len(rows), BATCH):
            model.score(rows[start : start + BATCH])
            model.refresh()
            if (outcome := agent.look()) is not None:
                break
        assert outcome.event == "rolled back" and start + BATCH <= promise.window
        counted = rows[: start + BATCH]
        with aetool.load(site.device / "versions" / bad) as taken_back:
            flagged = int(taken_back.detect(counted).sum())
        assert f"{flagged} of {len(counted)} rows" in outcome.message
        assert "more than calibration promised" in outcome.message and "one case of 1,000,000" in outcome.message
        assert model.refresh() and model.version == site.current.name != bad
        assert agent.poll().event == "held"
    assert outcome.message in status_of(site.device).state.last.message


def test_a_version_that_keeps_its_promise_passes_its_probation(on_probation, table, promised):
    site, promise = on_probation, promise_of(Bundle.open(promised).manifest)
    version = site.current.name
    rows = mixture(site, table, promise.share, promise.rows)
    with site.agent() as agent, aetool.follow(site.device, look_s=None) as model:
        for start in range(0, len(rows), promise.window):
            model.detect(rows[start : start + promise.window])
            model.refresh()
            assert agent.look() is None
    assert site.current.name == version
    assert status_of(site.device).state.probation.windows == watch.WINDOWS
    assert "20 of 20 times passed" in status_of(site.device).promised_text


def test_a_version_that_flags_nothing_where_some_were_promised_is_taken_back(on_probation, promised):
    site, promise = on_probation, promise_of(Bundle.open(promised).manifest)
    assert promise.low > 0
    with site.agent() as agent:
        for _ in range(watch.WINDOWS):
            add_report(site.device, rows=promise.window, flagged=0)
            if (outcome := agent.look()) is not None:
                break
        assert outcome.event == "rolled back" and "less than calibration promised" in outcome.message


def test_no_device_goes_back_to_a_version_that_was_withdrawn(site):
    older, newer = site.push("a"), site.push("b")
    site.poll()
    site.push("a", allow_downgrade=True)
    assert site.poll().version == older
    with site.agent() as agent:
        add_report(site.device, error="no score")
        assert agent.look().event == "failing" and agent.version == older
    assert not (site.device / "versions" / newer).exists()


def test_live_anomalies_can_be_tolerated(on_probation, promised):
    site, promise = on_probation, promise_of(Bundle.open(promised).manifest)
    with site.agent(tolerated=0.5) as agent:
        add_report(site.device, rows=promise.window, flagged=promise.window // 2)
        assert agent.look() is None
    with site.agent() as agent:
        add_report(site.device, rows=promise.window, flagged=promise.window // 2)
        assert agent.look().event == "rolled back"


def test_the_rows_of_a_window_find_ten_times_the_promise_and_seldom_anything_else():
    for flagged, rows in [(0, 100), (1, 100), (10, 1000), (5, 5000), (50, 100_000)]:
        threshold = {"rows": rows, "flagged_share": flagged / rows}
        manifest = Bundle.open(EXPORTED).manifest._replace(threshold=threshold)
        promise = promise_of(manifest)
        assert (promise.low, promise.high) == interval(flagged, rows)
        least = next(
            k for k in range(promise.window + 2) if at_least(k, promise.window, promise.high) <= watch.CHANCE
        )
        assert at_least(least, promise.window, promise.high) <= watch.CHANCE
        bad = max(10 * promise.share, 2 * promise.high)
        assert at_least(least, promise.window, bad) >= 0.99


def test_a_bundle_without_counted_rows_promises_nothing(site):
    site.push("a")
    site.poll()
    assert promise_of(Bundle.open(site.made / "a").manifest) is None
    with site.agent() as agent:
        add_report(site.device, rows=1000, flagged=1000)
        assert agent.look() is None
    assert "nothing; calibrate the bundle" in status_of(site.device).promised_text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b" " * 100_000, json.dumps({"version": "x", "rows": -1}).encode(), b'{"rows": 1e9}'],
)
def test_a_report_that_is_none_counts_for_nothing(on_probation, content):
    site = on_probation
    (site.device / "reports" / f"{site.current.name}.json").write_bytes(content)
    with site.agent() as agent:
        assert agent.look() is None
    assert status_of(site.device).reported == watch.Reported()


def test_a_tail_of_the_binomial_is_exact_where_it_is_small():
    assert at_least(10, 10, 0.01) == pytest.approx(1e-20, rel=1e-9)
    assert at_least(0, 5, 0.3) == 1.0
    assert at_least(3, 7, 0.4) == pytest.approx(1 - at_most(2, 7, 0.4), abs=1e-12)
