"""Missing values that are filled in are left out of the loss, the score, the threshold and the reasons."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

import aetool
from aetool.checks import verify
from aetool.checks.evaluation import evaluate, ranking
from aetool.checks.fidelity import Budget
from aetool.export import export_checkpoint, verify_against
from aetool.export._checkpoint import DoublePipeline, FoldedPipeline
from aetool.model import AutoencoderConfig, TrainingConfig, load_checkpoint, save_checkpoint, train
from aetool.model._loop import Loop
from aetool.model.network import Autoencoder
from aetool.model.pipeline import evaluate_rows
from aetool.quantize import QuantizeOptions, quantize
from aetool.tables import table_from_columns

COLUMNS = 9
NAMES = [f"c{i}" for i in range(COLUMNS)]


def rows_of(count, share, seed=0, odd=0):
    """Columns that hang together, `share` of the cells missing; the last `odd` rows do not hang together."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(3, COLUMNS))
    rows = np.tanh(rng.normal(size=(count, 3)) @ mixing) + 0.05 * rng.normal(size=(count, COLUMNS))
    for row in rows[count - odd :]:
        row[rng.choice(COLUMNS, 2, replace=False)] += 1.0
    rows = rows * np.geomspace(0.1, 100, COLUMNS) + np.arange(COLUMNS)
    rows[rng.random(rows.shape) < share] = np.nan
    return rows


def trained_on(rows, epochs=4, categorical=False, **architecture):
    columns = dict(zip(NAMES, rows.T, strict=True))
    if categorical:
        kinds = np.array(["red", "green", "blue", None])[np.random.default_rng(1).integers(0, 4, len(rows))]
        columns["kind"] = [None if kind is None else str(kind) for kind in kinds]
    table = table_from_columns(columns, categorical="auto" if categorical else None, source="x")
    return train(table, TrainingConfig(epochs=epochs, impute="median"), architecture.get("shape"))


@pytest.fixture(scope="module")
def trained():
    return trained_on(rows_of(400, 0.1))


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("imputed") / "b"
    export_checkpoint(trained, path)
    return path


def expected_scores(trained, rows):
    """By hand: the mean over what is there."""
    statistics = trained.statistics
    missing = np.isnan(rows)
    z = (np.where(missing, statistics.fill, rows.astype(np.float32)) - statistics.mean) / statistics.scale
    network = trained.pipeline(torch.float64).network
    with torch.no_grad():
        y = network.decode(network.encode(torch.from_numpy(z.astype(np.float64)))).numpy()
    apart = np.where(missing[:, None], 0, (z[:, None] - trained.prototypes.rows) ** 2)
    nearest = apart[np.arange(len(rows)), apart.sum(axis=2).argmin(axis=1)]
    squares = np.where(missing, 0, (z - y) ** 2 + trained.prototypes.weight * nearest)
    return squares.sum(axis=1) / (~missing).sum(axis=1), squares / (~missing).sum(axis=1)[:, None]


def test_a_missing_value_is_left_out_of_score_and_contributions(trained, bundle):
    rows = rows_of(300, 0.3, seed=3)
    rows[5] = np.nan
    rows[6, 1:] = np.nan
    with np.errstate(invalid="ignore"):
        score, contribution = expected_scores(trained, rows)
    model = aetool.load(bundle)
    np.testing.assert_allclose(model.score(rows), score, rtol=1e-4)
    found = model.explain(rows)
    np.testing.assert_allclose(found.contribution, contribution, rtol=1e-3, atol=1e-6)
    assert (np.delete(found.contribution, 5, axis=0)[np.isnan(np.delete(rows, 5, axis=0))] == 0).all()
    for row in (0, 6, 9):
        first = model.reasons(rows[row], 1)[0][0]
        assert not np.isnan(rows[row][NAMES.index(first.feature)])


def test_a_row_without_any_value_has_no_score_and_is_an_anomaly(bundle):
    model = aetool.load(bundle)
    empty = np.full((1, COLUMNS), np.nan)
    assert np.isnan(model.score(empty)).all() and model.detect(empty).all()


@pytest.mark.parametrize("categorical", [False, True])
def test_every_form_computes_the_same(categorical):
    shape = None if categorical else AutoencoderConfig(COLUMNS, 4, hidden_dims=(8,), batch_norm=True)
    trained = trained_on(rows_of(300, 0.2), categorical=categorical, shape=shape)
    pipeline = trained.pipeline()
    rows = np.array(trained.held_out.features)
    rows[::5, -1] = np.nan
    expected = trained.evaluate(rows)
    for form in (FoldedPipeline(pipeline), DoublePipeline(trained.pipeline(torch.float64))):
        found = evaluate_rows(form, rows, torch.float32)
        for name in ("score", "contribution"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_categories_and_numbers_that_are_missing_are_left_out_alike(tmp_path):
    trained = trained_on(rows_of(300, 0.1), categorical=True)
    export_checkpoint(trained, tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    rows = np.tile(np.nan_to_num(trained.held_out.features[:1], nan=0), (4, 1))
    rows[1, -1] = rows[2, 0] = np.nan
    rows[3, -1] = -1  # a category that is none of those: a value
    contribution = model.explain(rows).contribution
    assert contribution[1, -1] == contribution[2, 0] == 0
    assert contribution[3, -1] > 0
    # What is left counts for more, by the number of encoded features that are left out.
    width = trained.network.config.n_features
    np.testing.assert_allclose(contribution[2, -1] * (width - 1) / width > 0, True)
    assert all(record.passed for record in verify.verify_bundle(tmp_path / "b"))


def test_false_alarms_by_missing_cells_go_and_anomalies_are_found_better():
    trained = trained_on(rows_of(1500, 0.05), epochs=30)
    rows, labels = rows_of(1060, 0.05, seed=7, odd=60), np.arange(1060) >= 1000
    before = dataclasses.replace(trained, statistics=dataclasses.replace(trained.statistics, scores_filled=True))
    new, old = (ranking(one.evaluate(rows)["score"], labels)["average_precision"] for one in (trained, before))
    assert new > old + 0.02


def test_what_is_missing_counts_in_no_loss():
    config = AutoencoderConfig(3, 2)
    rows = torch.tensor([[1.0, torch.nan, 2.0]])
    loop = Loop(Autoencoder(config), rows, rows, TrainingConfig(epochs=1), fill=torch.tensor([0.0, 7.0, 0.0]))
    reconstruction = torch.tensor([[0.0, 99.0, 0.0]], requires_grad=True)
    loss = loop._loss(reconstruction, rows)
    loss.backward()
    assert loss.item() == 2.5 and reconstruction.grad.tolist() == [[-1.0, 0.0, -2.0]]
    assert loop._shown(rows).tolist() == [[1.0, 7.0, 2.0]]
    shown = torch.stack([loop._hidden(rows)[0] for _ in range(500)])
    assert (shown[:, 1] == 7).all() and 0.1 < (shown[:, 0] == 0).float().mean() < 0.3


def test_held_out_rows_without_any_value_choose_no_threshold(tmp_path):
    rows = rows_of(300, 0.1)
    rows[::10] = np.nan
    trained = trained_on(rows)
    assert np.isfinite(trained.held_out.scores).all()
    save_checkpoint(trained, tmp_path / "c")
    export_checkpoint(tmp_path / "c", tmp_path / "b")


def test_a_checkpoint_says_how_it_scores_and_one_of_an_older_aetool_goes_on_as_it_was(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "new")
    assert load_checkpoint(tmp_path / "new").statistics.leaves_out
    save_checkpoint(trained, tmp_path / "old")
    description = json.loads((tmp_path / "old" / "checkpoint.json").read_text())
    assert description.pop("scores_filled") is False
    del description["training"]["score"], description["files"]["prototypes.safetensors"]
    (tmp_path / "old" / "checkpoint.json").write_text(json.dumps(description))
    old = load_checkpoint(tmp_path / "old")
    rows = rows_of(50, 0.3, seed=3)
    missing = np.isnan(rows)
    z = (np.where(missing, old.statistics.fill, rows) - old.statistics.mean) / old.statistics.scale
    network = old.pipeline(torch.float64).network
    with torch.no_grad():
        y = network.decode(network.encode(torch.from_numpy(z))).numpy()
    np.testing.assert_allclose(old.evaluate(rows)["score"], ((z - y) ** 2).mean(axis=1), rtol=1e-4)
    export_checkpoint(old, tmp_path / "b")
    np.testing.assert_allclose(aetool.load(tmp_path / "b").score(rows), ((z - y) ** 2).mean(axis=1), rtol=1e-4)
    assert "left out" not in aetool.load(tmp_path / "b").manifest.score["definition"]


def test_the_definition_of_the_score_says_so_and_the_bundle_is_verified(trained, bundle):
    model = aetool.load(bundle)
    assert model.manifest.score["definition"].endswith("; missing values are left out")
    assert all(record.passed for record in verify_against(bundle, trained))
    assert {node.op_type for node in onnx.load(bundle / "detector.onnx").graph.node} >= {"IsNaN", "Where"}
    found = evaluate(model, rows_of(50, 0.3).astype(np.float32))
    assert np.isfinite(found.reconstruction_rmse)


def test_another_precision_leaves_the_same_out(trained, tmp_path):
    export_checkpoint(trained, tmp_path / "b")
    rows = rows_of(300, 0.1, seed=4).astype(np.float32)
    budget, quick = Budget(max_flips=0.05), QuantizeOptions(rounds=1, seconds=0.01)
    quantize(tmp_path / "b", rows, precision="fp16", budget=budget, options=quick)
    with aetool.load(tmp_path / "b", precision="fp16") as model:
        assert (model.explain(rows).contribution[np.isnan(rows)] == 0).all()
        assert np.isfinite(model.score(rows)).all()
