"""Drift: found where there is some, not found where there is none, by the rules that are stated."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aetool.bundle import baseline as baselines
from aetool.bundle.baseline import baseline_of, features_of, read_baseline
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import sha256
from aetool.checks import drift as drifts
from aetool.checks.drift import measure_drift, stability_index, wilson
from aetool.checks.parity import rank_correlation
from aetool.errors import BundleError, InputError
from aetool.export import export_checkpoint, export_module
from aetool.model import AutoencoderConfig, TrainingConfig, load_checkpoint, save_checkpoint, train
from aetool.tables import table_from_columns

JOBS = ("clerk", "nurse", "pilot")


def customers(rows, seed, jobs=(0.5, 0.3, 0.2)):
    random = np.random.default_rng(seed)
    size = random.normal(size=rows)
    return {
        "size": size,
        "weight": 2 * size + random.normal(scale=0.3, size=rows),
        "children": random.poisson(0.4, rows),
        "job": random.choice(3, rows, p=jobs),
    }


def matrix(columns):
    return np.column_stack(list(columns.values())).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint():
    columns = customers(800, 0)
    table = table_from_columns(
        {**columns, "job": [JOBS[i] for i in columns["job"]]}, categorical=["job"], source="customers"
    )
    return train(table, TrainingConfig(epochs=15, batch_size=64), AutoencoderConfig(6, 8))


@pytest.fixture(scope="module")
def path(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("drift") / "customers"
    export_checkpoint(checkpoint, path)
    return path


def of(found, name):
    return next(feature for feature in found.features if feature.name == name)


@pytest.mark.parametrize("rows", [30, 200, 5000])
def test_rows_of_the_same_kind_are_no_drift(path, rows):
    for seed in range(1, 6):
        found = measure_drift(path, matrix(customers(rows, seed)))
        assert not found.drifted, found.reasons
        assert all(feature.verdict == "stable" for feature in found.features)
    assert found.has_baseline and found.rows == rows


def test_a_shifted_column_is_drift_and_named_first(path):
    columns = customers(500, 1)
    columns["weight"] = columns["weight"] + 3
    found = measure_drift(path, matrix(columns))
    assert found.features[0].name == "weight" and found.features[0].verdict == "drift"
    assert any(reason.startswith("weight: ") for reason in found.reasons)
    assert of(found, "size").verdict == "stable"
    assert found.score_distance > 0.1


def test_more_flagged_than_promised_is_drift(path):
    columns = customers(500, 1)
    columns["weight"][:100] += 30
    found = measure_drift(path, matrix(columns))
    assert found.flagged >= 0.2 and found.flagged_interval[0] > found.promised_interval[1]
    share = Bundle.open(path).manifest.threshold["flagged_share"]  # of the rows held out
    assert any(reason.endswith(f"of the rows are flagged, {share:.1%} was expected") for reason in found.reasons)


def test_other_shares_of_categories_are_drift(path):
    found = measure_drift(path, matrix(customers(500, 1, jobs=(0.1, 0.1, 0.8))))
    assert of(found, "job").verdict == "drift" and of(found, "job").outside == 0


def test_unseen_categories_and_values_out_of_range_are_drift(path):
    rows = matrix(customers(500, 1))
    rows[:100, 3], rows[100:200, 2] = -1, 99
    found = measure_drift(path, rows)
    for name in ("job", "children"):
        assert of(found, name).outside == 0.2 and of(found, name).verdict == "drift"
    assert "job: 20.0% of the values are outside what the model was trained on" in found.reasons


def test_missing_values_are_counted_and_are_drift(path):
    rows = matrix(customers(500, 1))
    rows[:200, 0] = np.nan
    found = measure_drift(path, rows)
    assert (of(found, "size").missing, of(found, "size").missing_before) == (0.4, 0)
    assert of(found, "size").verdict == "drift"
    assert of(found, "size").outside < 0.01


def test_missing_values_are_the_reason_where_the_others_are_as_before(path):
    rows = matrix(customers(500, 1))
    rows[:100, 0] = np.nan
    found = measure_drift(path, rows)
    assert [reason for reason in found.reasons if reason.startswith("size")] == [
        "size: missing 20.0%, before 0.0%"
    ]
    rows[:, 0] += 3
    (reason,) = (reason for reason in measure_drift(path, rows).reasons if reason.startswith("size"))
    assert (
        "of the values are outside what the model was trained on" in reason
        or "missing 20.0%, before 0.0%; typical" in reason
    )


def test_a_change_is_told_with_its_direction(path):
    columns = customers(500, 1, jobs=(0.1, 0.1, 0.8))
    columns["weight"] = columns["weight"] + 2
    found = measure_drift(path, matrix(columns))
    before = np.quantile(customers(800, 0)["weight"], 0.5)
    assert of(found, "weight").change.startswith("typical ")
    was, now = (float(part) for part in of(found, "weight").change.removeprefix("typical ").split(" -> "))
    assert was == pytest.approx(before, abs=0.1) and now == pytest.approx(np.median(columns["weight"]), abs=0.01)
    job = of(found, "job").change
    assert job.startswith("pilot 2") and job.endswith(f"-> {np.mean(columns['job'] == 2):.1%}")
    assert f"job: distribution changed (PSI {of(found, 'job').psi:.2f}): {job}" in found.reasons
    columns["children"] = np.where(np.arange(500) < 240, 1, 0)
    assert of(measure_drift(path, matrix(columns)), "children").change.endswith("-> 48.0%")


def test_few_rows_without_drift_are_too_few_to_tell(path):
    few = measure_drift(path, matrix(customers(drifts.FEWEST_ROWS - 1, 1)))
    assert few.too_few_rows and not few.drifted
    assert {feature.verdict for feature in few.features} <= {"unclear", "moderate"}
    assert not measure_drift(path, matrix(customers(drifts.FEWEST_ROWS, 1))).too_few_rows
    columns = customers(20, 1)
    assert measure_drift(path, matrix({**columns, "weight": columns["weight"] + 50})).drifted


@given(st.lists(st.sampled_from([np.nan, -1, 0, 1, 2.5, 7]), min_size=1))
def test_the_median_of_a_baseline_is_that_of_its_rows(column):
    (feature,) = features_of(np.array([column]).T, ["x"], {})
    finite = np.array([value for value in column if not np.isnan(value)])
    expected = np.quantile(finite, 0.5, method="inverted_cdf") if len(finite) else None
    assert feature.median == expected


def test_few_rows_are_not_held_to_what_chance_does_to_them(path):
    for seed in range(5):
        found = measure_drift(path, matrix(customers(8, seed)))
        assert max(feature.psi for feature in found.features) > 0.25
        assert not found.drifted
        assert all(feature.psi < feature.psi_by_chance for feature in found.features)


def test_no_rows_are_refused(path):
    with pytest.raises(InputError, match="one row or more"):
        measure_drift(path, np.empty((0, 4), np.float32))


def test_columns_by_name_are_compared_as_their_rows_are(path):
    columns = customers(300, 1)
    named = {"weight": columns["weight"], "id": [""] * 300, **columns, "job": [JOBS[i] for i in columns["job"]]}
    assert measure_drift(path, named) == measure_drift(path, matrix(columns))


def test_one_row_is_a_batch_of_one(path):
    assert measure_drift(path, matrix(customers(1, 1))[0]).rows == 1


def test_without_a_baseline_the_golden_rows_stand_in(path, tmp_path):
    older = shutil.copytree(path, tmp_path / "older")
    manifest = json.loads((older / "manifest.json").read_text())
    del manifest["files"]["baseline.json"]
    (older / "baseline.json").unlink()
    (older / "manifest.json").write_text(json.dumps(manifest))
    same = measure_drift(older, matrix(customers(500, 1)))
    assert not same.has_baseline and not same.drifted and "golden rows" in same.compared_with
    columns = customers(500, 1)
    assert measure_drift(older, matrix({**columns, "weight": columns["weight"] + 3})).drifted


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(rows="many"),
        lambda content: content.update(scores=[2, 1]),
        lambda content: content.pop("features"),
        lambda content: content["features"][0].update(name="other"),
        lambda content: content["features"][0]["shares"].pop(),
        lambda content: content["features"][0]["edges"].reverse(),
        lambda content: content["features"][3].update(categories=2),
        lambda content: content["features"][1].update(edges=["a"]),
    ],
)
def test_a_damaged_baseline_is_refused(path, tmp_path, change):
    damaged = shutil.copytree(path, tmp_path / "damaged")
    content = json.loads((damaged / "baseline.json").read_text())
    change(content)
    data = json.dumps(content).encode()
    manifest = json.loads((damaged / "manifest.json").read_text())
    manifest["files"]["baseline.json"] = {"sha256": sha256(data), "size": len(data)}
    (damaged / "baseline.json").write_bytes(data)
    (damaged / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"baseline\.json"):
        measure_drift(damaged, matrix(customers(50, 1)))


def test_the_baseline_is_of_the_training_rows_and_survives_the_checkpoint(checkpoint, path, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "saved")
    assert load_checkpoint(tmp_path / "saved").baseline == checkpoint.baseline
    kept = read_baseline(Bundle.open(path))
    assert kept.rows == checkpoint.provenance["rows_trained"] and kept.features == checkpoint.baseline
    assert kept.score_rows == checkpoint.provenance["rows_held_out"]
    np.testing.assert_array_equal(kept.scores, checkpoint.held_out.scores)


def test_a_module_of_images_is_told_by_its_scores(tmp_path):
    from torch import nn

    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 1, 4, 4)).astype(np.float32)
    export_module(nn.Sequential(nn.Conv2d(1, 1, 1)), tmp_path / "images", rows=rows)
    assert not measure_drift(tmp_path / "images", random.normal(size=(300, 1, 4, 4)).astype(np.float32)).drifted
    found = measure_drift(tmp_path / "images", 4 * rows)
    assert found.drifted and found.features == ()


def test_bins_by_hand():
    rows = np.array([[0, 0, 0, 0, 0, 0, 1, 2, 3, np.nan]]).T
    (feature,) = features_of(rows, ["x"], {})
    assert feature.edges == (0, 1, 2, 3) and feature.range == (0, 3)
    assert feature.shares == (0.6, 0.1, 0.1, 0.1, 0, 0.1)  # the last are missing
    assert feature.counts_of(np.array([-5.0, 0, 0.5, 9, np.inf, np.nan])).tolist() == [2, 1, 0, 0, 2, 1]
    assert feature.outside(np.array([-5.0, 0, 3, 9, np.inf, np.nan])) == 3
    (kinds,) = features_of(np.array([[0], [1], [1], [-1]]), ["x"], {"x": ("a", "b")})
    assert kinds.shares == (0.25, 0.5, 0.25, 0) and kinds.outside(np.array([0, 1, 7, np.nan])) == 1


@pytest.mark.parametrize("column", [[5.0] * 20, [np.nan] * 20])
def test_a_column_without_spread_or_values_has_bins_too(column):
    (feature,) = features_of(np.array([column]).T, ["x"], {})
    assert sum(feature.shares) == pytest.approx(1)
    assert feature.outside(np.array([4.0, 6.0])) == 2


def test_stability_index_by_hand():
    found = stability_index(np.array([0.5, 0.5, 0.0]), 100, np.array([20, 80, 0]))
    assert found == pytest.approx((0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5))


def test_many_scores_are_kept_as_quantiles():
    kept = baseline_of("rows", 5, (), np.random.default_rng(0).normal(size=20_000))
    assert (len(kept.scores), kept.score_rows) == (baselines.MOST_SCORES, 20_000)
    assert rank_correlation(np.array(kept.scores), np.arange(len(kept.scores))) == pytest.approx(1)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_lies_around_the_share_and_within_0_and_1(of_rows, share):
    count = round(share * of_rows)
    low, high = wilson(count, of_rows)
    assert 0 <= low <= count / of_rows <= high <= 1 and low < high


@given(st.integers(1, 60), st.floats(1e-6, 0.2))
def test_chi_square_is_near_the_exact_one(freedom, chance):
    assert drifts.chi_square(freedom, chance) == pytest.approx(stats.chi2.isf(chance, freedom), rel=0.16, abs=0.2)


@settings(max_examples=50)
@given(st.integers(20, 400), st.integers(20, 400), st.integers(0, 2**31))
def test_distance_and_its_chance_are_those_of_scipy(first, second, seed):
    random = np.random.default_rng(seed)
    before, now = random.normal(size=first), random.normal(0.3, 1, second)
    expected = stats.ks_2samp(before, now, alternative="greater", method="asymp")
    distance = drifts._distance(before, now)
    assert distance == pytest.approx(expected.statistic)
    assert drifts._smirnov(distance, first, second) == pytest.approx(expected.pvalue, rel=0.5, abs=0.06)
