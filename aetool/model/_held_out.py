"""What is learnt from the rows held out: the weight of prototypes, golden rows, and scores for a threshold.

A hundred or two rows say little about the highest hundredth of the scores: one odd row among them would decide.
Where no more are held out, the rows that were trained on are scored as if they had been, too. By the
reconstruction alone they are not: its errors on rows that the network has seen are lower, the highest most.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from aetool.bundle.golden import evenly
from aetool.model.checkpoint import HeldOut
from aetool.model.pipeline import Pipeline, evaluate_rows
from aetool.model.prototypes import Nearest, Prototypes, learn_prototypes

Rows = NDArray[np.float64]

_GOLDEN_NORMAL = 192
_GOLDEN_ANOMALIES = 64
_COMPARABLE = 1e30
"""Scores below can still be compared in float32 when the row is 100 times as far out."""
_ENOUGH = 1000
"""Held-out rows that need no others beside them: ten of them lie above a threshold for 1 %."""
_PARTS = 5
_WEIGHED = 4096
_MOST = 8
"""Times that prototypes count more than the reconstruction, or less: more would make much of what is rounded."""
_TYPICAL = 0.75
"""Quantile in which scores of rows that the network was trained on are compared with those of others."""


def balanced(pipeline: Pipeline, prototypes: NDArray[np.float32], rows: Rows) -> Prototypes:
    """Return prototypes with the weight that makes distances to them as large as errors of the reconstruction.

    A table may be reconstructed almost without error and have no row near to another, or the other way about: the
    larger of two sums would drown the other.

    Args:
        pipeline: what was trained, without prototypes.
        prototypes: (prototypes, n_encoded).
        rows: the normal rows held out, (rows, n_features), raw units.
    """
    rows = rows[evenly(len(rows), _WEIGHED)]
    reference = copy.deepcopy(pipeline).double().eval()
    errors = _scores(reference, rows)
    reference.nearest = Nearest(torch.from_numpy(prototypes).double(), 1.0, leaves_out=reference.leaves_out)
    distances = _scores(reference, rows) - errors
    known = np.isfinite(distances)
    error, distance = (float(np.median(part[known])) if known.any() else 0.0 for part in (errors, distances))
    # Of rows that are all alike neither says anything.
    weight = error / distance if error > 0 and distance > 0 else 1.0
    return Prototypes(prototypes, float(np.clip(weight, 1 / _MOST, _MOST)))


def held_out(
    pipeline: Pipeline, rows: Rows, anomalies: Rows, trained: Rows, learnt_from: NDArray[np.float32], seed: int
) -> HeldOut:
    """Return golden rows and scores.

    Args:
        pipeline: what was trained.
        rows: the normal rows held out, (rows, n_features), raw units.
        anomalies: known anomalies, likewise.
        trained: the rows trained on, likewise.
        learnt_from: the same as prototypes are learnt from them, (rows, n_encoded).
        seed: draws the parts of the rows trained on.
    """
    reference = copy.deepcopy(pipeline).double().eval()
    scores = _scores(reference, rows)
    rows, scores = rows[~np.isnan(scores)], scores[~np.isnan(scores)]  # rows without any value have none
    order = np.argsort(scores)
    # Golden rows: the spread of held-out rows from the most normal to the oddest, and known anomalies.
    sample = rows[order][evenly(len(rows), _GOLDEN_NORMAL)]
    if len(anomalies):
        # A row that scores beyond float32 has nothing to compare but its verdict.
        anomalies = anomalies[_scores(reference, anomalies) < _COMPARABLE]
        sample = np.concatenate([sample, anomalies[evenly(len(anomalies), _GOLDEN_ANOMALIES)]])
    others = None
    if pipeline.nearest is not None and len(scores) < _ENOUGH:
        others = as_if_held_out(_cross_fitted(reference, trained, learnt_from, seed), scores)
    return HeldOut(sample.astype(np.float32), scores[order], others)


def as_if_held_out(seen: Rows, unseen: Rows) -> Rows:
    """Return scores of rows that the network was trained on as if it had not been, ascending.

    It reconstructs such rows better, and never worse: so much are they raised as the upper quartile of the others
    lies above theirs. Their share above any threshold is then that of the others, and there are more of them.
    """
    known = np.sort(seen[~np.isnan(seen)])
    if not len(known) or not len(unseen):
        return np.empty(0)
    typical, expected = np.quantile(known, _TYPICAL), np.quantile(unseen, _TYPICAL)
    return known * max(1.0, float(expected / typical)) if typical > 0 else np.empty(0)


def _cross_fitted(reference: Pipeline, rows: Rows, learnt_from: NDArray[np.float32], seed: int) -> Rows:
    """Return scores of rows trained on, (rows,), each by prototypes that were learnt without it."""
    assert reference.nearest is not None
    pipeline, scores, weight = copy.deepcopy(reference), np.empty(len(rows)), reference.nearest.importance
    part = np.random.default_rng(seed).permutation(len(rows)) % _PARTS
    for one in range(_PARTS):
        prototypes = torch.from_numpy(learn_prototypes(learnt_from[part != one], seed)).double()
        pipeline.nearest = Nearest(prototypes, weight, leaves_out=reference.leaves_out)
        scores[part == one] = _scores(pipeline, rows[part == one])
    return scores


def _scores(reference: Pipeline, rows: Rows) -> Rows:
    return evaluate_rows(reference, rows, torch.float64)["score"]
