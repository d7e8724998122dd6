"""Differences between a variant of a model and the model, on the same rows, and the budget for them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.checks.evaluation import Auroc, finite_last, ranking
from aetool.checks.parity import rank_correlation
from aetool.errors import InputError

NEIGHBOURS = 10
MOST_NEIGHBOUR_ROWS = 1000
"""Largest number of rows among which neighbours are searched: all pairs are computed."""
RESAMPLES = 1000
NEVER = 1e38
"""A threshold as high flags no score: none was chosen."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Outputs of one precision of a model for some rows."""

    embedding: NDArray[np.float32] | None
    """(rows, embedding_dim); None where the model has none."""
    reconstruction: NDArray[np.float32]
    """(rows, ...), raw units."""
    score: NDArray[np.float32]
    """(rows,)"""
    is_anomaly: NDArray[np.bool_]
    """(rows,), by this precision's own threshold."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Differences between a variant and its model."""

    rows: int
    rank_correlation: float
    """Spearman's rank correlation of the scores."""
    flips: float
    """Share of rows whose decision differs."""
    flipped: int
    """Number of rows whose decision differs."""
    false_positive_rate: tuple[float, float]
    """Share of the normal rows (of all rows without labels) that are flagged: the model's, the variant's."""
    score_ratio: float
    """Median score of the normal rows, the variant's over the model's."""
    embedding_cosine: float | None
    """Mean cosine of the two embeddings of a row, both centred on the model's mean embedding."""
    neighbour_overlap: float | None
    """Mean share of a row's NEIGHBOURS nearest embeddings that stay so."""
    auroc: tuple[float, float] | None = None
    """The model's, the variant's; None without labels."""
    auroc_drop: float | None = None
    """Difference of the two; below 0 where the variant's is higher."""
    auroc_drop_interval: tuple[float, float] | None = None
    """Its 95 % interval, from RESAMPLES paired bootstrap samples, drawn within each class (percentile method;
    Efron & Tibshirani 1993, chapter 13)."""


def fidelity(model: Answers, variant: Answers, labels: NDArray[np.bool_] | None = None, seed: int = 0) -> Fidelity:
    """Compare two precisions' outputs for the same rows.

    Args:
        model: outputs of the model.
        variant: outputs of the variant.
        seed: for the rows and samples that are drawn.
        labels: (rows,) True for anomalies.

    Raises:
        InputError: the labels hold one class only.
    """
    rows = len(model.score)
    normal = np.ones(rows, dtype=bool) if labels is None else ~labels
    flipped = int(np.count_nonzero(model.is_anomaly != variant.is_anomaly))
    medians = [float(np.median(finite_last(answers.score[normal]))) for answers in (model, variant)]
    cosine, overlap = None, None
    if model.embedding is not None and variant.embedding is not None:
        first, second = (answer.reshape(rows, -1) for answer in (model.embedding, variant.embedding))
        cosine, overlap = _mean_cosine(first, second), neighbour_overlap(first, second, seed=seed)
    ranked: dict[str, Any] = {}
    if labels is not None:
        auroc = [ranking(answers.score, labels)["auroc"] for answers in (model, variant)]
        ranked = {
            "auroc": tuple(auroc),
            "auroc_drop": auroc[0] - auroc[1],
            "auroc_drop_interval": auroc_drop_interval(model.score, variant.score, labels, seed=seed),
        }
    return Fidelity(
        rows=rows,
        rank_correlation=rank_correlation(model.score, variant.score),
        flips=flipped / rows,
        flipped=flipped,
        false_positive_rate=(float(model.is_anomaly[normal].mean()), float(variant.is_anomaly[normal].mean())),
        score_ratio=medians[1] / medians[0] if medians[0] > 0 else float(medians[1] == medians[0]) or float("inf"),
        embedding_cosine=cosine,
        neighbour_overlap=overlap,
        **ranked,
    )


def matched(before: NDArray[np.float64], after: NDArray[np.float64], threshold: float) -> float:
    """Return the threshold that flags as many rows by the scores `after` as `threshold` flags by those `before`.

    Between the same two scores in rank, and as far from them as it was; where no row is flagged, or every one, it
    moves as the highest score does, or the lowest. A float32 number.

    Args:
        before: finite scores of normal rows, ascending.
        after: the other scores of the same rows, ascending.
        threshold: the threshold before.
    """
    if len(before) == 0 or threshold >= NEVER:
        return threshold
    normal = int(np.count_nonzero(before <= threshold))
    if 0 < normal < len(before):
        (low, high), (to_low, to_high) = (scores[normal - 1 : normal + 1] for scores in (before, after))
        share = (threshold - low) / (high - low) if high > low else 0.5
        return float(np.float32(to_low + share * (to_high - to_low)))
    end = -1 if normal else 0
    return float(np.float32(threshold * (after[end] / before[end] if before[end] > 0 else 1.0)))


def same_share(before: NDArray[np.float64], after: NDArray[np.float64], threshold: float) -> float:
    """Return the threshold that flags the share of the scores `after` that `threshold` flags of those `before`.

    As `matched`, but the scores are of other things, as those of windows and of their rows are.
    """
    if len(before) == 0 or len(after) == 0:
        return threshold
    return matched(before, np.quantile(after, np.linspace(0, 1, len(before))), threshold)


def neighbour_overlap(first: NDArray[Any], second: NDArray[Any], *, seed: int = 0) -> float:
    """Return the mean share of each row's NEIGHBOURS nearest rows in `first` that are nearest in `second` too.

    Both (rows, dim); of more than MOST_NEIGHBOUR_ROWS rows, as many are drawn.
    """
    rows = len(first)
    if rows > MOST_NEIGHBOUR_ROWS:
        chosen = np.random.default_rng(seed).choice(rows, MOST_NEIGHBOUR_ROWS, replace=False)
        first, second = first[chosen], second[chosen]
    count = min(NEIGHBOURS, len(first) - 1)
    if count < 1:
        return 1.0
    nearest = [_nearest(embedding, count) for embedding in (first, second)]
    shared = [len(np.intersect1d(a, b, assume_unique=True)) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / count


def auroc_drop_interval(
    model: NDArray[Any], variant: NDArray[Any], labels: NDArray[np.bool_], *, seed: int = 0
) -> tuple[float, float]:
    """Return where 95 % of AUROC(model) - AUROC(variant) lie when the rows are drawn anew; both (rows,) scores."""
    random = np.random.default_rng(seed)
    anomalies, normal = np.flatnonzero(labels), np.flatnonzero(~labels)
    first, second = Auroc(model, labels), Auroc(variant, labels)
    drops = np.empty(RESAMPLES)
    weights = np.empty(len(labels))
    for sample in range(RESAMPLES):
        for kind in (anomalies, normal):
            weights[kind] = np.bincount(random.integers(0, len(kind), len(kind)), minlength=len(kind))
        drops[sample] = first.of(weights) - second.of(weights)
    low, high = np.quantile(drops, [0.025, 0.975])
    return float(low), float(high)


def _mean_cosine(first: NDArray[Any], second: NDArray[Any]) -> float:
    centre = first.mean(axis=0, dtype=np.float64)
    a, b = first - centre, second - centre
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    product = (a * b).sum(axis=1)
    return float(np.mean(np.where(length > 0, product / np.where(length > 0, length, 1.0), 1.0)))


def _nearest(embedding: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Return the nearest other rows of each, (rows, count)."""
    values = embedding.astype(np.float64)
    squares = (values**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2 * values @ values.T
    np.fill_diagonal(distance, np.inf)
    return np.argpartition(distance, count - 1, axis=1)[:, :count]


# What a faster or smaller variant of a model may cost: stated by the user, held by the tool.


@dataclass(frozen=True, slots=True)
class Budget:
    """Largest differences allowed; None for no limit."""

    max_auroc_drop: float | None = 0.002
    """Largest loss of AUROC; needs labels."""
    max_flips: float | None = 0.005
    """Share of rows whose decision may differ."""
    min_speedup: float | None = None
    """Smallest ratio of rows per second to the model as it is; 1 is no slower."""

    def __post_init__(self) -> None:
        """Refuse limits that are out of range."""
        for name, largest in (("max_auroc_drop", 1.0), ("max_flips", 1.0), ("min_speedup", math.inf)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 <= value <= largest):
                limit = "0 to 1" if largest == 1 else "0 or more"
                raise InputError(
                    f"{name}: expected {limit}, found {value!r}; give another --{name.replace('_', '-')}"
                )

    def exceeded(self, found: Fidelity, speedup: float | None = None) -> list[str]:
        """Return in words what is outside the budget: "flips 0.80 % above 0.50 %"; empty where all is within."""
        reasons = []
        if (
            self.max_auroc_drop is not None
            and found.auroc_drop is not None
            and not found.auroc_drop <= self.max_auroc_drop
        ):
            reasons.append(f"AUROC drop {found.auroc_drop:.4f} above {self.max_auroc_drop:g}")
        if self.max_flips is not None and not found.flips <= self.max_flips:
            reasons.append(f"flips {found.flips:.2%} above {self.max_flips:.2%}")
        if self.min_speedup is not None and speedup is not None and not speedup >= self.min_speedup:
            reasons.append(f"speedup {speedup:.2f} below {self.min_speedup:g}")
        return reasons
