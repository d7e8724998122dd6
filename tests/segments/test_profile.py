"""What makes a segment different, by hand."""

import numpy as np
import pytest

from aetool.segments.profile import label, profile

SEGMENT = np.array([0] * 6 + [1] * 4)


def described(column, categories=None, segment=SEGMENT, count=2):
    rows = np.asarray(column, float)[:, None]
    return profile(rows, segment, count, ["x"], {"x": categories} if categories else {})


def test_a_number_is_told_by_its_medians_and_the_difference_of_ranks():
    low, high = described([1, 2, 3, 4, 5, 6, 10, 20, 30, 1e9])
    assert (low["rows"], low["share"], high["rows"]) == (6, 0.6, 4)
    (trait,) = high["traits"]
    ranks = np.arange(1, 11)
    assert trait["difference"] == pytest.approx((ranks[6:].mean() - ranks.mean()) / ranks.std())
    assert (trait["statistic"], trait["of_segment"], trait["of_all"]) == ("median", 25, 5.5)
    assert trait["ratio"] == pytest.approx(25 / 5.5)
    assert low["traits"][0]["difference"] < 0
    assert (low["label"], high["label"]) == ("low x", "high x")


def test_equal_medians_give_way_to_means():
    _, other = described([0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
    (trait,) = other["traits"]
    assert (trait["statistic"], trait["of_segment"], trait["of_all"]) == ("mean", 2.5, 1)


def test_no_ratio_of_numbers_that_are_not_above_0():
    low, _ = described([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6])
    assert low["traits"][0]["ratio"] is None


def test_a_category_is_told_by_its_shares():
    first, second = described([0, 0, 0, 0, 0, 1, 1, 1, 1, 2], ("a", "b", "c"))
    (trait,) = second["traits"]
    assert (trait["category"], trait["of_segment"], trait["of_all"]) == ("b", 0.75, 0.4)
    assert trait["ratio"] == pytest.approx(0.75 / 0.4)
    assert trait["difference"] == pytest.approx((0.75 - 0.4) / np.sqrt(0.4 * 0.6))
    assert first["traits"][0]["category"] == "a"
    assert second["label"] == "x = b"


def test_a_category_and_a_number_of_0_and_1_differ_alike():
    column = [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    as_number, as_category = described(column)[1]["traits"][0], described(column, ("0", "1"))[1]["traits"][0]
    assert as_number["difference"] == pytest.approx(as_category["difference"])


@pytest.mark.parametrize("column", [[5] * 10, [np.nan] * 10])
def test_a_column_that_tells_nothing_is_no_trait(column):
    assert [entry["traits"] for entry in described(column)] == [[], []]
    assert described(column)[0]["label"] == "much like everybody"


def test_missing_values_do_not_count():
    whole = described([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])[0]["traits"][0]
    rows = np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, np.nan, np.nan]]).T
    found = profile(rows, np.array([*SEGMENT, 0, 1]), 2, ["x"], {})[0]["traits"][0]
    assert found == whole


def test_traits_stand_in_order_and_rows_in_no_segment_count_as_everybody():
    random = np.random.default_rng(0)
    segment = np.repeat([0, 1, -1], 100)
    rows = random.normal(size=(300, 3))
    rows[:100, 1] += 3
    rows[:100, 2] -= 1
    found = profile(rows, segment, 2, ["a", "b", "c"], {})
    assert [trait["feature"] for trait in found[0]["traits"]] == ["b", "c", "a"]
    assert sum(entry["rows"] for entry in found) == 200
    assert label(found[0]["traits"]).startswith("high b, low c")
