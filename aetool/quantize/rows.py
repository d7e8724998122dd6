"""The rows of a table put to their uses: some to calibrate with, others to judge the result on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.quantize.calibration import Floats

ENOUGH = 400
"""Normal rows from which on no row has both uses."""
MOST_JUDGED = 20_000
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Split:
    calibration: Floats
    """Normal rows, (rows, ...)."""
    judged: Floats
    """(rows, ...)"""
    labels: Labels | None
    """Of the rows judged, True for anomalies."""
    disjoint: bool
    """Whether no row is in both."""

    @property
    def normal(self) -> Labels:
        """Of the rows judged."""
        return np.ones(len(self.judged), bool) if self.labels is None else ~self.labels


def split_rows(rows: Floats, labels: Labels | None, seed: int) -> Split:
    """Half of the normal rows for each use, drawn from `seed`; where they are few, all of them for both.

    Raises:
        InputError: no normal rows, or labels that are not one for each row.
    """
    if labels is not None and np.shape(labels) != (len(rows),):
        raise InputError(f"labels: one for each of {len(rows)} rows expected, found shape {np.shape(labels)}")
    normal = np.arange(len(rows)) if labels is None else np.flatnonzero(~labels)
    if len(normal) == 0:
        raise InputError("no normal rows, which calibration and threshold need; give a table that has some")
    random = np.random.default_rng(seed)
    shuffled, disjoint = random.permutation(normal), len(normal) >= ENOUGH
    half = len(normal) // 2 if disjoint else len(normal)
    kept = shuffled[half:] if disjoint else shuffled
    anomalies = np.setdiff1d(np.arange(len(rows)), normal)
    judged = random.permutation(np.concatenate([kept, anomalies]))[:MOST_JUDGED]
    if len(anomalies) and labels is not None and not (labels[judged].any() and not labels[judged].all()):
        judged = np.concatenate([kept[: MOST_JUDGED // 2], anomalies[: MOST_JUDGED // 2]])
    judged = np.sort(judged)
    return Split(
        calibration=np.ascontiguousarray(rows[np.sort(shuffled[:half])]),
        judged=np.ascontiguousarray(rows[judged]),
        labels=None if labels is None or not len(anomalies) else labels[judged],
        disjoint=disjoint,
    )
