"""The scores of some rows: their histogram, and what every threshold would do."""

import numpy as np
from numpy.typing import NDArray

from aetool.portrait.records import Curves, Histogram, Sweep

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
STOPS, BINS = 401, 80
MOST_POINTS = 300
"""Of a curve."""
_LEAST_SHARE = 1e-3
"""Of the median: lower scores are at the lower end of the axis."""
_BEYOND = 100.0
"""How far an axis goes to show a threshold that lies beyond all scores; a farther one is at its end."""


def axis(score: Floats, threshold: float) -> tuple[float, float]:
    """Ends of a logarithmic axis for scores of 0 or more and their threshold."""
    finite = score[np.isfinite(score) & (score > 0)]
    if not finite.size:
        finite = np.array([threshold if threshold > 0 else 1.0])
    low = max(float(finite.min()), _LEAST_SHARE * float(np.median(finite)))
    high = float(finite.max())
    if threshold > 0:
        low, high = min(low, max(threshold, low / _BEYOND)), max(high, min(threshold, high * _BEYOND))
    return low / 1.2, high * 1.2


def sweep(score: Floats, threshold: float, labels: Labels | None) -> Sweep:
    """`score` (rows,); a score that is no number is above every threshold."""
    thresholds = np.geomspace(*axis(score, threshold), STOPS)
    own = int(np.argmin(np.abs(np.log(thresholds / threshold)))) if threshold > 0 else 0
    thresholds[own] = threshold
    hits = None if labels is None else tuple(_above(score[labels], thresholds).tolist())
    return Sweep(tuple(thresholds.tolist()), own, tuple(_above(score, thresholds).tolist()), hits)


def histogram(score: Floats, threshold: float, labels: Labels | None) -> Histogram:
    """`score` (rows,); those that are no numbers are left out."""
    edges = np.geomspace(*axis(score, threshold), BINS + 1)
    if labels is None:
        return Histogram(tuple(edges.tolist()), _counts(score, edges), None)
    return Histogram(tuple(edges.tolist()), _counts(score[~labels], edges), _counts(score[labels], edges))


def curves(score: Floats, labels: Labels) -> Curves | None:
    """ROC and precision-recall, equal scores as one step; None where labels are of one kind only.

    The area below the ROC is the trapezoids', average precision the sum of precision times gain of recall.
    """
    if labels.all() or not labels.any():
        return None
    known = np.where(np.isfinite(score), score, np.inf)
    order = np.argsort(-known, kind="stable")
    ordered = known[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(score) - 1)
    hits = np.cumsum(labels[order])[last].astype(np.float64)
    flagged = (last + 1).astype(np.float64)
    recall, precision = hits / labels.sum(), hits / flagged
    false_positives = (flagged - hits) / (~labels).sum()
    roc = np.vstack([[0.0, 0.0], np.column_stack([false_positives, recall])])
    return Curves(
        _thinned(roc),
        _thinned(np.vstack([[0.0, precision[0]], np.column_stack([recall, precision])])),
        float(np.sum(np.diff(roc[:, 0]) * (roc[1:, 1] + roc[:-1, 1]) / 2)),
        float(np.sum(np.diff(recall, prepend=0.0) * precision)),
    )


def _above(score: Floats, thresholds: Floats) -> NDArray[np.int64]:
    ordered = np.sort(np.where(np.isfinite(score), score, np.inf))
    return np.asarray(len(ordered) - np.searchsorted(ordered, thresholds, side="right"), np.int64)


def _counts(score: Floats, edges: Floats) -> tuple[int, ...]:
    inside = np.clip(score[np.isfinite(score)], edges[0], edges[-1])
    return tuple(np.histogram(inside, edges)[0].tolist())


def _thinned(points: Floats) -> tuple[tuple[float, float], ...]:
    """As many as a picture can show, even along the curve; the ends stay."""
    if len(points) > MOST_POINTS:
        way = np.append(0.0, np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1)))
        places = np.searchsorted(way, np.linspace(0.0, way[-1], MOST_POINTS))
        points = points[np.unique(np.append(places.clip(max=len(points) - 1), len(points) - 1))]
    return tuple((float(x), float(y)) for x, y in points)
