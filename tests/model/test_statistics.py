"""Scaling and imputation: learnt from training rows, refused where float32 cannot hold them."""

import numpy as np
import pytest

from aetool.errors import InputError
from aetool.model.statistics import learn_statistics
from aetool.tables import require_trainable

NAMES = ("a", "b", "c")
GOOD = np.random.default_rng(0).normal(size=(40, 3)) * [1, 10, 0.1] + [0, 5, 100]


def test_mean_and_standard_deviation() -> None:
    found = learn_statistics(GOOD, NAMES, None)
    single = GOOD.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(found.mean, single.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale, single.std(axis=0), rtol=1e-6)
    assert found.fill is None


def test_constant_column_does_not_divide_by_zero() -> None:
    rows = GOOD.copy()
    rows[:, 1] = 7
    found = learn_statistics(rows, NAMES, None)
    assert (found.mean[1], found.scale[1]) == (7, np.float32(np.sqrt(40) / 41))
    assert learn_statistics(rows, NAMES, None, "ignore").scale[1] == 1


def test_constant_zeros_are_fine() -> None:
    found = learn_statistics(np.zeros((4, 3)), NAMES, None)
    assert found.mean.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.scale, 2 / 5)


@pytest.mark.parametrize(("impute", "value"), [("mean", 3.0), ("median", 2.0)])
def test_fill_is_the_average_of_what_is_there(impute: str, value: float) -> None:
    rows = np.array([[1.0], [2.0], [6.0], [np.nan]])
    found = learn_statistics(rows, ("a",), impute)  # type: ignore[arg-type]
    assert found.fill is not None
    assert found.fill[0] == value
    assert found.mean[0] == pytest.approx((1 + 2 + 6 + value) / 4)


def test_missing_values_are_counted_by_column() -> None:
    rows = GOOD.copy()
    rows[:3, 0] = rows[7, 2] = np.nan
    with pytest.raises(InputError, match=r"missing values in a \(3\), c \(1\).*--impute median.*--drop a,c"):
        require_trainable(rows, NAMES, None, "table")
    require_trainable(rows, NAMES, "mean", "table")


def test_infinite_values_are_counted_by_column() -> None:
    rows = GOOD.copy()
    rows[:2, 1] = [np.inf, 1e39]  # the second is infinite once it is float32
    with pytest.raises(InputError, match=r"infinite values.* in b \(2\)"):
        require_trainable(rows, NAMES, None, "table")
    require_trainable(rows, NAMES, "mean", "table")


def test_column_without_a_value_is_named() -> None:
    rows = GOOD.copy()
    rows[:, 1] = np.nan
    with pytest.raises(InputError, match="without any value in the training rows: b"):
        learn_statistics(rows, NAMES, "mean")


@pytest.mark.parametrize("far", [1e9, 1e16])
def test_spread_that_float32_cannot_tell_apart_is_refused(far: float) -> None:
    with pytest.raises(InputError, match=r"too large for their spread.*: b; subtract a constant"):
        learn_statistics(GOOD + np.array([0, far, 0]), NAMES, None)


@pytest.mark.parametrize("unit", [1e-45, 1e-40, 1e-34, 1e34, 1e36])
def test_units_beyond_float32_arithmetic_are_refused(unit: float) -> None:
    with pytest.raises(InputError, match=r"float32 arithmetic cannot hold.*: b; give them in another unit"):
        learn_statistics(GOOD * [1, unit, 1], NAMES, None)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_far_from_one_are_fine(unit: float) -> None:
    plain, scaled = learn_statistics(GOOD, NAMES, None), learn_statistics(GOOD * unit, NAMES, None)
    np.testing.assert_allclose(scaled.scale / np.float32(unit), plain.scale, rtol=1e-5)
