"""The judge: what it lets pass, what it does not, and that it can always say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aetool.checks.parity import (
    SCALED_TOLERANCE,
    column_scale,
    compare_decisions,
    compare_graph,
    compare_values,
    rank_correlation,
    value_range,
)

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(50, 4))


def test_equal_values_pass_with_no_difference():
    record = compare_values("encoder", "embedding", VALUES, VALUES.copy())
    assert record.passed
    assert (record.max_absolute, record.max_relative, record.max_scaled) == (0, 0, 0)
    assert record.shape == (50, 4)


@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("magnitude", [1e-6, 1.0, 1e6])
def test_a_difference_is_judged_as_a_share_of_the_range(share, passes, magnitude):
    expected = VALUES * magnitude
    actual = expected.copy()
    actual[7, 2] += share * SCALED_TOLERANCE * value_range(expected)
    record = compare_values("encoder", "embedding", expected, actual)
    assert record.passed is passes
    assert record.max_scaled == pytest.approx(share * SCALED_TOLERANCE)
    assert passes or "range-scaled difference" in record.reason


def test_a_constant_output_off_by_a_constant_fails():
    assert not compare_values("g", "embedding", np.zeros((5, 2)), np.full((5, 2), 1e-9)).passed


def test_each_column_of_a_reconstruction_has_a_range_of_its_own():
    features = VALUES * [1e6, 1, 1, 1]
    actual = features.copy()
    actual[0, 1] += 1e-3  # nothing beside column 0, much in column 1
    outputs = {"reconstruction": features}
    (record,) = compare_graph("g", outputs, {"reconstruction": actual}, features=features, threshold=1)
    assert not record.passed
    assert compare_values("g", "embedding", features, actual).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_must_stay_no_number(bad):
    expected = VALUES.copy()
    expected[3, 1] = bad
    for other in (np.nan, np.inf, -np.inf):
        actual = VALUES.copy()
        actual[3, 1] = other
        assert compare_values("g", "embedding", expected, actual).passed
    assert compare_values("g", "embedding", expected, VALUES).reason == "finite where the reference is not"
    assert not compare_values("g", "embedding", VALUES, expected).passed


def test_another_shape_fails_naming_both():
    record = compare_values("g", "embedding", VALUES, VALUES[:3])
    assert not record.passed
    assert record.shape == (3, 4)
    assert "(50, 4)" in record.reason
    assert not compare_decisions("g", np.ones(4, bool), np.ones(3, bool), np.ones(4), 1).passed


def test_scores_in_another_order_fail_even_when_close_beside_an_outlier():
    expected = np.append(np.linspace(1, 2, 100), 1e9)
    actual = expected.copy()
    actual[:100] = expected[99::-1]
    record = compare_values("detector", "score", expected, actual)
    assert record.max_scaled < SCALED_TOLERANCE
    assert "rank correlation" in record.reason


def test_near_ties_that_rounding_swaps_keep_their_rank():
    expected = np.array([1.0, 1.0 + 1e-9, 2.0, 3.0])
    actual = np.array([1.0 + 1e-9, 1.0, 2.0, 3.0])
    record = compare_values("detector", "score", expected, actual)
    assert record.passed
    assert record.rank_correlation == 1


def test_decisions_that_flip_fail_unless_the_score_lies_on_the_threshold():
    expected, actual = np.array([True, False, True]), np.array([False, False, True])
    far = compare_decisions("detector", expected, actual, np.array([2.0, 0.5, 3.0]), 1.0)
    assert (far.passed, far.flipped, far.borderline) == (False, 1, 0)
    assert far.reason == "1 of 3 decisions flipped"
    near = compare_decisions("detector", expected, actual, np.array([1 + 1e-7, 0.5, 3.0]), 1.0)
    assert (near.passed, near.flipped, near.borderline) == (True, 0, 1)
    unknown = compare_decisions("detector", expected, actual, np.array([np.nan, 0.5, 3.0]), 1.0)
    assert unknown.flipped == 1


def test_rank_correlation_is_spearmans():
    assert rank_correlation(np.arange(9), np.arange(9) ** 3) == pytest.approx(1)
    assert rank_correlation(np.arange(9), -np.arange(9)) == pytest.approx(-1)
    assert rank_correlation(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])) == pytest.approx(0.8)
    assert rank_correlation(np.array([1, 2, 2, 4]), np.array([1, 2, 2, 4])) == pytest.approx(1)
    assert rank_correlation(np.ones(3), np.arange(3)) == 1  # no order to disagree with
    assert rank_correlation(np.array([1, np.nan]), np.array([1, np.inf])) == pytest.approx(1)


def test_column_scale_is_the_range_of_features_and_reconstruction():
    scale = column_scale(np.array([[0.0, 5.0], [2.0, np.nan]]), np.array([[-1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(scale, [4, 5])


ANY = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(3)), elements=st.floats(width=32, allow_subnormal=False)
)


@given(expected=ANY, actual=ANY)
@pytest.mark.filterwarnings("error")
def test_any_two_arrays_can_be_compared_without_a_warning(expected, actual):
    outputs = {
        "embedding": actual,
        "reconstruction": actual,
        "score": actual[:, 0],
        "is_anomaly": actual[:, 0] > 0,
    }
    reference = {"embedding": expected, "reconstruction": expected, "score": expected[:, 0]}
    reference["is_anomaly"] = expected[:, 0] > 0
    records = compare_graph("g", reference, outputs, features=expected, threshold=0.0)
    assert [record.output for record in records] == list(outputs)
    for record in records:
        assert isinstance(record.reason, str)
        assert record.reason.isprintable()
    if expected.shape == actual.shape and np.array_equal(expected, actual, equal_nan=True):
        assert all(record.passed for record in records)
