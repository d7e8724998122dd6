"""Prototypes: typical rows, learnt from the training rows; the distance to the nearest counts in the score.

A network may reconstruct a row that lies between the normal ones as well as those: the distance to what it was
trained on tells them apart. Prototypes are the centres of k-means (S. P. Lloyd, Least Squares Quantization in PCM,
1982) in the network's own input, the standardised and encoded features.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]

_MOST = 64
"""Prototypes of a model, at most: more cost time and find little more."""
_ROWS_EACH = 64
"""Training rows for each prototype; of more, so many are drawn."""
_PASSES = 12
_APART = 1e-3
"""Standard deviations that a prototype is moved by at random, so that no row of whole numbers lies exactly between
two: rounding would choose."""


def learn_prototypes(rows: Floats, seed: int) -> Floats:
    """Return prototypes of standardised rows, (prototypes, n_encoded); NaN marks values that are missing.

    A prototype stands for two rows or more: an odd row among the training rows does not make its like normal.
    """
    random = np.random.default_rng(seed)
    count = min(_MOST, max(1, len(rows) // 2))
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
    """The squared distance to the nearest prototype, as one product with a matrix.

    |x - c|^2 = |x|^2 - 2 (x . c - |c|^2 / 2): the nearest prototype has the largest `x . c - |c|^2 / 2`.
    """

    centres: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, centres: Tensor, *, leaves_out: bool) -> None:
        """Keep `centres`, (prototypes, n_encoded), in the units of the rows that will come.

        Args:
            centres: float64.
            leaves_out: True if missing values are left out of the distance.
        """
        super().__init__()
        self.leaves_out = leaves_out
        squares = centres * centres
        self.register_buffer("centres", centres)
        if leaves_out:  # of the present values alone: what is taken off depends on which they are
            self.register_buffer("weight", torch.cat([2 * centres, -squares], dim=1).T.contiguous())
            self.register_buffer("offset", torch.zeros(len(centres), dtype=centres.dtype))
        else:
            self.register_buffer("weight", 2 * centres.T.contiguous())
            self.register_buffer("offset", -squares.sum(dim=1))

    def forward(self, rows: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the squared distance, (batch,), and the square of each difference, (batch, n_encoded)."""
        if missing is None:
            likeness = torch.addmm(self.offset, rows, self.weight)
        else:
            rows = torch.where(missing, 0.0, rows)
            known = torch.logical_not(missing).to(rows.dtype)
            likeness = torch.addmm(self.offset, torch.cat([rows, known], dim=1), self.weight)
        squares = torch.sum(rows * rows, dim=1)
        # Rounding may leave less than nothing of a row that is a prototype.
        distance = torch.relu(squares - torch.amax(likeness, dim=1))
        difference = rows - torch.index_select(self.centres, 0, torch.argmax(likeness, dim=1))
        if missing is not None:
            difference = torch.where(missing, 0.0, difference)
        return distance, difference * difference
