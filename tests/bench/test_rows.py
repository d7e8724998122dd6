"""The rows that are measured with."""

import numpy as np
import pytest
from measuring import EXPORTED

from aetool.bench.rows import LEAST_ROWS, make_pool, pool_size
from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Feature
from aetool.errors import InputError


@pytest.fixture
def manifest():
    return Bundle.open(EXPORTED).manifest._replace(
        input_shape=(3,),
        features=(Feature("a"), Feature("kind", categories=("x", "y")), Feature("c")),
    )


def few():
    random = np.random.default_rng(0)
    return np.stack([random.normal(0, 1000, 50), random.integers(0, 2, 50), np.ones(50)], axis=1).astype(
        np.float32
    )


def test_rows_enough_are_shuffled_and_stay_what_they_are(manifest):
    rows = np.arange(3 * 5000, dtype=np.float32).reshape(5000, 3)
    pool = make_pool(rows, manifest, "rows of x.csv", 1, seed=0)
    assert pool.rows.shape == (LEAST_ROWS, 3) and "of the 5,000 rows of x.csv, shuffled" in pool.source
    assert {tuple(row) for row in pool.rows} <= {tuple(row) for row in rows}
    assert not np.array_equal(pool.rows, make_pool(rows, manifest, "", 1, seed=1).rows)
    assert np.array_equal(pool.rows, make_pool(rows, manifest, "", 1, seed=0).rows)


def test_few_rows_become_many_that_differ_a_little(manifest):
    rows = few()
    pool = make_pool(rows, manifest, "golden rows", 1, seed=0)
    assert "50 golden rows, drawn again" in pool.source and "jitter" in pool.source
    assert len(np.unique(pool.rows[:, 0])) > 4000
    nearest = np.abs(pool.rows[:, :1] - rows[:, 0]).min(axis=1)
    assert nearest.max() < 0.06 * rows[:, 0].std()
    assert pool.rows.dtype == np.float32 and pool.rows.flags.c_contiguous


def test_categories_constants_and_missing_values_stay(manifest):
    rows = few()
    rows[::7, 0] = np.nan
    pool = make_pool(rows, manifest, "golden rows", 1, seed=0)
    assert set(pool.rows[:, 1]) == {0.0, 1.0} and set(pool.rows[:, 2]) == {1.0}
    assert 0.05 < np.isnan(pool.rows[:, 0]).mean() < 0.3


@pytest.mark.parametrize("batch", [1, 64, 4096, 100_000])
def test_queries_are_never_always_the_same_rows(batch):
    assert pool_size(batch) >= batch + 64


def test_no_rows_are_refused(manifest):
    with pytest.raises(InputError, match="no rows"):
        make_pool(np.empty((0, 3), np.float32), manifest, "rows of x.csv", 1, 0)
