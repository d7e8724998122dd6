"""Categories in the network: one-hot in, the largest out, through training and checkpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from aetool.errors import CheckpointError, InputError
from aetool.model import (
    AutoencoderConfig,
    TrainingConfig,
    encoded_width,
    load_checkpoint,
    save_checkpoint,
    train,
)
from aetool.model._one_hot import OneHot
from aetool.tables import table_from_columns

NAN = float("nan")


def test_numbers_stay_and_categories_become_indicators():
    rows = torch.tensor([[1, 5.5, 0], [2, -1, 1], [-1, 0, 7], [NAN, NAN, 0.5]])
    encoded = OneHot([3, 0, 2])(rows)
    expected = [[0, 1, 0, 5.5, 1, 0], [0, 0, 1, -1, 0, 1], [0, 0, 0, 0, 0, 0], [0, 0, 0, NAN, 0, 0]]
    np.testing.assert_array_equal(encoded, expected)


@pytest.mark.parametrize("sizes", [(3, 0, 2), (1,), (0, 1), (2, 2), (0, 0, 5), (4, 1, 0, 3)])
def test_decoding_gives_back_what_was_encoded(sizes):
    random = np.random.default_rng(0)
    rows = np.stack([random.integers(0, size, 50) if size else random.normal(size=50) for size in sizes], axis=1)
    rows = rows.astype(float)
    one_hot = OneHot(sizes)
    found = one_hot(torch.from_numpy(rows))
    assert found.shape == (50, one_hot.n_encoded)
    np.testing.assert_array_equal(one_hot.decode(found), rows)
    np.testing.assert_array_equal(one_hot.decode_second(found), rows)


def test_a_near_tie_offers_its_second_category_and_nothing_else_does():
    encoded = torch.tensor([[0.5, 0.5 + 1e-7, 0.1], [0.5, 0.4999, 0.1], [1.0, 0.0, 0.0]]).double()
    assert OneHot([3]).decode(encoded).flatten().tolist() == [1, 0, 0]
    assert OneHot([3]).decode_second(encoded).flatten().tolist() == [0, 0, 0]


def test_a_reconstruction_that_is_no_number_names_no_category():
    assert torch.isnan(OneHot([2]).decode(torch.full((1, 2), NAN))).all()


def test_training_learns_what_goes_together(mixed, mixed_trained):
    assert mixed_trained.names == tuple(mixed)
    assert mixed_trained.categories["region"] == ("10", "20", "3")
    width = encoded_width(mixed_trained.names, mixed_trained.categories)
    assert mixed_trained.network.config.n_features == width == 4 + 1 + 3 + 1 + 2
    table = table_from_columns(mixed, categorical=["auto", "region"])
    found = mixed_trained.reconstruct(table.values)
    assert (found[:, 0] == table.values[:, 0]).mean() > 0.95
    swapped = table.values.copy()
    swapped[:, 0] = (swapped[:, 0] + 2) % 4  # the job no longer fits the size
    assert np.median(mixed_trained.score(swapped)) > 2 * np.median(mixed_trained.score(table.values))


def test_indicators_keep_their_scale(mixed_trained):
    statistics, categorical = mixed_trained.statistics, [0, 1, 2, 3, 5, 6, 7, 9, 10]
    assert (statistics.mean[categorical] == 0).all() and (statistics.scale[categorical] == 1).all()
    assert (statistics.mean[[4, 8]] != 0).all() and (statistics.scale[[4, 8]] != 1).all()


def test_unknown_and_missing_categories_score_alike_and_finite(mixed_trained):
    rows = np.array([[i, 1.0, 0, 73, 1] for i in (-1, NAN, 4, 0.5, np.inf)])
    score = mixed_trained.score(rows)
    assert np.isfinite(score).all() and len(set(score)) == 1
    assert np.isnan(mixed_trained.score(np.array([[0, NAN, 0, 73, 1]]))).all()


def test_missing_cells_of_categories_need_no_imputation_and_numbers_do(mixed):
    holes = {**mixed, "job": [None, *mixed["job"][1:]]}
    trained = train(table_from_columns(holes, categorical="auto"), TrainingConfig(epochs=1))
    assert np.isfinite(trained.held_out.scores).all()
    holes["size"] = [None, *mixed["size"][1:]]
    table = table_from_columns(holes, categorical="auto")
    with pytest.raises(InputError, match=r"missing values in size \(1\)"):
        train(table, TrainingConfig(epochs=1))
    trained = train(table, TrainingConfig(epochs=1, impute="mean"))
    unknown, missing = trained.evaluate(np.array([[-1, NAN, 3, 73, 1], [NAN, NAN, 3, 73, 1]]))["contribution"]
    assert unknown[0] > 0 and unknown[1] == 0  # an unknown category is a value, a missing one is left out
    assert (missing[:2] == 0).all() and (missing[2:] > 0).all()


def test_a_table_of_categories_alone_trains(mixed):
    table = table_from_columns(mixed, columns=["job", "owner"], categorical="auto")
    trained = train(table, TrainingConfig(epochs=1))
    assert np.isfinite(trained.score(table.values)).all()


def test_an_architecture_of_the_raw_width_is_refused(mixed):
    table = table_from_columns(mixed, categorical="auto")
    with pytest.raises(InputError, match="expects 5 features, found 9, categories counted one by one"):
        train(table, TrainingConfig(epochs=1), AutoencoderConfig(5, 3))


def test_a_checkpoint_brings_back_its_categories(mixed, mixed_trained, tmp_path):
    save_checkpoint(mixed_trained, tmp_path / "c")
    loaded = load_checkpoint(tmp_path / "c")
    assert loaded.categories == mixed_trained.categories
    rows = mixed_trained.held_out.features
    for name, values in mixed_trained.evaluate(rows).items():
        np.testing.assert_array_equal(loaded.evaluate(rows)[name], values)


def test_training_resumes(mixed, mixed_trained):
    table = table_from_columns(mixed, categorical=["auto", "region"])
    longer = replace(mixed_trained.training, epochs=21)
    resumed = train(table, longer, resume=mixed_trained)
    assert resumed.categories == mixed_trained.categories and len(resumed.history) == 21
    other = {**mixed, "job": ["x" + text for text in mixed["job"]]}
    with pytest.raises(InputError, match="not the table"):
        train(table_from_columns(other, categorical=["auto", "region"]), longer, resume=mixed_trained)


@pytest.mark.parametrize(
    "categories",
    [
        {"job": ["a", "a", "b", "c"]},
        {"nobody": ["a"]},
        {"job": []},
        {"job": 3},
        {"job": ["a", ""]},
        [],
        {"job": "a"},
    ],
    ids=str,
)
def test_a_checkpoint_with_odd_categories_is_refused(mixed_trained, tmp_path, categories):
    save_checkpoint(mixed_trained, tmp_path / "c")
    path = tmp_path / "c" / "checkpoint.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["categories"] = categories
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        load_checkpoint(tmp_path / "c")
