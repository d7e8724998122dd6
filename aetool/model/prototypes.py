"""Prototypes: typical rows, learnt from the training rows; the distance to the nearest counts in the score.

A network may reconstruct a row that lies between the normal ones as well as those: the distance to what it was
trained on tells them apart. Prototypes are the centres of k-means (S. P. Lloyd, Least Squares Quantization in PCM,
1982) in the network's own input, the standardised and encoded features.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

Floats = NDArray[np.float32]

_MOST, _MOST_OF_WINDOWS = 192, 512
"""Prototypes of a model, at most: more cost time and find little more."""
_A_COLUMN, _NARROW = 20, 64
"""So many for each column, and of few columns so many: a small network stays one."""
_NUMBERS, _WIDE = 7168, 32
"""Of many columns as many as together have so many numbers, and so many at least."""
_OF_WINDOWS, _PHASES = 32_768, 128
"""Numbers of prototypes of windows, which need one for each phase: none where that makes less than so many."""
WIDEST_WINDOW = _OF_WINDOWS // _PHASES
"""Numbers of the widest windows that have prototypes."""
_ROWS_EACH = 64
"""Training rows for each prototype; of more, so many are drawn."""
_PASSES = 12
_APART = 1e-3
"""Standard deviations that a prototype is moved by at random, so that no row of whole numbers lies exactly between
two: rounding would choose."""


class Prototypes(NamedTuple):
    """Prototypes, and how much the distance to the nearest counts beside that to the reconstruction."""

    rows: Floats
    """(prototypes, n_encoded)"""
    weight: float
    """Of the squared distance."""


def most_of_windows(numbers: int) -> int:
    """Return the largest number of prototypes of windows of so many numbers; 0 where they would find nothing."""
    return min(_MOST_OF_WINDOWS, _OF_WINDOWS // numbers) if numbers <= WIDEST_WINDOW else 0


def learn_prototypes(rows: Floats, seed: int, most: int | None = None) -> Floats:
    """Return prototypes of standardised rows, (prototypes, n_encoded), at most so many; NaN marks what is missing.

    A prototype stands for two rows or more: an odd row among the training rows does not make its like normal.
    """
    random, columns = np.random.default_rng(seed), rows.shape[1]
    most = most or min(_MOST, max(_NARROW, _A_COLUMN * columns), max(_WIDE, _NUMBERS // columns))
    count = min(most, max(1, len(rows) // 2))
    if len(rows) > _ROWS_EACH * count:
        rows = rows[np.sort(random.choice(len(rows), _ROWS_EACH * count, replace=False))]
    known = ~np.isnan(rows)
    whole = bool(known.all())
    values, shown = np.nan_to_num(rows), known.astype(np.float32)
    centres: Floats = values[np.sort(random.choice(len(rows), count, replace=False))]
    for _ in range(_PASSES):
        nearest = _nearest(values, shown, centres, whole=whole)
        members = np.bincount(nearest, minlength=len(centres))
        kept = np.flatnonzero(members >= min(2, members.max()))
        moved = _means(values, shown, nearest, members)[kept]
        settled = len(moved) == len(centres) and np.array_equal(moved, centres)
        centres = moved
        if settled:
            break
    spread = np.nanstd(rows, axis=0, dtype=np.float64)  # a column that never changes keeps its very value
    apart: Floats = (centres + _APART * spread * random.standard_normal(centres.shape)).astype(np.float32)
    return apart


def _nearest(values: Floats, shown: Floats, centres: Floats, *, whole: bool) -> NDArray[np.intp]:
    """Return the nearest centre of each row, (rows,), by the values that the row has."""
    squares = np.square(centres) / 2
    found: NDArray[np.intp] = np.argmax(
        values @ centres.T - (squares.sum(axis=1) if whole else shown @ squares.T), axis=1
    )
    return found


def _means(values: Floats, shown: Floats, nearest: NDArray[np.intp], members: NDArray[np.intp]) -> Floats:
    """Return the mean of each centre's rows, (centres, n_encoded), 0 where none of them has a value."""
    order = np.argsort(nearest, kind="stable")
    used = np.flatnonzero(members)
    starts = (np.cumsum(members) - members)[used]
    sums, counts = np.zeros((2, len(members), values.shape[1]))
    sums[used] = np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)
    counts[used] = np.add.reduceat(shown[order], starts, axis=0, dtype=np.float64)
    return (sums / np.maximum(counts, 1)).astype(np.float32)


class Nearest(nn.Module):
    """The squared distance to the nearest prototype, times its weight, as one product with a matrix.

    |x - c|^2 = |x|^2 - 2 (x . c - |c|^2 / 2): the nearest prototype has the largest `x . c - |c|^2 / 2`.
    """

    centres: Tensor
    less: Tensor
    factor: Tensor

    def __init__(self, centres: Tensor, weight: float, *, leaves_out: bool) -> None:
        """Keep `centres`, (prototypes, n_encoded), in the units of the rows that will come.

        Args:
            centres: float64.
            weight: of the squared distance.
            leaves_out: True if missing values are left out of the distance.
        """
        super().__init__()
        self.importance, self.leaves_out = weight, leaves_out
        self.register_buffer("factor", torch.tensor(weight, dtype=centres.dtype))
        halves = centres * centres / 2
        self.register_buffer("centres", centres)
        # Of the present values alone, where what is taken off depends on which they are.
        self.register_buffer("less", -halves if leaves_out else -halves.sum(dim=1))

    def forward(self, rows: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the distance, (batch,), and its part of each feature, (batch, n_encoded)."""
        if missing is None:
            likeness = linear(rows, self.centres, self.less)
        else:
            rows = torch.where(missing, 0.0, rows)
            known = torch.logical_not(missing).to(rows.dtype)
            likeness = linear(rows, self.centres) + linear(known, self.less)
        # Not |x|^2 less the largest likeness: of two large numbers that are nearly equal little would be left.
        difference = rows - torch.index_select(self.centres, 0, torch.argmax(likeness, dim=1))
        if missing is not None:
            difference = torch.where(missing, 0.0, difference)
        squares = difference * difference
        distance = torch.sum(squares, dim=1)
        return (distance, squares) if self.importance == 1 else (distance * self.factor, squares * self.factor)
