"""Why a row is as odd as it is: what each feature contributes to its score."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Explanation(NamedTuple):
    """Of some rows, each array (rows, n_features); of one row without its batch axis, without theirs."""

    contribution: NDArray[np.float32]
    """Of each feature to the score, 0 or more: they add up to it. A column of categories is one feature."""
    expected: NDArray[np.float32]
    """What the model expects: its reconstruction, in raw units. Of a column of categories, the index of the
    likeliest."""
    found: NDArray[np.float32]
    """What stands in the rows, in raw units; of categories their index, -1 for another, NaN for a missing one."""

    def __repr__(self) -> str:
        return f"<Explanation: contribution, expected, found; {' x '.join(map(str, self.found.shape))} each>"

    @property
    def direction(self) -> NDArray[np.int8]:
        """1 where more was found than expected, -1 where less, 0 where neither or no number."""
        difference = self.found.astype(np.float64) - self.expected
        return np.sign(np.nan_to_num(difference)).astype(np.int8)

    def largest(self, count: int) -> NDArray[np.intp]:
        """(rows, count): the features that contribute most to each row's score, the largest first.

        Positions in the row, flattened where it is an image or a window. First come cells that are no finite
        number, which spoil every contribution of their row; then contributions that overflowed, such as that of a
        "no data" value of 1e25, the farthest first; then the others by contribution. Needs rows with their batch
        axis.
        """
        shape = len(self.contribution), math.prod(self.contribution.shape[1:])  # not -1: there may be no rows
        contribution, expected, found = (part.reshape(shape).astype(np.float64) for part in self)
        overflowed, spoilt = ~np.isfinite(contribution), ~np.isfinite(found)
        with np.errstate(invalid="ignore"):
            # Of what is expected, a huge cell may make anything in all features: it counts where it brings two
            # nearer together only.
            distance = np.fmin(np.abs(found), np.abs(found - expected))
        weight = np.where(overflowed, np.where(spoilt, 0.0, distance), contribution)
        # A missing value that was filled in, or is a category of its own, spoils nothing.
        return np.lexsort((-weight, ~overflowed, ~(spoilt & overflowed)))[:, :count]
