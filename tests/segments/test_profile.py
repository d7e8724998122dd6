"""What makes a segment different, by hand."""

import numpy as np
import pytest

from aetool.report.bundle.facts import sentence
from aetool.segments._profile import label, profile

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


def test_where_medians_are_equal_the_shares_beyond_them_are_told_not_means_of_sentinels():
    column = [-1] * 6 + [-1, -1, 300, 200]
    first, other = described(column)
    (trait,) = other["traits"]
    assert (trait["statistic"], trait["of_segment"], trait["of_all"]) == ("median", 99.5, -1)
    first, other = described([-1] * 5 + [300, 200, -1, -1, -1], segment=np.array([0] * 5 + [1] * 5))
    for entry, share in ((first, 0.0), (other, 0.4)):
        (trait,) = entry["traits"]
        assert (trait["statistic"], trait["value"]) == ("share above", -1)
        assert (trait["of_segment"], trait["of_all"]) == (share, 0.2)
    assert first["label"] == "fewer x above -1 (0% against 20%)"
    assert other["label"] == "more x above -1 (40% against 20%)"
    below, _ = described([1, 1, 5, 5, 5, 5, 5, 5, 5, 5])
    assert below["traits"][0]["statistic"] == "share below"


def test_what_holds_for_a_minority_is_told_with_its_share():
    indexes = [0] * 10 + [1] * 4 + [0] * 6
    few = described(indexes, ("clerk", "retired"), np.repeat([0, 1], 10))[1]
    assert few["label"] == "more x = retired (40% against 20%)"
    most = described(indexes, ("clerk", "retired"), np.array([0] * 9 + [1] * 6 + [0] * 5))[1]
    assert most["label"] == "x = retired"


def test_what_hardly_differs_is_no_trait():
    indexes = np.array([0] * 88 + [1] * 12 + [0] * 82 + [1] * 18)
    first, second = described(indexes, ("no", "yes"), np.repeat([0, 1], 100))
    assert first["traits"] == second["traits"] == [] and first["label"] == "much like everybody"


def test_a_trait_in_words():
    def words(statistic, own, everybody, ratio=None, **more):
        entry = {"statistic": statistic, "of_segment": own, "of_all": everybody, "ratio": ratio}
        return sentence({"feature": "x", **entry, **more})[1]

    assert words("median", 2479, 4756, 2479 / 4756) == "typical 2,479, everybody 4,756 (half)"
    assert words("median", 247, -1) == "typical 247, everybody -1"
    assert words("median", 6.5, 2, 3.25) == "typical 6.5, everybody 2 (3.2 times)"
    assert words("median", 30, 2, 15) == "typical 30, everybody 2 (15 times)"
    assert words("median", 150, 100, 1.5) == "typical 150, everybody 100 (50% more)"
    assert words("median", 60, 100, 0.6) == "typical 60, everybody 100 (40% less)"
    assert words("share above", 0.02, 0.18, 0.11, value=-1.0) == "above -1 for 2%, everybody 18%"
    assert words("share", 1, 0.68, 1.47, category="1") == "1 for 100%, everybody 68%"
    assert words("share", 0.63, 0.11, 5.727, category="failure") == "failure for 63%, everybody 11% (5.7 times)"


def test_no_ratio_of_numbers_that_are_not_above_0():
    low, _ = described([-3, -2, -1, 0, 1, 2, 3, 4, 5, 6])
    assert low["traits"][0]["ratio"] is None


def test_a_category_is_told_by_its_shares():
    first, second = described([0, 0, 0, 0, 0, 1, 1, 1, 1, 2], ("a", "b", "c"))
    (trait,) = second["traits"]
    assert (trait["category"], trait["of_segment"], trait["of_all"]) == ("b", 0.75, 0.4)
    assert trait["ratio"] == pytest.approx(0.75 / 0.4)
    assert trait["difference"] == pytest.approx((0.75 - 0.4) / np.sqrt(0.4 * 0.6))
    assert first["traits"][0]["category"] == "a" and trait["statistic"] == "share"
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
    rows[100:, 0] += 0.7
    found = profile(rows, segment, 2, ["a", "b", "c"], {})
    assert [trait["feature"] for trait in found[0]["traits"]] == ["b", "c", "a"]
    assert sum(entry["rows"] for entry in found) == 200
    assert label(found[0]["traits"]).startswith("high b, low c")
