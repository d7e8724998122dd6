"""`explain`: contributions that add up to the score, beside what was expected and found."""

import numpy as np
import pytest

import aetool
from aetool import InputError
from aetool.runtime.explain import Explanation


def total(explanation):
    return explanation.contribution.sum(axis=-1, dtype=np.float64)


@pytest.mark.parametrize("count", [1, 2, 84, 5000])
def test_contributions_add_up_to_the_score(model, many, count):
    some = many[:count]
    np.testing.assert_allclose(total(model.explain(some)), model.score(some), rtol=1e-6)


def test_expected_is_the_reconstruction_and_found_the_rows(model, rows):
    found = model.explain(dict(zip(model.feature_names, rows.T, strict=True)))
    np.testing.assert_array_equal(found.expected, model.reconstruct(rows))
    np.testing.assert_array_equal(found.found, rows)
    assert (found.contribution >= 0).all()


def test_one_row_without_its_batch_axis_gives_results_without_theirs(model, rows):
    one = model.explain(rows[3])
    assert one.contribution.shape == one.expected.shape == one.found.shape == (30,)
    np.testing.assert_allclose(total(one), model.score(rows[3]), rtol=1e-6)


def test_a_feature_far_off_is_named_first_with_its_direction(model, rows):
    normal = rows[model.score(rows) <= model.threshold][:30].copy()
    sign = np.where(np.arange(30) % 2, 1, -1)
    normal[np.arange(30), np.arange(30)] += sign * 8 * rows.std(axis=0)
    found = model.explain(normal)
    first = found.largest(1)[:, 0]
    assert (first == np.arange(30)).mean() >= 0.9
    right = first == np.arange(30)
    np.testing.assert_array_equal(found.direction[right, first[right]], sign[right])


def test_largest_are_in_order_and_no_more_than_there_are(model, rows):
    found = model.explain(rows)
    largest = found.largest(100)
    assert largest.shape == (84, 30)
    assert (np.diff(np.take_along_axis(found.contribution, largest, axis=1)) <= 0).all()


def test_a_value_that_is_no_number_comes_first(model, rows):
    spoilt = rows[:2].copy()
    spoilt[0, 7], spoilt[1, 11] = np.nan, np.inf
    found = model.explain(spoilt)
    assert found.largest(1)[:, 0].tolist() == [7, 11]
    assert not np.isfinite(total(found)).any()
    assert found.direction[0, 7] == 0


def test_largest_of_images_are_places_in_the_flattened_row():
    contribution = np.zeros((1, 2, 3), np.float32)
    contribution[0, 1, 1] = 1
    assert Explanation(contribution, contribution, contribution).largest(1).tolist() == [[4]]


def test_a_bundle_of_an_older_aetool_says_how_to_get_it(bundle, rewrite, rows):
    def change(manifest):
        del manifest["variants"]["fp32"]["files"]["explainer"], manifest["files"]["explainer.onnx"]

    rewrite(bundle, change)
    (bundle / "explainer.onnx").unlink()
    with aetool.load(bundle) as older, pytest.raises(InputError, match=r"no explainer.*older.*export it again"):
        older.explain(rows)


def test_reasons_are_explain_with_names_and_numbers(model, rows):
    found, why = model.reasons(rows, 4), model.explain(rows)
    assert [len(reasons) for reasons in found] == [4] * 84
    for row in (0, 60):
        for reason, place in zip(found[row], why.largest(4)[row], strict=True):
            assert reason.feature == model.feature_names[place]
            assert reason.share == pytest.approx(why.contribution[row, place] / total(why)[row], rel=1e-5)
            assert np.float32(reason.expected) == why.expected[row, place]
            assert np.float32(reason.found) == why.found[row, place]


def test_reasons_of_one_row_and_of_a_missing_value(model, rows):
    assert model.reasons(rows[60]) == model.reasons(rows[[60]]) and len(model.reasons(rows[60])[0]) == 3
    spoilt = rows[60].copy()
    spoilt[7] = np.nan
    (first,) = model.reasons(spoilt, 1)[0]
    assert (first.feature, first.share, first.found) == (model.feature_names[7], 0, None)


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_how_many_reasons_is_checked(model, rows, count):
    with pytest.raises(InputError, match="count: expected an integer of 1 or more"):
        model.reasons(rows, count)


def test_no_rows_have_no_reasons(model):
    none = np.zeros((0, model.n_features), np.float32)
    assert model.reasons(none) == [] and model.explain(none).largest(3).shape == (0, 3)


@pytest.mark.parametrize("value", [1e20, 1e25, 3.4e38, -3.4e38, 1e300, -np.inf])
def test_a_value_whose_contribution_overflows_comes_first(model, rows, value):
    """A "no data" value: the features that it spoils on its way through the network come after it."""
    spoilt = np.repeat(rows[:1], 30, axis=0).astype(np.float64)
    np.fill_diagonal(spoilt, value)
    assert model.explain(spoilt).largest(1)[:, 0].tolist() == list(range(30))
    found = model.reasons(spoilt, 1)
    assert [first.feature for (first,) in found] == list(model.feature_names)
    assert all(0 <= first.share <= 1 for (first,) in found)


def test_infinite_contributions_come_before_finite_ones_the_farthest_first():
    inf, nan = np.inf, np.nan
    found = Explanation(
        contribution=np.array([[9, inf, inf, 1, nan, inf], [3, nan, 2, nan, nan, nan]], np.float32),
        expected=np.array([[0, 0, 3e38, 0, nan, 1e30], [0, nan, 0, nan, nan, nan]], np.float32),
        found=np.array([[3, 1e25, 2.99e38, 1, 5, 7], [2, 8, 1, nan, -9, inf]], np.float32),
    )
    assert found.largest(6).tolist() == [[2, 1, 5, 4, 0, 3], [3, 5, 4, 1, 0, 2]]
