"""The threshold: the share asked for, and never where rounding decides."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetool.errors import InputError
from aetool.export.threshold import CLEAR_GAP, choose_threshold

HUNDRED = np.linspace(1, 2, 100)


def flagged(scores: np.ndarray, threshold: float) -> int:
    return int((~(scores.astype(np.float32) <= np.float32(threshold))).sum())


@pytest.mark.parametrize(("contamination", "rows"), [(0, 0), (0.01, 1), (0.02, 2), (0.5, 50), (0.995, 99)])
def test_contamination_is_the_share_flagged(contamination: float, rows: int) -> None:
    found = choose_threshold(HUNDRED, contamination, None)
    assert flagged(HUNDRED, found.value) == rows
    assert found.rule["flagged_share"] == rows / 100
    assert found.rule["contamination"] == contamination
    assert found.rule["rows"] == 100


def test_one_in_a_hundred_by_default() -> None:
    assert choose_threshold(HUNDRED, None, None) == choose_threshold(HUNDRED, 0.01, None)


def test_threshold_lies_amid_a_gap_not_on_a_score() -> None:
    found = choose_threshold(HUNDRED, 0.1, None)
    assert found.value == pytest.approx((HUNDRED[89] + HUNDRED[90]) / 2)


def test_the_flagged_share_may_be_counted_on_some_of_the_scores() -> None:
    found = choose_threshold(HUNDRED, 0.1, None, counted=HUNDRED[80:])
    assert found.value == choose_threshold(HUNDRED, 0.1, None).value
    assert (found.rule["rows"], found.rule["flagged_share"]) == (20, 0.5)


def test_tied_scores_fall_on_one_side() -> None:
    scores = np.repeat([1.0, 2.0, 3.0], [50, 45, 5])
    assert flagged(scores, choose_threshold(scores, 0.2, None).value) == 5
    assert flagged(scores, choose_threshold(scores, 0.4, None).value) == 50


def test_scores_too_close_to_tell_apart_fall_on_one_side() -> None:
    scores = np.sort(np.concatenate([np.linspace(1, 1.001, 90), 5 + 1e-7 * np.arange(10)]))
    value = choose_threshold(scores, 0.05, None).value
    assert value == pytest.approx(3, abs=0.1) or value > 5.1


def test_equal_scores_flag_none() -> None:
    assert flagged(np.ones(50), choose_threshold(np.ones(50), 0.1, None).value) == 0
    assert flagged(np.zeros(50), choose_threshold(np.zeros(50), 0.1, None).value) == 0


@pytest.mark.parametrize("value", [0, 1, 0.1, 3e38, 1e-37])
def test_given_threshold_is_taken_as_float32(value: float) -> None:
    found = choose_threshold(HUNDRED, None, value)
    assert found.value == float(np.float32(value))
    assert found.rule == {"method": "given"}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e39, 1e-46, "0.5", True])
def test_given_threshold_out_of_range(value: Any) -> None:
    with pytest.raises(InputError, match=r"threshold: expected 0, or a number that float32 can hold .* found"):
        choose_threshold(HUNDRED, None, value)


@pytest.mark.parametrize("value", [-0.1, 1, 2, float("nan"), "0.5"])
def test_contamination_out_of_range(value: Any) -> None:
    with pytest.raises(InputError, match=r"contamination: expected 0 or more and below 1, found"):
        choose_threshold(HUNDRED, value, None)


def test_both_at_once() -> None:
    with pytest.raises(InputError, match="exclude each other"):
        choose_threshold(HUNDRED, 0.1, 0.5)


@pytest.mark.parametrize("scores", [[], [1, np.inf], [1, np.nan], [1, 2e38]])
def test_scores_that_give_no_threshold(scores: list[float]) -> None:
    with pytest.raises(InputError, match="pass --threshold"):
        choose_threshold(np.array(scores, dtype=float), None, None)


@given(st.integers(1, 400), st.floats(0, 0.999), st.randoms(use_true_random=False))
def test_distinct_scores_flag_the_share_asked_for(rows: int, contamination: float, random: Any) -> None:
    # Each score clearly above the one before: the nearest gap is the gap wanted.
    scores = np.cumprod([random.uniform(1.001, 1.5 if rows < 100 else 1.05) for _ in range(rows)])
    found = choose_threshold(scores, contamination, None)
    assert abs(flagged(scores, found.value) - contamination * rows) <= 1


@given(
    st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=60),
    st.one_of(st.none(), st.floats(0, 1, exclude_max=True)),
)
def test_no_score_lies_where_rounding_decides(scores: list[float], contamination: float | None) -> None:
    ordered = np.sort(np.array(scores))
    value = choose_threshold(ordered, contamination, None).value
    assert value == float(np.float32(value))
    near = np.abs(ordered - value) <= CLEAR_GAP / 3 * value
    assert not near[ordered > 1e-30].any()
