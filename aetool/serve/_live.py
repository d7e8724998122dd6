"""Live rows: what is scored, counted off the request path and compared with the rows that a model was made for.

A request pays for one copy of its rows. They are counted once a second in another thread, MOST_VALUES values a
second at most: above that every second, third, ... row is a sample of all. Counts are one vector a bundle, and one
for each part of a sliding window, so that those of several processes are merged by adding them.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from aetool.bundle.baseline import Baseline, FeatureBaseline
from aetool.checks.drift import (
    LARGE_DISTANCE,
    LARGE_PSI,
    MOST_CHANCE,
    MOST_OUTSIDE,
    Interval,
    chi_square,
    stability_index,
    wilson,
)

MOST_VALUES = 250_000
"""Values that are counted in a second, about: rows times features."""
MOST_FEATURES = 1000
"""Features that are watched; of more, so many at equal distances."""
MOST_BINS = 100_000
"""Bins of all watched features; later ones, after columns of thousands of categories, are not watched."""
MOST_NAMED = 100
"""Features with metrics of their own; of more, those with the largest PSI."""
FEWEST_ROWS = 300
"""Rows of the window below which drift is not judged."""
LOOK_CHANCE = 1e-6
"""Chance beyond which live rows differ: `aetool drift` looks once, a server all day. The training rows are drawn
once; for them it is MOST_CHANCE."""
PARTS = 12
"""Parts of the window: it slides by one at a time."""
_SETTLED_S = 0.5
_PIECE = 4096
_BEYOND = (1.0, 3.0, 10.0)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_NAME = 100
_SINGLE = np.dtype(np.float32)

Rows = NDArray[np.float32]
Counts = NDArray[np.float64]
Outputs = Mapping[str, NDArray[Any]]
Run = Callable[[Rows], Outputs]


@dataclass(frozen=True, slots=True)
class Expected:
    """What live rows are compared with."""

    baseline: Baseline | None
    """None where the bundle has neither a baseline nor a normal golden row."""
    threshold: float
    promised: float | None
    """Share of normal rows that the threshold was to flag; None where unknown."""
    promised_interval: Interval | None
    """Its interval at MOST_CHANCE."""


class RowCounts:
    """Meaning of a vector of counts.

    In this order: rows, flagged rows, sampled rows and the sum of their finite scores; sampled rows by score; for
    each feature its values by bin, missing ones last; for each feature its values out of range or unseen.
    """

    def __init__(self, expected: Expected) -> None:
        """Lay out the counts of a bundle."""
        self.expected = expected
        baseline = expected.baseline
        self.features: Sequence[FeatureBaseline] = () if baseline is None else baseline.features
        every = len(self.features)
        chosen = np.linspace(0, every - 1, min(every, MOST_FEATURES)).astype(int)
        bins = np.cumsum([len(self.features[place].shares) for place in chosen])
        chosen = chosen[bins <= MOST_BINS]
        self.columns = None if len(chosen) == every else chosen
        self.features = [self.features[place] for place in chosen]
        self.rows_before = 0 if baseline is None else baseline.rows
        self.shares = [np.asarray(feature.shares) for feature in self.features]
        self.names = _labels(self.features)
        self.edges = _score_edges(expected)
        self._begin = 4 + len(self.edges) + 1
        sizes = [len(shares) for shares in self.shares]
        self.places = self._begin + np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.size = int(self.places[-1]) + len(self.features)
        self._of_numbers()

    def _of_numbers(self) -> None:
        """Pad the edges of all columns of numbers, so that they are counted together."""
        self._numbers = np.array([i for i, one in enumerate(self.features) if one.categories is None], int)
        chosen = [self.features[i] for i in self._numbers]
        most = max((len(one.edges) for one in chosen), default=0)
        with np.errstate(over="ignore"):
            self._edges = np.full((most, len(chosen)), np.inf, np.float32)  # nothing lies above
            for place, one in enumerate(chosen):
                self._edges[: len(one.edges), place] = one.edges
            bins = np.arange(most + 1)[:, None]
            self._used = bins <= [len(one.edges) for one in chosen]  # (bins, columns of numbers)
            self._bins = (bins + self.places[self._numbers])[self._used]
            ranges = [(np.inf, -np.inf) if one.range is None else one.range for one in chosen]
            self._least, self._most = np.array(ranges, np.float32).reshape(-1, 2).T

    def count(self, rows: Rows, scores: NDArray[np.float32]) -> Counts:
        """Count sampled rows, (rows, watched features), and their scores."""
        found = np.zeros(self.size)
        found[2] = len(scores)
        found[3] = float(np.sum(scores[np.isfinite(scores)], dtype=np.float64))
        places = np.searchsorted(self.edges, scores.astype(np.float64))  # not a number: the last
        found[4 : self._begin] = np.bincount(places, minlength=len(self.edges) + 1)
        if self.features:
            for begin in range(0, len(rows), _PIECE):
                self._count_numbers(rows[begin : begin + _PIECE], found)
            for place, one in enumerate(self.features):
                if one.categories is not None:
                    values = one.counts_of(rows[:, place])
                    found[self.places[place] : self.places[place + 1]] = values
                    found[self.places[-1] + place] = values[one.categories]
        return found

    def _count_numbers(self, rows: Rows, found: Counts) -> None:
        columns = np.ascontiguousarray(rows.T if len(self._numbers) == rows.shape[1] else rows.T[self._numbers])
        above = [np.count_nonzero(columns > edges[:, None], axis=1) for edges in self._edges]
        missing = np.count_nonzero(np.isnan(columns), axis=1)
        there = columns.shape[1] - missing
        bins = -np.diff([there, *above, np.zeros_like(there)], axis=0)
        outside = (columns < self._least[:, None]) | (columns > self._most[:, None])
        found[self.places[-1] + self._numbers] += np.count_nonzero(outside, axis=1)
        found[self._bins] += bins[self._used]
        found[self.places[1:][self._numbers] - 1] += missing

    def scores_of(self, counts: Counts) -> Counts:
        """Return the part with the sampled rows by score."""
        found: Counts = counts[4 : self._begin]
        return found

    def bins_of(self, counts: Counts, feature: int) -> NDArray[np.int64]:
        """Return a feature's values by bin."""
        return counts[self.places[feature] : self.places[feature + 1]].astype(np.int64)

    def missing(self, counts: Counts) -> Counts:
        """Return the number of missing values of each feature."""
        found: Counts = counts[self.places[1:] - 1]
        return found

    def outside(self, counts: Counts) -> Counts:
        """Return the number of values of each feature that are out of range, or unseen categories."""
        found: Counts = counts[self.places[-1] :]
        return found


def _labels(features: Sequence[FeatureBaseline]) -> list[str]:
    """Return the features' names as labels: short ones, each once."""
    return [
        one.name if len(one.name) <= _NAME else f"{one.name[:_NAME]}... ({place})"
        for place, one in enumerate(features)
    ]


def _score_edges(expected: Expected) -> NDArray[np.float64]:
    """Return edges for scores: quantiles of normal rows, the threshold, and some beyond it."""
    scores = [] if expected.baseline is None else list(expected.baseline.scores)
    edges = [float(f"{value:.6g}") for value in np.quantile(scores, _QUANTILES)] if scores else []
    threshold = expected.threshold
    if math.isfinite(threshold):
        typical = float(np.median(scores)) if scores else 0.0
        apart = abs(threshold - typical)
        edges += [threshold, *(float(f"{threshold + factor * apart:.6g}") for factor in _BEYOND)]
    return np.unique(edges)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Comparison of a window with what was expected."""

    psi: tuple[float, ...]
    """PSI of each watched feature; none without sampled rows."""
    features: int
    """Number of features that drifted."""
    flagged: bool
    """True where more rows are flagged than expected."""
    scores: bool
    """True where the scores are higher than expected."""


def judge(layout: RowCounts, counts: Counts) -> Judgement:
    """Compare a window's counts with the baseline, by the limits of `aetool drift` and LOOK_CHANCE."""
    rows, flagged, sampled = (int(number) for number in counts[:3])
    psi, drifted, too_many, higher = [], 0, False, False
    if sampled:
        outside, each = layout.outside(counts), max(1, len(layout.features))
        for place, before in enumerate(layout.shares):
            bins = layout.bins_of(counts, place)
            found = stability_index(before, layout.rows_before, bins)
            psi.append(found)
            freedom = int(np.count_nonzero((before > 0) | (bins > 0))) - 1
            by_chance = chi_square(freedom, LOOK_CHANCE / each) / sampled
            by_chance += chi_square(freedom, MOST_CHANCE / each) / layout.rows_before
            is_outside = wilson(int(outside[place]), sampled, LOOK_CHANCE / each)[0] > MOST_OUTSIDE
            drifted += sampled >= FEWEST_ROWS and (found > max(LARGE_PSI, by_chance) or is_outside)
        baseline = layout.expected.baseline
        if sampled >= FEWEST_ROWS and baseline is not None and baseline.score_rows and baseline.scores:
            now = np.cumsum(layout.scores_of(counts))[:-1] / sampled
            was = np.searchsorted(np.asarray(baseline.scores), layout.edges, side="right") / len(baseline.scores)
            distance = max(0.0, float((was - now).max(initial=0)))
            by_chance = -math.log(MOST_CHANCE) / baseline.score_rows - math.log(LOOK_CHANCE) / sampled
            higher = distance >= LARGE_DISTANCE and 2 * distance**2 >= by_chance  # Smirnov's limit
    if rows >= FEWEST_ROWS and (most := layout.expected.promised_interval) is not None:
        too_many = wilson(flagged, rows, LOOK_CHANCE)[0] > most[1]
    return Judgement(tuple(psi), drifted, too_many, higher)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one bundle in one process, or in several."""

    total: Counts
    """Counts since the server began."""
    parts: dict[int, Counts]
    """Number of a part of the window -> its counts."""

    def plus(self, other: "Tally") -> "Tally":
        """Return the sum of both."""
        parts = dict(self.parts)
        for number, counts in other.parts.items():
            parts[number] = parts[number] + counts if number in parts else counts
        return Tally(self.total + other.total, parts)


class LiveRows:
    """Counter of the rows that one bundle scores.

    Args:
        name: the bundle's served name.
        version: its version.
        expected: what its rows are compared with.
        window_s: length of the sliding window, in seconds.
        clock: seconds, rising.
    """

    def __init__(
        self,
        name: str,
        version: str,
        expected: Expected,
        window_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without rows."""
        self.name, self.version, self.layout = name, version, RowCounts(expected)
        self._part_s, self._clock = window_s / PARTS, clock
        self._per_s = max(10, MOST_VALUES // max(10, len(self.layout.features)))
        self._taking, self._counting = threading.Lock(), threading.Lock()
        self._pending: list[tuple[bytes, bytes]] = []
        self._decisions: list[bytes] = []
        self._rows = self._flagged = self._since = 0
        self._stride, self._skip, self._room, self._settled = 1, 0, self._per_s, clock()
        self._is_whole = bool(self.layout.features) and self.layout.columns is None
        self._every = self._per_s * self._is_whole
        self._tally = Tally(np.zeros(self.layout.size), {})

    def watching(self, run: Run) -> Run:
        """Return `run`, which gives scores and decisions, with its rows counted."""

        def watched(rows: Rows) -> Outputs:
            outputs = run(rows)
            self.take(rows, outputs["score"], outputs["is_anomaly"])
            return outputs

        return watched

    def take(self, rows: Rows, scores: NDArray[np.float32], flagged: NDArray[np.bool_]) -> None:
        """Take rows to be counted by the next `digest`."""
        with self._taking:
            if self._every >= (count := len(rows)):  # few rows so far: all are taken, as bytes, which costs least
                self._every -= count
                self._room -= count
                self._pending.append((rows.tobytes(), _single(scores).tobytes()))
                self._decisions.append(flagged.tobytes())
                return
            anomalies = int(np.count_nonzero(flagged))
            self._rows += count
            self._flagged += anomalies
            first = self._skip
            if first >= count or self._room < 1:
                self._skip = max(0, first - count)
                return
            stride = max(self._stride, -(-count // self._room))
            taken = slice(first, None, stride)
            number = (count - first - 1) // stride + 1
            self._skip = first + number * stride - count
            self._room -= number
            sample = rows[taken] if self.layout.columns is None else rows[taken].take(self.layout.columns, axis=1)
            self._pending.append(
                (sample.tobytes() if self.layout.features else b"", _single(scores[taken]).tobytes())
            )

    def digest(self) -> Tally:
        """Count what was taken, and return everything so far."""
        with self._counting:
            now = self._clock()
            with self._taking:
                pending, self._pending = self._pending, []
                decisions = b"".join(self._decisions)
                rows, flagged = self._rows + len(decisions), self._flagged + decisions.count(1)
                self._decisions = []
                self._rows = self._flagged = 0
                self._since += rows
                if (passed := now - self._settled) >= _SETTLED_S:
                    self._stride = max(1, math.ceil(self._since / passed / self._per_s))
                    self._room, self._since, self._settled = self._per_s, 0, now
                    self._every = self._per_s if self._is_whole and self._stride == 1 else 0
            number = int(now / self._part_s)
            parts = {part: counts for part, counts in self._tally.parts.items() if part > number - PARTS}
            if rows:
                counts = np.zeros(self.layout.size)
                if pending:
                    values, scores = (
                        np.frombuffer(b"".join(each), np.float32) for each in zip(*pending, strict=True)
                    )
                    counts = self.layout.count(values.reshape(len(scores), -1), scores)
                counts[0], counts[1] = rows, flagged
                parts[number] = parts[number] + counts if number in parts else counts
                self._tally = Tally(self._tally.total + counts, parts)
            else:
                self._tally = Tally(self._tally.total, parts)
            return self._tally

    def restore(self, tally: Tally) -> None:
        """Add what another process counted before this one took its place."""
        if len(tally.total) == self.layout.size:
            with self._counting:
                self._tally = self._tally.plus(tally)


def _single(scores: NDArray[Any]) -> NDArray[np.float32]:
    return scores if scores.dtype is _SINGLE else scores.astype(np.float32)


def families(found: Iterable[tuple[LiveRows, Tally]]) -> Iterator[Metric]:
    """Yield the metrics of live rows."""
    who = ("bundle", "version")
    whose = (*who, "feature")
    rows = CounterMetricFamily("aetool_rows", "Rows scored.", labels=who)
    flagged = CounterMetricFamily("aetool_flagged_rows", "Rows scored as anomalies.", labels=who)
    sampled = CounterMetricFamily(
        "aetool_sampled_rows", "Rows of which scores and features are counted.", labels=who
    )
    score = HistogramMetricFamily("aetool_score", "Scores of sampled rows.", labels=who)
    missing = CounterMetricFamily("aetool_feature_missing_rows", "Sampled rows without a value.", labels=whose)
    outside = CounterMetricFamily(
        "aetool_feature_outside_rows", "Sampled rows out of the training rows' range or categories.", labels=whose
    )
    psi = GaugeMetricFamily(
        "aetool_feature_psi", "Population stability index of the window against the training rows.", labels=whose
    )
    window = GaugeMetricFamily("aetool_window_rows", "Rows scored in the window.", labels=who)
    share = GaugeMetricFamily("aetool_window_flagged_ratio", "Share of the window's rows flagged.", labels=who)
    promised = GaugeMetricFamily(
        "aetool_expected_flagged_ratio", "Share of normal rows that the threshold was to flag.", labels=who
    )
    drift = GaugeMetricFamily(
        "aetool_drift",
        "Drift in the window: number of features; 1 if too many rows are flagged; 1 if scores are higher.",
        labels=(*who, "kind"),
    )
    for live, tally in found:
        layout, total, labels = live.layout, tally.total, [live.name, live.version]
        recent = sum(tally.parts.values(), np.zeros(layout.size))
        judged = judge(layout, recent)
        rows.add_metric(labels, total[0])
        flagged.add_metric(labels, total[1])
        sampled.add_metric(labels, total[2])
        upper = [*(repr(float(edge)) for edge in layout.edges), "+Inf"]
        score.add_metric(
            labels, list(zip(upper, np.cumsum(layout.scores_of(total)).tolist(), strict=True)), total[3]
        )
        named = range(len(layout.features))
        if len(named) > MOST_NAMED:
            by_change = sorted(named, key=lambda place: -judged.psi[place]) if judged.psi else list(named)
            named = sorted(by_change[:MOST_NAMED])  # type: ignore[assignment]
        for place in named:
            each = [*labels, layout.names[place]]
            missing.add_metric(each, layout.missing(total)[place])
            outside.add_metric(each, layout.outside(total)[place])
            if judged.psi:
                psi.add_metric(each, judged.psi[place])
        window.add_metric(labels, recent[0])
        if recent[0]:
            share.add_metric(labels, recent[1] / recent[0])
        if layout.expected.promised is not None:
            promised.add_metric(labels, layout.expected.promised)
        for kind, number in (
            ("features", judged.features),
            ("flagged", judged.flagged),
            ("scores", judged.scores),
        ):
            drift.add_metric([*labels, kind], number)
    yield from (rows, flagged, sampled, score, missing, outside, psi, window, share, promised, drift)
