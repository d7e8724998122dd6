"""The rows to measure with: real ones, extended with jittered copies where they are few."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.manifest import Manifest
from aetool.errors import InputError

LEAST_ROWS = 4096
"""Least rows of a pool: more than a core's cache holds, so that no query finds its row there again."""
_JITTER = 0.01
"""Noise, as a share of each column's standard deviation: realistic, and no two rows are alike."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows to measure with."""

    rows: NDArray[np.float32]
    """(rows, ...), in an order drawn from the seed."""
    source: str
    """Source of the rows, for the result."""

    def for_batch(self, batch: int) -> NDArray[np.float32]:
        """Return rows enough that queries of `batch` rows are not always the same."""
        return self.rows[: pool_size(batch)]


def pool_size(batch: int) -> int:
    """Return the number of rows that a contestant holds while it runs queries of `batch`."""
    return max(LEAST_ROWS, batch + max(64, batch // 8))


def make_pool(rows: NDArray[np.float32], manifest: Manifest, name: str, batch: int, seed: int) -> Pool:
    """Shuffle `rows`, (rows, ...); where they are fewer than queries of `batch` need, draw more with jitter.

    Categories are indexes, and stay what they are; missing values stay missing.

    Raises:
        InputError: there are no rows.
    """
    if len(rows) == 0:
        raise InputError(f"{name}: no rows to measure with; give a table with such rows")
    random, wanted = np.random.default_rng(seed), pool_size(batch)
    if len(rows) >= wanted:
        return Pool(
            rows[random.permutation(len(rows))[:wanted]], f"{wanted:,} of the {len(rows):,} {name}, shuffled"
        )
    drawn = rows[random.integers(0, len(rows), wanted)]
    with np.errstate(all="ignore"):  # rows may hold NaN and infinity
        spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(rows), rows, np.nan), axis=0), posinf=0.0)
    for i, feature in enumerate(manifest.features):
        if feature.categories is not None:
            spread[i] = 0.0
    made = random.standard_normal(drawn.shape, dtype=np.float32)
    made *= (_JITTER * spread).astype(np.float32)  # in place: a wide pool is tens of megabytes
    made += drawn
    return Pool(
        made,
        f"{len(rows):,} {name}, drawn again to {wanted:,}, jitter {_JITTER:.0%} of each column's deviation",
    )
