"""A graph that is not the model is not published: the proof is of the very bytes that would ship."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from aetool.errors import ExportError, VerificationError
from aetool.export import ExportOptions, export_checkpoint, publish
from aetool.export import _checkpoint as checkpoint
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train

Tamper = Callable[[ModelProto], None]


def change_weights(change: Callable[[np.ndarray], np.ndarray]) -> Tamper:
    def tamper(model: ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda each: np.prod(each.dims))
        weights = numpy_helper.to_array(tensor)
        changed = change(weights.copy()).astype(weights.dtype)
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))

    return tamper


def largest_by_a_percent(weights: np.ndarray) -> np.ndarray:
    weights.flat[np.abs(weights).argmax()] *= 1.01
    return weights


def one_nan(weights: np.ndarray) -> np.ndarray:
    weights.flat[0] = np.nan
    return weights


def after_input(*nodes: onnx.NodeProto, constants: dict[str, Any] | None = None) -> Tamper:
    """Insert `nodes`, which read "given" and write "taken", between the input and its readers."""

    def tamper(model: ModelProto) -> None:
        given = model.graph.input[0].name
        for node in model.graph.node:
            node.input[:] = ["taken" if name == given else name for name in node.input]
        added = []
        for node in nodes:
            new = onnx.NodeProto()
            new.CopyFrom(node)
            new.input[:] = [given if name == "given" else name for name in new.input]
            added.append(new)
        rest = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*added, *rest])
        for name, value in (constants or {}).items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))

    return tamper


def rows_of(count: int, width: int = 30) -> np.ndarray:
    return np.zeros((count, width), np.float32)


def fixed_batch(model: ModelProto) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1000


def other_threshold(model: ModelProto) -> None:
    names = {name for node in model.graph.node if node.op_type == "LessOrEqual" for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name in names:
            value = numpy_helper.to_array(tensor) * 3
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))


add = helper.make_node("Add", ["given", "extra"], ["taken"])
small = {"small": np.float32(1e-3)}
TAMPERED: dict[str, tuple[str, Tamper, str]] = {
    "encoder weight 1 % off": ("encoder", change_weights(largest_by_a_percent), "range-scaled difference"),
    "decoder weight 1 % off": ("decoder", change_weights(largest_by_a_percent), "range-scaled difference"),
    "detector weight 1 % off": ("detector", change_weights(largest_by_a_percent), "does not compute"),
    "NaN weight": ("autoencoder", change_weights(one_nan), "holds NaN or infinity"),
    "no weights": ("encoder", change_weights(np.zeros_like), "range-scaled difference"),
    "threshold": ("detector", other_threshold, "decisions flipped"),
    "dropout": (
        "encoder",
        after_input(
            helper.make_node("Dropout", ["given", "ratio", "mode"], ["taken"]),
            constants={"ratio": np.float32(0), "mode": np.array(True)},
        ),
        r"\(Dropout\) is in training mode",
    ),
    "noise": (
        "encoder",
        after_input(helper.make_node("RandomNormalLike", ["given"], ["extra"], scale=1e-3), add),
        r"\(RandomNormalLike\) is random",
    ),
    "fixed batch": ("decoder", fixed_batch, "batch dimension is fixed"),
    # Its shape says any batch, its arithmetic does not.
    "constant of 1000 rows": ("encoder", after_input(add, constants={"extra": rows_of(1000)}), "encoder"),
    "constant of 64 rows": (
        "detector",
        after_input(add, constants={"extra": rows_of(64)}),
        "does not run on 1000",
    ),
    "rows reshaped to 1000": (
        "detector",
        after_input(
            helper.make_node("Reshape", ["given", "shape"], ["taken"]), constants={"shape": np.array([1000, 30])}
        ),
        "does not run on 1 rows",
    ),
    "batch mean": (
        "detector",
        after_input(
            helper.make_node("ReduceMean", ["given", "axes"], ["batch_mean"]),
            helper.make_node("Mul", ["batch_mean", "small"], ["extra"]),
            add,
            constants={"axes": np.array([0]), **small},
        ),
        "detector",
    ),
    "first row in every row": (
        "encoder",
        after_input(
            helper.make_node("Gather", ["given", "zero"], ["first"]),
            helper.make_node("Mul", ["first", "small"], ["extra"]),
            add,
            constants={"zero": np.array([0]), **small},
        ),
        "range-scaled difference",
    ),
    "NaN taken for 0": (
        "detector",
        after_input(
            helper.make_node("IsNaN", ["given"], ["is_nan"]),
            helper.make_node("Where", ["is_nan", "zero", "given"], ["taken"]),
            constants={"zero": np.float32(0)},
        ),
        r"a row holding nan scores .* passes as normal",
    ),
}


@pytest.fixture(scope="module")
def exported() -> dict[type, ModelProto]:
    return {}


@pytest.fixture(autouse=True)
def one_export(exported: dict[type, ModelProto], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from the same model: PyTorch's exporter, the slow part, runs once for each form of it."""
    export = checkpoint.export_graph

    def once(module: Any, *arguments: Any) -> ModelProto:
        kind = type(module.pipeline)
        if kind not in exported:
            exported[kind] = export(module, *arguments)
        return copy.deepcopy(exported[kind])

    monkeypatch.setattr(checkpoint, "export_graph", once)


def tamper_with(monkeypatch: pytest.MonkeyPatch, graph: str, tamper: Tamper) -> None:
    """Change one graph between its export and its verification."""
    cut = publish.slice_graphs

    def tampered(*arguments: Any) -> dict[str, bytes]:
        graphs = cut(*arguments)
        model = onnx.load_from_string(graphs[graph])
        tamper(model)
        onnx.checker.check_model(model)  # the checker sees nothing wrong
        return {**graphs, graph: model.SerializeToString()}

    monkeypatch.setattr(publish, "slice_graphs", tampered)


@pytest.mark.parametrize("case", TAMPERED)
def test_tampered_graph_is_not_published(
    case: str, trained: TrainedAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, tamper, reason = TAMPERED[case]
    tamper_with(monkeypatch, graph, tamper)
    with pytest.raises((VerificationError, ExportError), match=reason) as caught:
        export_checkpoint(trained, tmp_path / "bundle")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_failed_export_leaves_the_bundle_before(
    trained: TrainedAutoencoder, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    tamper_with(monkeypatch, "decoder", change_weights(one_nan))
    with pytest.raises(ExportError, match="NaN"):
        export_checkpoint(trained, path, ExportOptions(overwrite=True))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert list(tmp_path.iterdir()) == [path]


def test_fault_among_normal_rows_does_not_hide_behind_a_far_anomaly(
    make_table: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(8).normal(size=(80, 5))
    labels = np.arange(80) == 0
    rows[0] = 1e8  # beside which any error of a normal row is nothing
    trained = train(make_table(rows, labels), TrainingConfig(epochs=2), AutoencoderConfig(5, 3))

    def shift_bias(model: ModelProto) -> None:
        (bias,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [3])
        values = numpy_helper.to_array(bias)
        bias.CopyFrom(numpy_helper.from_array((values + 0.01).astype(values.dtype), bias.name))

    monkeypatch.undo()  # another model than the one exported for all
    tamper_with(monkeypatch, "encoder", shift_bias)
    with pytest.raises(
        VerificationError, match="encoder embedding on normal golden rows: range-scaled difference"
    ):
        export_checkpoint(trained, tmp_path / "bundle")
