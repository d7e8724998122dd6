"""Prototypes: typical rows in the score of a trained model."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import aetool
from aetool.bundle.files import sha256
from aetool.errors import InputError
from aetool.export import export_checkpoint
from aetool.model import AutoencoderConfig, TrainingConfig, _held_out, load_checkpoint, save_checkpoint, train
from aetool.model.checkpoint import PROTOTYPES
from aetool.model.prototypes import learn_prototypes
from aetool.tables import table_from_columns

RNG = np.random.default_rng(0)
BLOBS = (RNG.normal(size=(400, 5)) * 0.3 + RNG.choice([-2, 0, 2], (400, 1))).astype(np.float32)


def trained_on(rows, kinds=None, **options):
    columns = {f"c{i}": column for i, column in enumerate(rows.T)}
    if kinds is not None:
        columns["kind"] = kinds
    table = table_from_columns(columns, categorical=None if kinds is None else "auto", source="x")
    return train(table, TrainingConfig(epochs=30, **options))


@pytest.fixture(scope="module")
def trained():
    return trained_on(BLOBS)


def test_the_score_adds_the_distance_to_the_nearest_prototype(trained):
    rows = RNG.normal(size=(50, 5)).astype(np.float32) * 3
    found = trained.evaluate(rows)
    z = (rows.astype(np.float64) - trained.statistics.mean) / trained.statistics.scale
    y = (found["reconstruction"] - trained.statistics.mean) / trained.statistics.scale
    apart = (z[:, None] - trained.prototypes.rows) ** 2
    terms = (z - y) ** 2 + trained.prototypes.weight * apart[np.arange(50), apart.sum(axis=2).argmin(axis=1)]
    np.testing.assert_allclose(found["score"], terms.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["contribution"], terms / 5, rtol=1e-6, atol=1e-12)


def test_prototypes_count_as_much_as_the_reconstruction_on_rows_held_out():
    found = trained_on(np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32))
    aside = found.held_out.features
    alone = dataclasses.replace(found, prototypes=None).evaluate(aside)["score"]
    near = found.evaluate(aside)["score"] - alone
    assert np.median(near) == pytest.approx(np.median(alone), rel=1e-6)
    assert 0.125 < found.prototypes.weight != 1


def test_the_weight_of_prototypes_is_bounded_and_1_where_no_row_tells_it():
    rows = np.repeat(np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), 50, axis=0)
    assert trained_on(rows).prototypes.weight == 8
    pipeline = trained_on(BLOBS[:, :2]).pipeline()
    assert _held_out.balanced(pipeline, np.zeros((1, 2), np.float32), rows[:0]).weight == 1


def test_every_form_of_the_bundle_gives_that_score_and_contributions_that_add_up(tmp_path):
    kinds = [str(kind) for kind in RNG.choice(["red", "green", "blue"], len(BLOBS))]
    rows = BLOBS.copy()
    rows[::9, 2] = np.nan
    trained = trained_on(rows, kinds, impute="median")
    bundle = export_checkpoint(trained, tmp_path / "b").bundle.path
    features = trained.held_out.features
    expected = trained.evaluate(features)
    for provider in ("native", "cpu"):
        model = aetool.load(bundle, provider=provider)
        score, why = model.score(features), model.explain(features)
        np.testing.assert_allclose(score, expected["score"], rtol=1e-4)
        np.testing.assert_allclose(why.contribution, expected["contribution"], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(why.contribution.sum(axis=1), score, rtol=1e-4)
    assert "nearest prototype" in model.manifest.score["definition"]
    assert model.manifest.score["prototypes"] == len(trained.prototypes.rows)
    assert model.manifest.score["weight"] == trained.prototypes.weight


def test_rows_between_the_normal_ones_score_higher_than_by_reconstruction_alone():
    alone = trained_on(BLOBS, score="reconstruction")
    assert alone.prototypes is None
    between = np.full((1, 5), 1.0, np.float32)
    found, without = (np.mean(one.score(between) > one.score(BLOBS)) for one in (trained_on(BLOBS), alone))
    assert found > without + 0.1


def test_no_prototype_stands_for_one_odd_row():
    odd = np.full((1, 5), 30, np.float32)
    found = learn_prototypes(np.concatenate([BLOBS, odd]), 0)
    assert np.abs(found - odd).max(axis=1).min() > 10
    twice = learn_prototypes(np.repeat(odd, 3, axis=0), 0)
    np.testing.assert_array_equal(twice, odd)


def test_the_same_seed_gives_the_same_prototypes_and_a_checkpoint_keeps_them(trained, tmp_path):
    again = trained_on(BLOBS).prototypes
    np.testing.assert_array_equal(again.rows, trained.prototypes.rows)
    assert again.weight == trained.prototypes.weight
    assert not np.array_equal(trained_on(BLOBS, seed=1).prototypes.rows, again.rows)
    save_checkpoint(trained, tmp_path / "c")
    kept = load_checkpoint(tmp_path / "c").prototypes
    np.testing.assert_array_equal(kept.rows, again.rows)
    assert kept.weight == again.weight


def test_prototypes_of_a_checkpoint_without_their_weight_have_the_weight_1(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "c")
    path, description = tmp_path / "c" / PROTOTYPES, json.loads((tmp_path / "c" / "checkpoint.json").read_text())
    save_file({"prototypes": torch.from_numpy(trained.prototypes.rows)}, path)
    description["files"][PROTOTYPES] = sha256(path.read_bytes())
    (tmp_path / "c" / "checkpoint.json").write_text(json.dumps(description))
    assert load_checkpoint(tmp_path / "c").prototypes.weight == 1


def test_a_checkpoint_of_an_older_aetool_keeps_the_score_of_the_reconstruction(trained, tmp_path):
    save_checkpoint(dataclasses.replace(trained, prototypes=None), tmp_path / "c")
    path = tmp_path / "c" / "checkpoint.json"
    description = json.loads(path.read_text())
    del description["training"]["score"]
    path.write_text(json.dumps(description))
    old = load_checkpoint(tmp_path / "c")
    z = (BLOBS.astype(np.float64) - old.statistics.mean) / old.statistics.scale
    network = old.pipeline(torch.float64).network
    with torch.no_grad():
        y = network.decode(network.encode(torch.from_numpy(z))).numpy()
    np.testing.assert_allclose(old.evaluate(BLOBS)["score"], ((z - y) ** 2).mean(axis=1))
    assert old.prototypes is None and old.training.score == "reconstruction"


def test_a_column_that_never_changes_stays_as_it_is_in_every_prototype():
    rows = BLOBS.copy()
    rows[:, 3] = 0
    assert (learn_prototypes(rows, 0)[:, 3] == 0).all()


def test_missing_values_are_left_out_as_prototypes_are_learnt():
    rows = BLOBS.copy()
    rows[RNG.random(rows.shape) < 0.3] = np.nan
    found = learn_prototypes(rows, 0)
    assert np.isfinite(found).all()
    middles = np.array([-2, 0, 2])
    assert np.abs(found[:, :, None] - middles).min(axis=2).max() < 1.2


@pytest.mark.parametrize(
    ("shape", "most"),
    [((10, 3), 5), ((2, 3), 1), ((9000, 3), 64), ((9000, 5), 100), ((20_000, 36), 192), ((9000, 128), 56)],
)
def test_prototypes_are_as_many_as_the_columns_are_worth_and_half_as_many_as_rows_at_most(shape, most):
    found = learn_prototypes(np.random.default_rng(1).normal(size=shape).astype(np.float32), 0)
    assert 0.4 * most <= len(found) <= most and found.shape[1] == shape[1]


def test_another_score_is_refused():
    with pytest.raises(InputError, match="score: expected prototypes or reconstruction, found 'both'"):
        TrainingConfig(score="both")


def test_the_core_scores_any_number_of_rows_of_a_small_model_with_prototypes_the_same_bits(trained, tmp_path):
    export_checkpoint(trained, tmp_path / "b")
    rows, bundle = BLOBS, tmp_path / "b"
    with aetool.load(bundle) as auto, aetool.load(bundle, provider="cpu") as cpu:
        if not cpu.native_rows() and not auto.native_rows():
            pytest.skip("the core is not compiled here")
        assert auto.native_rows() == sys.maxsize
        many = auto.score(rows)
        assert many[:5].tobytes() == auto.score(rows[:5]).tobytes()
        np.testing.assert_allclose(many, cpu.score(rows), rtol=1e-4)
        assert np.array_equal(auto.detect(rows), cpu.detect(rows))


def test_a_wide_model_with_prototypes_scores_many_rows_with_products_of_onnxruntime(tmp_path, make_table):
    rows = np.random.default_rng(0).normal(size=(300, 80)).astype(np.float32)
    wide = AutoencoderConfig(80, 64, (128,))
    export_checkpoint(train(make_table(rows), TrainingConfig(epochs=1), wide), tmp_path / "b")
    with aetool.load(tmp_path / "b") as auto, aetool.load(tmp_path / "b", provider="cpu") as cpu:
        np.testing.assert_allclose(auto.score(rows), cpu.score(rows), rtol=1e-5)
        assert np.array_equal(auto.detect(rows), cpu.detect(rows))
        assert auto.native_rows() in (0, 16)
