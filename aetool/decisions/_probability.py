"""The probability that a row is an anomaly, from labelled scores."""

import numpy as np
from numpy.typing import NDArray

from aetool.decisions._graph import LEAST, Logistic
from aetool.errors import InputError

FEWEST_LABELLED = 10
_STEPS = 100
_MOST = float(np.finfo(np.float32).max)
BINS = 10


def fit_logistic(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> Logistic:
    """Fit Platt's logistic curve to the logarithm of the scores.

    With his smoothed targets (Platt 1999), by Newton's method with a step that is halved until it helps (Lin, Lin
    & Weng 2007). The slope is never below 0: a higher score never means a lower probability.

    Raises:
        InputError: too few rows of a kind.
    """
    counts = len(normal), len(anomalous)
    if min(counts) < FEWEST_LABELLED:
        raise InputError(
            f"--probability: {FEWEST_LABELLED} normal rows and {FEWEST_LABELLED} anomalies are needed, found "
            f"{counts[0]:,} and {counts[1]:,}; label more rows"
        )
    score = np.concatenate([normal, anomalous])
    x = np.log(np.clip(np.nan_to_num(score, posinf=_MOST), LEAST, _MOST))
    target = np.concatenate(
        [np.full(counts[0], 1 / (counts[0] + 2)), np.full(counts[1], (counts[1] + 1) / (counts[1] + 2))]
    )
    middle, spread = float(np.median(x)), float(np.std(x)) or 1.0
    design = np.stack([(x - middle) / spread, np.ones(len(x))], axis=1)
    weights = np.array([0.0, np.log(counts[1] / counts[0])])
    loss = _loss(design @ weights, target)
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-(design @ weights)))
        gradient = design.T @ (probability - target)
        hessian = design.T @ (design * (probability * (1 - probability))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and (new := _loss(design @ (weights - size * step), target)) > loss:
            size /= 2
        if size <= 1e-6 or loss - new < 1e-10 * abs(loss):
            break
        weights, loss = weights - size * step, new
    if weights[0] < 0:
        weights = np.array([0.0, np.log(counts[1] / counts[0])])
    slope = float(weights[0]) / spread
    return Logistic(slope, float(weights[1]) - slope * middle)


def probability(logistic: Logistic, score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of each score, as the graph computes it."""
    known = np.clip(np.nan_to_num(score, nan=_MOST, posinf=_MOST), LEAST, _MOST)
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-(logistic.slope * np.log(known) + logistic.offset))))


def reliability(
    logistic: Logistic, normal: NDArray[np.float64], anomalous: NDArray[np.float64]
) -> tuple[dict[str, float], ...]:
    """Return for each tenth of the probabilities that occurs: rows, mean probability, share of anomalies."""
    stated = probability(logistic, np.concatenate([normal, anomalous]))
    actual = np.concatenate([np.zeros(len(normal)), np.ones(len(anomalous))])
    place = np.minimum((stated * BINS).astype(int), BINS - 1)
    return tuple(
        {
            "rows": int(np.count_nonzero(place == i)),
            "stated": float(stated[place == i].mean()),
            "actual": float(actual[place == i].mean()),
        }
        for i in range(BINS)
        if np.any(place == i)
    )


def _loss(logit: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0, logit) - target * logit))
