"""How well scores of time steps find anomalies that last: range-based areas, and the volumes under them.

Definitions: Paparrizos, Boniol, Palpanas, Tsay, Elmore and Franklin, Volume Under the Surface: A New Accuracy
Evaluation Measure for Time-Series Anomaly Detection, PVLDB 15(11), 2022. A step within half a buffer of an anomaly
counts in part, sqrt(1 - distance / buffer), the more the nearer; recall is multiplied by the share of anomalies of
which a step was found at all. A volume is the mean of the areas over buffers from 0 to the longest.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_THRESHOLDS = 250
_BUFFERS = 16


def ranges(labels: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First step and the one after the last, of each anomaly."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def softened(labels: NDArray[np.bool_], buffer: int) -> Floats:
    """How much each step belongs to an anomaly, 0 to 1."""
    soft = labels.astype(np.float64)
    half = buffer // 2
    for start, stop in ranges(labels):
        for distance in range(1, half + 1):
            share = np.sqrt(1 - distance / buffer)
            for place in (start - distance, stop - 1 + distance):
                if 0 <= place < len(soft):
                    soft[place] = max(soft[place], share)
    return soft


def areas(
    labels: NDArray[np.bool_], score: Floats, buffer: int, thresholds: int = _THRESHOLDS
) -> tuple[float, float]:
    """Range-based area under the ROC curve, and under that of precision and recall."""
    soft = softened(labels, buffer)
    positives = (labels.sum() + soft.sum()) / 2
    negatives = len(labels) - positives
    places = [slice(start, stop) for start, stop in ranges(soft > 0)]
    # From the highest score on, as many thresholds as there are scores, or as fit.
    ordered = np.sort(score)[::-1]
    chosen = ordered[np.unique(np.linspace(0, len(ordered) - 1, thresholds).round().astype(int))]
    highest = np.array([score[place].max() for place in places])
    order = np.argsort(-score, kind="stable")
    hit, count = np.cumsum(soft[order]), np.arange(1, len(score) + 1)
    last = np.searchsorted(-score[order], -np.unique(chosen)[::-1], side="right") - 1
    levels = np.unique(chosen)[::-1]
    exists = (highest[None] >= levels[:, None]).mean(axis=1)
    recall = np.concatenate([[0.0], np.minimum(hit[last] / positives, 1) * exists])
    false = np.concatenate([[0.0], (count[last] - hit[last]) / negatives])
    precision = hit[last] / count[last]
    roc = np.trapezoid(np.append(recall, 1.0), np.append(false, 1.0))
    return float(roc), float((np.diff(recall) * precision).sum())


def volumes(labels: NDArray[np.bool_], score: Floats, longest: int) -> tuple[float, float]:
    """VUS-ROC and VUS-PR: means of the areas over buffers from 0 to `longest`, evenly."""
    buffers = np.unique(np.linspace(0, longest, _BUFFERS).round().astype(int))
    found = [areas(labels, score, int(buffer)) for buffer in buffers]
    roc, precision = np.mean(found, axis=0)
    return float(roc), float(precision)
