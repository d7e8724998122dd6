"""The explainer of every kind of bundle: contributions that add up to the score, each what its definition says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx_models import plain, rows_of
from pyod.models.auto_encoder import AutoEncoder
from torch import nn

import aetool
from aetool.checks.verify import verify_bundle
from aetool.export import (
    AdoptOptions,
    ExportOptions,
    ModuleOptions,
    adopt,
    export_checkpoint,
    export_module,
    export_pyod,
)
from aetool.model import TrainedAutoencoder, TrainingConfig, train

SCORES = ("mse", "mae", "euclidean")
ROWS = np.random.default_rng(0).normal(2, 3, size=(60, 5)).astype(np.float32)


def by_hand(score: str, z: Any, y: Any) -> Any:
    distance = np.abs(z - y) if score == "mae" else (z - y) ** 2
    rest = tuple(range(1, z.ndim))
    if score == "euclidean":
        return distance / np.sqrt(distance.sum(axis=rest, keepdims=True))
    return distance / np.prod(z.shape[1:])


def assert_adds_up(path: Path, rows: Any, rounding: float = 1e-6) -> Any:
    assert all(record.passed for record in verify_bundle(path))
    model = aetool.load(path)
    found = model.explain(rows)
    total = found.contribution.reshape(len(rows), -1).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(total, model.score(rows), rtol=rounding)
    np.testing.assert_array_equal(found.expected, model.reconstruct(rows))
    return found


@pytest.mark.parametrize(("score", "shape"), [("mse", (5,)), ("mae", (1, 4, 4)), ("euclidean", (1, 4, 4))])
def test_of_a_module(score: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = np.random.default_rng(1).normal(size=(60, *shape)).astype(np.float32)
    module = nn.Linear(5, 5) if len(shape) == 1 else nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh())
    export_module(module, tmp_path / "b", rows=rows, reading=ModuleOptions(score=score))
    found = assert_adds_up(tmp_path / "b", rows)
    assert found.contribution.shape == rows.shape
    np.testing.assert_allclose(found.contribution, by_hand(score, rows, found.expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("scaled", [False, True])
def test_of_an_adopted_file(score: Any, scaled: bool, tmp_path: Path) -> None:
    rows = rows_of()
    onnx.save(plain(), tmp_path / "net.onnx")
    mean, scale = (rows.mean(axis=0), rows.std(axis=0)) if scaled else (None, None)
    adopt(tmp_path / "net.onnx", tmp_path / "b", rows, reading=AdoptOptions(mean=mean, scale=scale, score=score))
    found = assert_adds_up(tmp_path / "b", rows)
    z, y = rows, found.expected
    if scaled:
        z, y = ((part - mean) / scale for part in (z, y))
    np.testing.assert_allclose(found.contribution, by_hand(score, z, y), rtol=1e-3, atol=1e-6)


def test_of_a_pyod_detector(tmp_path: Path) -> None:
    detector = AutoEncoder(epoch_num=1, verbose=0, hidden_neuron_list=[4], contamination=0.1).fit(ROWS)
    export_pyod(detector, ROWS, tmp_path / "b")
    assert_adds_up(tmp_path / "b", ROWS)


def test_of_rows_that_are_as_expected_are_zeros(tmp_path: Path) -> None:
    export_module(nn.Identity(), tmp_path / "b", rows=ROWS, reading=ModuleOptions(score="euclidean"))
    found = assert_adds_up(tmp_path / "b", ROWS)
    assert not found.contribution.any()


def test_of_a_column_of_categories_is_the_sum_over_its_indicators(mixed_trained: Any, mixed_bundle: Path) -> None:
    model = aetool.load(mixed_bundle)
    rows = mixed_trained.held_out.features
    found = assert_adds_up(mixed_bundle, rows, rounding=3e-6)  # twice as many terms as features
    assert found.contribution.shape == rows.shape
    pipeline = mixed_trained.pipeline(torch.float64)
    encoded = pipeline.encoding(torch.from_numpy(rows).double())
    z = (encoded - pipeline.mean) / pipeline.scale
    squares = (z - pipeline.network(z)[1]) ** 2 + pipeline.nearest(z, None)[1]
    squares = (squares / z.shape[1]).detach().numpy()
    sizes = [len(model.categories.get(name, "1")) for name in model.feature_names]
    starts = np.cumsum([0, *sizes[:-1]])
    expected = np.add.reduceat(squares, starts, axis=1)
    np.testing.assert_allclose(found.contribution, expected, rtol=1e-3, atol=1e-6)
    rows[0, list(model.feature_names).index("job")] = -1
    assert np.isfinite(model.explain(rows).contribution).all()


def test_of_missing_values_that_are_filled_in(make_table: Any, tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[::7, 2] = np.nan
    export_checkpoint(train(make_table(rows), TrainingConfig(epochs=3, impute="median")), tmp_path / "b")
    found = assert_adds_up(tmp_path / "b", rows)
    assert np.isnan(found.found[::7, 2]).all() and np.isfinite(found.contribution).all()


def test_costs_the_detector_nothing(trained: TrainedAutoencoder, bundle: Path, tmp_path: Path) -> None:
    """The residual is squared and summed in one operation, as if there were no explainer.

    Two products are left: features are scaled, and the distance to a prototype is weighed.
    """
    operators = [node.op_type for node in onnx.load(bundle / "detector.onnx").graph.node]
    assert "ReduceSumSquare" in operators and operators.count("Mul") == 2
    export_checkpoint(trained, tmp_path / "old", ExportOptions(opset=15))
    assert_adds_up(tmp_path / "old", trained.held_out.features)


def test_reasons_name_categories_the_unknown_ones_as_they_were_given(mixed_bundle: Path) -> None:
    model = aetool.load(mixed_bundle)
    given = {"job": ["pilot", "astronaut", None], "size": [2.1, 2.1, 2.1], "region": [3, 77, 3]}
    columns = {**given, "weight": [76.0] * 3, "owner": [True, True, False]}
    by_name = [{reason.feature: reason for reason in row} for row in model.reasons(columns, 5)]
    assert [row["job"].found for row in by_name] == ["pilot", "astronaut", None]
    assert [row["region"].found for row in by_name] == ["3", "77", "3"]
    assert by_name[0]["size"].found == 2.1 and by_name[0]["owner"].found == "true"
    assert all(row["job"].expected in model.categories["job"] for row in by_name)
    assert sum(reason.share for reason in by_name[0].values()) == pytest.approx(1, rel=1e-5)
    one = {reason.feature: reason.found for reason in model.reasons({k: v[1] for k, v in columns.items()}, 5)[0]}
    assert (one["job"], one["region"]) == ("astronaut", "77")
    indexes = model.explain(columns).found
    assert {reason.feature: reason.found for reason in model.reasons(indexes, 5)[1]}["job"] == ""
