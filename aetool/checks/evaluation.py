"""Quality of scores and reconstructions, from any model that scores."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError


class Scorer(Protocol):
    """Anything that scores and reconstructs: a bundle's session, or a trained autoencoder in PyTorch."""

    def score(self, rows: NDArray[Any], /) -> NDArray[Any]:
        """Return the scores: (rows, n_features) -> (rows,)."""
        ...

    def reconstruct(self, rows: NDArray[Any], /) -> NDArray[Any]:
        """Return the reconstruction: (rows, n_features) -> (rows, n_features), raw units."""
        ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality of scores and reconstructions; None where there are no labels or no threshold."""

    rows: int
    median_score: float
    """Median score of the rows (the normal ones, where there are labels)."""
    reconstruction_rmse: float
    """Root mean squared difference of features and reconstruction in the units of the rows, all columns together,
    same rows; missing cells and categories left out."""
    category_accuracy: float | None = None
    """Share of categories that the reconstruction names, same rows, missing cells left out."""
    anomalies: int | None = None
    """Number of rows labelled as anomalies."""
    auroc: float | None = None
    """Probability that an anomaly scores above a normal row."""
    average_precision: float | None = None
    threshold: float | None = None
    flagged: int | None = None
    """Number of rows whose score is not at or below the threshold."""
    precision: float | None = None
    """Share of flagged rows that are anomalies."""
    recall: float | None = None
    """Share of anomalies that are flagged."""
    false_positive_rate: float | None = None
    """Share of normal rows that are flagged."""


def evaluate(
    scorer: Scorer,
    rows: NDArray[Any],
    labels: NDArray[np.bool_] | None = None,
    threshold: float | None = None,
    numbers: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Score (rows, n_features) and compare with `labels`, (rows,) True for anomalies, where given.

    `numbers`, (n_features,), is False for columns that hold indexes of categories.

    Raises:
        InputError: no rows, or labels that are not one bool a row or of one kind only.
    """
    if len(rows) == 0:
        raise InputError("evaluate: expected one row or more, found none; give a table with rows")
    if labels is not None and (np.shape(labels) != (len(rows),) or np.asarray(labels).dtype != bool):
        raise InputError(
            f"labels: true or false for each of {len(rows)} rows expected, found {np.asarray(labels).dtype} of "
            f"shape {np.shape(labels)}; compare them with the value that means an anomaly"
        )
    score = np.asarray(scorer.score(rows), dtype=np.float64)
    reconstruction = np.asarray(scorer.reconstruct(rows), dtype=np.float64)
    normal = np.ones(len(rows), dtype=bool) if labels is None else ~labels
    figures: dict[str, Any] = {}
    flagged = None if threshold is None else ~(score <= threshold)
    if flagged is not None:
        figures |= {"threshold": threshold, "flagged": int(flagged.sum())}
    if labels is not None:
        figures |= {"anomalies": int(labels.sum()), **ranking(score, labels)}
        if flagged is not None:
            hits = int((flagged & labels).sum())
            figures |= {
                "precision": hits / int(flagged.sum()) if flagged.any() else None,
                "recall": hits / int(labels.sum()),
                "false_positive_rate": float(flagged[~labels].mean()),
            }
    known = ~np.isnan(rows[normal])
    difference = (reconstruction - rows)[normal]
    if numbers is not None and not numbers.all():
        categories = known & ~numbers
        figures["category_accuracy"] = float((difference[categories] == 0).mean()) if categories.any() else None
        known = known & numbers
    difference = difference[known]
    return Evaluation(
        rows=len(rows),
        median_score=float(np.median(finite_last(score[normal]))),
        reconstruction_rmse=float(np.sqrt(np.mean(difference**2))) if difference.size else float("nan"),
        **figures,
    )


def ranking(score: NDArray[Any], labels: NDArray[np.bool_]) -> dict[str, float]:
    """Return AUROC and average precision; a score that is NaN or infinite ranks above every other.

    Raises:
        InputError: the labels hold one class only.
    """
    if labels.all() or not labels.any():
        kind = "anomalies" if labels.all() else "normal rows"
        raise InputError(f"evaluate: labels of both kinds are needed, found only {kind}; check --label")
    hits, flagged = operating_points(score, labels)
    gain = np.diff(hits, prepend=0.0) / hits[-1]
    return {
        "auroc": Auroc(score, labels).of(np.ones(len(score))),
        "average_precision": float(gain @ (hits / flagged)),
    }


class Auroc:
    """Area under the ROC curve of the same scores under many weights: they are sorted once."""

    def __init__(self, score: NDArray[Any], labels: NDArray[np.bool_]) -> None:
        """Sort the scores, (rows,)."""
        values = finite_last(score)
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        self._ties = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._anomaly = labels[self._order]

    def of(self, weights: NDArray[np.float64]) -> float:
        """Return the area; ties count half, as in the Mann-Whitney statistic."""
        sorted_weights = weights[self._order]
        anomaly = np.add.reduceat(np.where(self._anomaly, sorted_weights, 0.0), self._ties)
        normal = np.add.reduceat(np.where(self._anomaly, 0.0, sorted_weights), self._ties)
        below = np.cumsum(normal) - normal / 2
        return float(anomaly @ below / (anomaly.sum() * normal.sum()))


def operating_points(
    score: NDArray[Any], labels: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count anomalies among the flagged rows, and flagged rows, at each distinct score, the highest first."""
    values = finite_last(score)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(values) - 1)
    return np.cumsum(labels[order])[last].astype(np.float64), (last + 1).astype(np.float64)


def finite_last(score: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64 scores; those that are not finite become infinity, the most abnormal."""
    return np.where(np.isfinite(score), score, np.inf).astype(np.float64)
