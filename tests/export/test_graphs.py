"""The graphs: the opset asked for, nothing of training, nothing of this machine, each alone enough."""

import gc
import getpass
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import GRAPHS
from aetool.errors import ExportError
from aetool.export import ExportOptions, export_checkpoint
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.opset import OPSETS
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train
from aetool.model.pipeline import Outputs
from aetool.onnx_check.dangers import RANDOM


@pytest.fixture(scope="module")
def deep(make_table: Callable[..., Any]) -> TrainedAutoencoder:
    """Everything at once that must not reach a graph, and imputation, which must."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 7))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    shape = AutoencoderConfig(7, 5, (9, 6), "gelu", 0.3, "both", True, 0.2)
    return train(make_table(rows), TrainingConfig(epochs=3, impute="median"), shape)


@pytest.fixture(scope="module")
def deep_bundle(deep: TrainedAutoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_checkpoint(deep, tmp_path_factory.mktemp("deep") / "deep").bundle.path


@pytest.fixture(scope="module", params=["cancer", "deep"])
def any_bundle(request: pytest.FixtureRequest, bundle: Path, deep_bundle: Path) -> Path:
    return bundle if request.param == "cancer" else deep_bundle


@pytest.mark.parametrize("was_on", [True, False])
def test_garbage_is_left_for_after_the_export_even_of_one_that_fails(
    was_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def export(*_: Any, **__: Any) -> None:
        seen.append(gc.isenabled())
        raise RuntimeError

    class Score(nn.Module):
        def forward(self, features: torch.Tensor) -> Outputs:
            return Outputs(None, features, features.sum(dim=1), features)

    monkeypatch.setattr(torch.onnx, "export", export)
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ExportError, match="refuses the model"):
            export_graph(WithDecision(Score().eval(), 1.0), torch.zeros(2, 3), OPSETS[0])
        assert set(seen) == {False} and gc.isenabled() == was_on
    finally:
        gc.enable()


def graphs(path: Path) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load(path / f"{name}.onnx") for name in GRAPHS}


@pytest.mark.parametrize("opset", [15, 17, 21])
def test_opset_asked_for_is_the_opset_written(deep: TrainedAutoencoder, tmp_path: Path, opset: int) -> None:
    exported = export_checkpoint(deep, tmp_path / "b", ExportOptions(opset=opset))
    assert exported.bundle.manifest.opset == opset
    for model in graphs(tmp_path / "b").values():
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        assert model.ir_version == exported.bundle.manifest.ir_version
        assert model.ir_version <= 10  # what onnxruntime 1.18 reads


@pytest.mark.parametrize("opset", [0, 3, 12, 99, -1, "18", 18.0, True])
def test_opset_that_cannot_be_written_is_refused(trained: TrainedAutoencoder, tmp_path: Path, opset: Any) -> None:
    with pytest.raises(ExportError, match=r"opset: expected 13 to \d+, found"):
        export_checkpoint(trained, tmp_path / "b", ExportOptions(opset=opset))
    assert list(tmp_path.iterdir()) == []


def test_opset_beyond_the_runtime_is_refused(trained: TrainedAutoencoder, tmp_path: Path) -> None:
    """The newest that onnx knows: written and proven, or refused; never something else."""
    try:
        export_checkpoint(trained, tmp_path / "b", ExportOptions(opset=OPSETS[-1]))
    except ExportError as error:
        assert "opset" in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert onnx.load(tmp_path / "b" / "encoder.onnx").opset_import[0].version == OPSETS[-1]


def test_exporter_that_writes_another_opset_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    export = torch.onnx.export

    def stubborn(*arguments: Any, opset_version: int, **options: Any) -> Any:
        return export(*arguments, opset_version=18, **options)

    monkeypatch.setattr(torch.onnx, "export", stubborn)
    model = export_graph(Five(), torch.zeros(3, 2), 20)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]


class Five(nn.Module):
    """Features in, five outputs out."""

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return features * 2, features + 1, features.sum(1), features, features.sum(1) > 0


class Noisy(Five):
    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().forward(features + torch.randn_like(features))


class Branching(Five):
    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().forward(features if features.sum() > 0 else -features)


class Fixed(Five):
    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().forward(features + torch.ones(3, 2))


def test_noise_in_eval_mode_is_refused() -> None:
    with pytest.raises(ExportError, match="two runs on the same rows differ in embedding"):
        export_graph(Noisy(), torch.zeros(3, 2), 18)


def test_control_flow_on_data_is_refused_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"torch\.onnx\.export refuses the model") as caught:
        export_graph(Branching(), torch.zeros(3, 2), 18)
    assert "\n" not in str(caught.value)


def test_fixed_batch_is_refused() -> None:
    with pytest.raises(ExportError, match="batch dimension is fixed"):
        export_graph(Fixed(), torch.zeros(3, 2), 18)


def test_nothing_of_training_is_left(any_bundle: Path) -> None:
    for name, model in graphs(any_bundle).items():
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & ({"Dropout", "BatchNormalization"} | RANDOM), name
        assert {node.domain for node in model.graph.node} <= {""}
        assert not model.functions


def test_batch_is_symbolic_and_shapes_are_told(any_bundle: Path) -> None:
    for name, model in graphs(any_bundle).items():
        for value in [*model.graph.input, *model.graph.output]:
            dims = value.type.tensor_type.shape.dim
            side = "thresholds" if value.name == "threshold" else "batch"
            assert dims[0].dim_param == side, (name, value.name)
            assert all(dim.dim_value > 0 for dim in dims[1:]), (name, value.name)


def test_inputs_and_outputs_have_their_names(bundle: Path) -> None:
    found = {
        name: ([value.name for value in model.graph.input], [value.name for value in model.graph.output])
        for name, model in graphs(bundle).items()
    }
    assert found == {
        "encoder": (["features"], ["embedding"]),
        "decoder": (["embedding"], ["reconstruction"]),
        "autoencoder": (["features"], ["embedding", "reconstruction"]),
        "detector": (["features", "threshold"], ["score", "is_anomaly"]),
        "explainer": (["features"], ["contribution", "reconstruction"]),
    }


def test_an_input_with_a_default_keeps_the_value_behind_it_bound(bundle: Path) -> None:
    """Its shape is stated: unbound, onnxruntime would allocate it in each run, a tenth of one row's time."""
    (comparison,) = (node for node in graphs(bundle)["detector"].graph.node if node.op_type == "LessOrEqual")
    inner = Bundle.open(bundle).variant("fp32").inner_values
    assert inner is not None and comparison.output[0] in inner["detector"]


def test_weights_are_inside(any_bundle: Path) -> None:
    for model in graphs(any_bundle).values():
        assert model.graph.initializer
        for tensor in model.graph.initializer:
            assert tensor.data_location == onnx.TensorProto.DEFAULT
            assert not tensor.external_data


def test_encoder_carries_no_decoder(bundle: Path) -> None:
    sizes = {name: len(model.graph.node) for name, model in graphs(bundle).items()}
    assert sizes["encoder"] + sizes["decoder"] == sizes["autoencoder"]


def test_metadata_tells_what_a_bare_runtime_needs(any_bundle: Path) -> None:
    manifest = Bundle.open(any_bundle).manifest
    for name in GRAPHS:
        session = onnxruntime.InferenceSession(any_bundle / f"{name}.onnx", providers=["CPUExecutionProvider"])
        found = session.get_modelmeta().custom_metadata_map
        assert found["name"] == manifest.name
        assert found["graph"] == name
        assert found["bundle"] == manifest.id
        assert found["precision"] == "fp32"
        assert float(found["threshold"]) == manifest.threshold["value"]
        assert tuple(json.loads(found["feature_names"])) == manifest.feature_names


def test_no_trace_of_the_machine_that_exported(any_bundle: Path) -> None:
    traces = [
        str(Path.cwd()),
        str(Path.home()),
        str(any_bundle.parent),
        torch.__file__.rsplit("/", 2)[0],
        "site-packages",
        "aetool/",
        ".py",
        "forward(",
        "stack_trace",
    ]
    traces += [word for word in (getpass.getuser(), socket.gethostname()) if len(word) > 4]
    for path in any_bundle.iterdir():
        content = path.read_bytes()
        found = [trace for trace in traces if trace.encode() in content]
        assert found == [] or (path.suffix == ".md" and found == ["aetool/"]), path.name


def test_each_file_alone_gives_the_golden_outputs(any_bundle: Path) -> None:
    golden = dict(np.load(any_bundle / "golden.npz", allow_pickle=False))
    threshold = Bundle.open(any_bundle).manifest.threshold["value"]
    sure = np.abs(golden["score"] - threshold) > 1e-4 * threshold
    for name in GRAPHS:
        content = (any_bundle / f"{name}.onnx").read_bytes()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0].name
        feed = {given: golden[given].astype(np.float32)}
        by_reference = ReferenceEvaluator(onnx.load_from_string(content)).run(None, feed)
        for output, ours, theirs in zip(session.get_outputs(), session.run(None, feed), by_reference, strict=True):
            expected = golden[output.name]
            assert ours.shape == theirs.shape == expected.shape
            if ours.dtype == bool:
                np.testing.assert_array_equal(ours[sure], expected[sure])
                np.testing.assert_array_equal(theirs[sure], expected[sure])
            else:
                scale = np.abs(expected).max(axis=0)
                assert np.abs((ours - expected) / scale).max() <= 1e-5, (name, output.name)
                assert np.abs((theirs - ours) / scale).max() <= 1e-5, (name, output.name)


def test_missing_values_are_filled_inside_the_graph(deep: TrainedAutoencoder, deep_bundle: Path) -> None:
    assert deep.statistics.fill is not None
    session = onnxruntime.InferenceSession(deep_bundle / "detector.onnx", providers=["CPUExecutionProvider"])
    rows = np.nan_to_num(deep.held_out.features[:6])
    rows[2, 3:] = deep.statistics.fill[3:]
    gap = rows.copy()
    gap[2, 3:] = np.nan
    filled, missing = (session.run(None, {"features": part}) for part in (rows, gap))
    np.testing.assert_array_equal(np.delete(filled[0], 2), np.delete(missing[0], 2))
    encoder = onnxruntime.InferenceSession(deep_bundle / "encoder.onnx", providers=["CPUExecutionProvider"])
    embeddings = [encoder.run(None, {"features": part})[0] for part in (rows, gap)]
    np.testing.assert_array_equal(*embeddings)
    # The score is that of the values that are there: the filled ones contribute nothing.
    squares = deep.evaluate(rows)["contribution"][2] * rows.shape[1]
    np.testing.assert_allclose(missing[0][2], squares[:3].mean(), rtol=1e-4)
