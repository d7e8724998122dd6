"""The choice of a threshold for a goal, and how sure one can be of what it does."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.checks.binomial import expected_counts, fewest_rows, interval, rows_for_half
from aetool.errors import InputError
from aetool.runtime.threshold import as_threshold

Scores = NDArray[np.float64]
ROUNDING = 1e-5
"""Relative change of a score that rounding explains: a threshold keeps away from the scores so far, if it can."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a threshold is chosen for: one of these."""

    false_alarms: float | None = None
    """Largest share of normal rows that are flagged."""
    recall: float | None = None
    """Smallest share of anomalies that are flagged."""
    costs: tuple[float, float] | None = None
    """Cost of a false alarm, and of a missed anomaly; their sum over the rows is smallest."""
    fdr: float | None = None
    """Largest share of flagged rows that are normal."""
    threshold: float | None = None
    """The threshold itself."""

    def __post_init__(self) -> None:
        """Require one goal, within its range."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if len(given) != 1:
            raise InputError(f"one goal expected, found {', '.join(given) or 'none'}; give one of them")
        if self.threshold is not None and not math.isfinite(as_threshold(self.threshold)):
            raise InputError("threshold: a bundle holds a finite one; give a number")
        for name in ("false_alarms", "recall", "fdr"):
            if name in given and not 0 < given[name] < 1:
                raise InputError(f"{name}: expected a share between 0 and 1, such as 1%, found {given[name]!r}")
        if self.costs is not None and not all(0 < cost < math.inf for cost in self.costs):
            raise InputError(f"costs: expected two numbers above 0, found {self.costs}")

    @property
    def needs_labels(self) -> bool:
        """True if labelled anomalies are needed."""
        return self.recall is not None or self.costs is not None or self.fdr is not None

    @property
    def text(self) -> str:
        """The goal in words, for the manifest and for people."""
        if self.false_alarms is not None:
            return f"at most {_percent(self.false_alarms)} of normal rows flagged"
        if self.recall is not None:
            return f"at least {_percent(self.recall)} of anomalies found"
        if self.fdr is not None:
            return f"at most {_percent(self.fdr)} of flagged rows normal"
        if self.costs is not None:
            return f"lowest cost, {self.costs[0]:g} a false alarm and {self.costs[1]:g} a miss"
        return "given"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share that was counted, with its exact 95 % interval (Clopper & Pearson 1934)."""

    share: float
    low: float
    high: float
    count: int
    rows: int


def share_of(count: int, rows: int) -> Proportion | None:
    """Return a share with its interval; None of no rows."""
    return None if rows == 0 else Proportion(count / rows, *interval(count, rows), count, rows)


FURTHER = 1000
"""Rows to come for which `ThresholdOutcome.expected` is told."""


@dataclass(frozen=True, slots=True)
class ThresholdOutcome:
    """What a threshold does on the rows that it was chosen with."""

    false_alarms: Proportion | None
    """Normal rows that are flagged."""
    recall: Proportion | None
    """Anomalies that are flagged; None without labels."""
    flagged_normal: Proportion | None
    """Flagged rows that are normal; None without labels."""
    needed_rows: int | None
    """Normal rows with which the interval would lie within half of the requested rate to 1.5 times."""
    expected: tuple[int, int] | None = None
    """Flagged among the next 1,000 normal rows, with a probability of 95 %."""


def outcome(threshold: float, normal: Scores, anomalous: Scores, goal: Goal) -> ThresholdOutcome:
    """Count what `threshold` flags; scores that are not finite count as infinite."""
    alarms, hits = (int(np.count_nonzero(~(scores <= threshold))) for scores in (normal, anomalous))
    labelled = len(anomalous) > 0
    return ThresholdOutcome(
        share_of(alarms, len(normal)),
        share_of(hits, len(anomalous)),
        share_of(alarms, alarms + hits) if labelled else None,
        None if goal.false_alarms is None else rows_for_half(goal.false_alarms),
        expected_counts(alarms, len(normal), FURTHER) if len(normal) else None,
    )


def choose(goal: Goal, normal: Scores, anomalous: Scores) -> float:
    """Return the threshold for a goal, a float32 number.

    Args:
        goal: what is wanted.
        normal: scores of normal rows, ascending, finite.
        anomalous: scores of anomalies, ascending; not finite ones are infinite, at the end.

    Raises:
        InputError: too few rows for the goal, no labels, or scores that are all alike.
    """
    if goal.threshold is not None:
        return as_threshold(goal.threshold)
    if goal.needs_labels and len(anomalous) == 0:
        what = "--fdr" if goal.fdr is not None else "--recall" if goal.recall is not None else "the costs"
        more = "; detect(rows, fdr=...) and score --fdr decide batch by batch without" if goal.fdr else ""
        raise InputError(
            f"{what}: labelled anomalies are needed, found none; name their column with --label{more}"
        )
    if len(normal) > 1 and normal[0] == normal[-1]:
        raise InputError(
            f"all {len(normal):,} normal rows have the same score, {normal[0]:.6g}: no threshold tells them "
            "apart; give rows that differ"
        )
    if goal.false_alarms is not None:
        return _for_false_alarms(goal.false_alarms, normal)
    if goal.recall is not None:
        return _for_recall(goal.recall, normal, anomalous)
    return _for_cost(goal, normal, anomalous)


def _for_false_alarms(rate: float, normal: Scores) -> float:
    """Return a threshold that a further normal row exceeds with a probability of at most `rate`.

    The order statistic of split conformal prediction (Vovk, Gammerman & Shafer 2005): as likely to have any rank
    among the n + 1, the row is above that of rank (1 - rate) (n + 1) no more often.
    """
    count = len(normal)
    if count < (needed := fewest_rows(rate)):
        raise InputError(
            f"{count:,} normal rows are too few for {_percent(rate)} false alarms: {needed:,} or more are needed, "
            f"{rows_for_half(rate):,} to be sure of the rate within half of it; give more rows, or a higher rate"
        )
    rank = min(count, math.ceil((1 - rate) * (count + 1) - 1e-9))
    return _between(normal[rank - 1], normal[rank] if rank < count else math.inf)


def _for_recall(recall: float, normal: Scores, anomalous: Scores) -> float:
    """Return a threshold below which a further anomaly lies with a probability of at most 1 - `recall`."""
    count, rank = len(anomalous), math.floor((1 - recall) * (len(anomalous) + 1) + 1e-9)
    if rank < 1:
        raise InputError(
            f"{count:,} anomalies are too few for a recall of {_percent(recall)}: {fewest_rows(1 - recall):,} or "
            "more are needed; label more, or ask for less"
        )
    lowest = anomalous[rank - 1]
    if not math.isfinite(lowest):
        return _between(float(normal[-1]), math.inf)
    below = [scores[scores < lowest] for scores in (normal, anomalous)]
    return _between(max((float(part[-1]) for part in below if len(part)), default=0.0), float(lowest), high=True)


def _for_cost(goal: Goal, normal: Scores, anomalous: Scores) -> float:
    """Return the threshold of the lowest cost, or the lowest one whose flagged rows are normal rarely enough."""
    finite = np.unique(np.concatenate([normal, anomalous[np.isfinite(anomalous)]]))
    if not len(finite):
        raise InputError("no row has a finite score, which a threshold is chosen among; give other rows")
    lowest = _between(0.0, float(finite[0]), high=True) if finite[0] > 0 else -1.0
    finite = np.concatenate([[lowest], finite])  # the first flags every row
    alarms = len(normal) - np.searchsorted(normal, finite, side="right")
    hits = len(anomalous) - np.searchsorted(anomalous, finite, side="right")
    if goal.costs is not None:
        best = int(np.argmin(goal.costs[0] * alarms + goal.costs[1] * (len(anomalous) - hits)))
    else:
        fitting = np.flatnonzero((hits > 0) & (alarms <= (goal.fdr or 0.0) * (alarms + hits)))
        if not len(fitting):
            raise InputError(
                f"no threshold has at most {_percent(goal.fdr or 0.0)} of its flagged rows normal on these rows; "
                "allow more"
            )
        best = int(fitting[0])
    return _between(float(finite[best]), float(finite[best + 1]) if best + 1 < len(finite) else math.inf)


def _between(low: float, above: float, *, high: bool = False) -> float:
    """Return a float32 threshold from `low` on and below `above`, near the first, or the second if `high`."""
    middle = (low + above) / 2 if math.isfinite(above) else math.inf
    wanted = max(middle, above * (1 - ROUNDING)) if high else min(middle, low * (1 + ROUNDING))
    number = np.float32(wanted)
    if number < low:
        number = np.nextafter(number, np.float32(math.inf))
    if number >= above:
        number = np.float32(low)
    return float(number)


def sorted_scores(scores: Sequence[Any] | NDArray[Any]) -> Scores:
    """Return ascending float64 scores; what is not finite is infinite."""
    values = np.asarray(scores, np.float64)
    return np.sort(np.where(np.isfinite(values), values, np.inf))
