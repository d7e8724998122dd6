"""Metrics of live rows: what was scored, how it differs from the training rows, and when that is drift."""

import re
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from aetool.bundle.baseline import baseline_of, features_of
from aetool.checks.drift import MOST_CHANCE, stability_index, wilson
from aetool.serve import _live
from aetool.serve._live import PARTS, Expected, LiveRows, RowCounts, families, judge

CUSTOMERS = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "customers.py"))
DAY_S, ALERT_S = 24 * 3600, 15 * 60


def figures(page):
    """Series -> value of a page of metrics."""
    found = re.findall(r"^(aetool_\S+?)(\{.*\})? (\S+)$", page.decode(), re.M)
    return {name + labels: float(value) for name, labels, value in found}


def figures_of(*pairs):
    class Given(Collector):
        def collect(self):
            return families(pairs)

    registry = CollectorRegistry()
    registry.register(Given())
    return figures(generate_latest(registry))


def expected_of(rows, names, categories, scores, threshold):
    features = features_of(rows, names, categories)
    baseline = baseline_of("rows", len(rows), features, scores.astype(np.float64))
    share = float(np.mean(scores > threshold))
    return Expected(baseline, threshold, share, wilson(round(share * len(scores)), len(scores), MOST_CHANCE))


def odd_rows(count, seed):
    """Numbers, ties, constants, codes, missing and infinite values."""
    random = np.random.default_rng(seed)
    rows = np.column_stack(
        [
            random.normal(size=count),
            random.integers(0, 4, count),
            np.full(count, 3.0),
            random.integers(-1, 6, count),  # codes, some unseen
            random.normal(size=count),
            np.full(count, np.nan),
        ]
    ).astype(np.float32)
    rows[random.random(count) < 0.1, 4] = np.nan
    rows[random.random(count) < 0.1, 0] = np.inf
    rows[random.random(count) < 0.1, 1] = -np.inf
    return rows


NAMES, CATEGORIES = ("size", "tie", "constant", "code", "gaps", "never"), {"code": ("a", "b", "c", "d")}


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def live(clock):
    before = odd_rows(500, 1)
    expected = expected_of(before, NAMES, CATEGORIES, np.random.default_rng(2).random(500), 0.9)
    return LiveRows("pumps", "1", expected, 3600, clock)


def test_counts_of_all_columns_at_once_are_those_of_each(live, clock):
    rows = odd_rows(10_000, 3)
    scores = np.random.default_rng(4).random(len(rows)).astype(np.float32)
    scores[0] = np.nan
    for part in np.array_split(np.arange(len(rows)), 7):
        live.take(rows[part], scores[part], scores[part] > 0.9)
        live.digest()
    counts, layout = live.digest().total, live.layout
    for place, feature in enumerate(layout.features):
        assert np.array_equal(layout.bins_of(counts, place), feature.counts_of(rows[:, place])), feature.name
        assert layout.outside(counts)[place] == feature.outside(rows[:, place])
        assert layout.missing(counts)[place] == np.isnan(rows[:, place]).sum()
        psi = stability_index(np.asarray(feature.shares), 500, feature.counts_of(rows[:, place]))
        assert judge(layout, counts).psi[place] == pytest.approx(psi)
    found = figures_of((live, live.digest()))
    who = 'bundle="pumps"'
    assert found[f'aetool_rows_total{{{who},version="1"}}'] == len(rows)
    assert found[f'aetool_flagged_rows_total{{{who},version="1"}}'] == np.sum(scores > 0.9)
    assert found[f'aetool_score_bucket{{{who},le="0.9",version="1"}}'] == np.sum(scores <= np.float32(0.9))
    assert found[f'aetool_score_count{{{who},version="1"}}'] == len(rows)


def test_of_many_rows_an_even_sample_is_counted_and_all_are_tallied(live, clock):
    random, sent = np.random.default_rng(5), 0
    for _ in range(20):
        for size in (1, 7, 50_000, 64):
            rows = odd_rows(64, int(random.integers(1000)))[random.integers(0, 64, size)]
            live.take(rows, np.ones(size, np.float32), np.zeros(size, bool))
            sent += size
        clock.now += 1
        total = live.digest().total
    assert total[0] == sent
    a_second = _live.MOST_VALUES / 10
    assert 10 * a_second < total[2] <= 21 * a_second
    missing = live.layout.missing(total) / total[2]
    assert missing[-1] == 1 and missing[0] == 0 and missing[4] == pytest.approx(0.1, abs=0.05)


def test_a_rare_row_in_a_million_small_requests_is_sampled_as_often_as_others(live, clock):
    rows = odd_rows(10, 6)
    rows[:, 4] = 0
    rows[3, 4] = np.nan
    flags = np.zeros(1, bool)
    for _ in range(3):
        for i in range(60_000):
            live.take(rows[i % 10 : i % 10 + 1], np.ones(1, np.float32), flags)
        clock.now += 1
        total = live.digest().total
    assert total[2] < total[0] == 180_000
    assert live.layout.missing(total)[4] / total[2] == pytest.approx(0.1, abs=0.02)


def test_the_window_forgets_and_the_totals_do_not(live, clock):
    rows = odd_rows(100, 7)
    live.take(rows, np.ones(100, np.float32), np.ones(100, bool))
    assert sum(part[0] for part in live.digest().parts.values()) == 100
    clock.now += 3600 * (PARTS + 1) / PARTS
    tally = live.digest()
    assert tally.parts == {} and tally.total[0] == 100


def test_a_wide_table_has_a_bounded_number_of_series(clock):
    random = np.random.default_rng(8)
    before = random.normal(size=(200, 3000)).astype(np.float32)
    names = [f"column {i} {'long ' * 60}" for i in range(3000)]
    live = LiveRows("wide", "1", expected_of(before, names, {}, random.random(200), 0.9), 3600, clock)
    now = before.copy()
    now[:, 2999] += 9
    live.take(now, np.ones(200, np.float32), np.ones(200, bool))
    found = figures_of((live, live.digest()))
    series = Counter(name.partition("{")[0] for name in found)
    assert max(series.values()) == _live.MOST_NAMED
    assert max(map(len, found)) < 250
    psi = {name: value for name, value in found.items() if name.startswith("aetool_feature_psi")}
    assert "column 2999 " in max(psi, key=psi.get)


def test_columns_of_many_categories_are_not_all_watched(clock):
    random, codes = np.random.default_rng(8), 60_000
    before = np.column_stack([random.integers(0, codes, 500), random.normal(size=500)] * 3).astype(np.float32)
    names = tuple("abcdef")
    categories = {name: [str(i) for i in range(codes)] for name in "ace"}
    live = LiveRows("codes", "1", expected_of(before, names, categories, random.random(500), 0.9), 3600, clock)
    assert live.layout.names == ["a", "b"] and live.layout.size < _live.MOST_BINS + 100
    live.take(before, random.random(500), np.zeros(500, bool))  # scores in double precision
    found = figures_of((live, live.digest()))
    psi = {name: value for name, value in found.items() if name.startswith("aetool_feature_psi")}
    assert len(psi) == 2 and max(psi.values()) == pytest.approx(0)
    assert found['aetool_score_count{bundle="codes",version="1"}'] == 500


def test_tallies_of_several_processes_are_added(live, clock):
    layout, rows = live.layout, odd_rows(600, 9)
    scores = np.random.default_rng(9).random(600).astype(np.float32)
    whole = LiveRows("pumps", "1", layout.expected, 3600, clock)
    whole.take(rows, scores, scores > 0.9)
    live.take(rows[:200], scores[:200], scores[:200] > 0.9)
    other = LiveRows("pumps", "1", layout.expected, 3600, clock)
    other.take(rows[200:], scores[200:], scores[200:] > 0.9)
    both = live.digest().plus(other.digest())
    assert np.allclose(both.total, whole.digest().total)
    assert judge(layout, both.total) == judge(layout, whole.digest().total)


class Bank:
    """Customers of the tutorial, and how unlike each other spending and income are, as a score."""

    def __init__(self):
        jobs = CUSTOMERS["JOBS"]

        def rows_of(count, odd, seed, inflation=1.0):
            made = CUSTOMERS["customers"](count, odd, seed, inflation)
            return np.array([[jobs.index(row[1]), *row[2:7]] for row in made], np.float32)

        self.before = rows_of(1500, 0, 1)
        self.usual, self.planted = rows_of(4000, 40, 2), rows_of(4000, 40, 3, 1.3)
        names = CUSTOMERS["COLUMNS"][1:7]
        self.spread = np.log(self.before[:, 2] / self.before[:, 4])
        scores = self.score(self.before)
        threshold = float(np.quantile(scores, 0.99))
        self.expected = expected_of(self.before, names, {"job": jobs}, scores, threshold)

    def score(self, rows):
        return np.abs(np.log(rows[:, 2] / rows[:, 4]) - np.median(self.spread)).astype(np.float32)

    def alert_after_s(self, live, clock, rows, seconds, seed):
        """Seconds until `aetool_drift > 0` held for 15 minutes, scraped each 3 minutes; None where it does not."""
        random, begin, since = np.random.default_rng(seed), clock.now, None
        while clock.now < begin + seconds:
            for _ in range(5):
                sent = rows[random.integers(0, len(rows), random.integers(1, 60))]
                scores = self.score(sent)
                live.take(sent, scores, scores > self.expected.threshold)
                clock.now += 36
            found = figures_of((live, live.digest()))
            kinds = [value for name, value in found.items() if name.startswith("aetool_drift{")]
            assert len(kinds) == 3
            since = since or clock.now if max(kinds) > 0 else None
            if since is not None and clock.now - since >= ALERT_S:
                return clock.now - begin
        return None


def test_the_alert_is_silent_for_a_day_and_fires_on_the_drift_of_the_tutorial(clock):
    bank = Bank()
    live = LiveRows("bank", "1", bank.expected, 3600, clock)
    assert bank.alert_after_s(live, clock, bank.usual, DAY_S, 1) is None
    assert bank.alert_after_s(live, clock, bank.planted, 3 * 3600, 2) < 2 * 3600
    found = figures_of((live, live.digest()))
    psi = {name: value for name, value in found.items() if name.startswith("aetool_feature_psi")}
    assert 'feature="spending"' in max(psi, key=psi.get)


def test_a_bundle_without_a_baseline_has_the_other_metrics(clock):
    live = LiveRows("odd", "1", Expected(None, 0.5, None, None), 3600, clock)
    rows = np.zeros((400, 2, 2), np.float32)
    live.take(rows, np.full(400, 0.7, np.float32), np.ones(400, bool))
    found = figures_of((live, live.digest()))
    assert found['aetool_flagged_rows_total{bundle="odd",version="1"}'] == 400
    assert found['aetool_score_bucket{bundle="odd",le="0.5",version="1"}'] == 0
    assert not any("feature_" in name or "expected" in name for name in found)
    assert RowCounts(Expected(None, np.inf, None, None)).edges.size == 0


def test_a_server_counts_what_it_scored_and_nothing_else(start, exported, model, rows, infer_body):
    with start(f"cancer={exported}") as server:
        for name in ("cancer", "cancer.detector", "cancer.encoder"):
            assert server.call("POST", f"/v2/models/{name}/infer", infer_body(rows))[0] == 200
        body = infer_body(rows, outputs=[{"name": "embedding"}])
        assert server.call("POST", "/v2/models/cancer/infer", body)[0] == 200
        found = figures(server.call("GET", "/metrics")[2])
    who = f'bundle="cancer",version="{model.manifest.id[:12]}"'
    assert found[f"aetool_rows_total{{{who}}}"] == found[f"aetool_sampled_rows_total{{{who}}}"] == 2 * len(rows)
    assert found[f"aetool_flagged_rows_total{{{who}}}"] == 2 * model.detect(rows).sum()
    psi = [name for name in found if name.startswith("aetool_feature_psi")]
    assert len(psi) == rows.shape[1]
