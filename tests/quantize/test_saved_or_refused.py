"""A precision that costs too much is saved by another recipe, or refused with what was tried."""

import dataclasses
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import aetool
from aetool import BudgetError, ExportError
from aetool.bundle.bundle import Bundle
from aetool.checks.fidelity import Budget
from aetool.quantize import QuantizeOptions, quantize
from aetool.quantize._convert import Converter
from aetool.quantize._merge_graphs import whole_graph
from aetool.quantize._trial import Workbench

QUICK = QuantizeOptions(rounds=1, seconds=0.01)


def test_ranges_that_one_wild_cell_spoils_are_found_by_another_calibration(uneven, uneven_rows, copied):
    rows, labels = (part.copy() for part in uneven_rows)
    rows[np.flatnonzero(~labels)[::1000], 1] = 1e6  # a column of units
    path = copied(uneven)
    budget = Budget(max_auroc_drop=0.02, max_flips=0.02)
    made = quantize(path, rows, labels, options=QUICK, budget=budget)
    assert len(made.tried) > 1 and made.tried[0].reasons and not made.tried[-1].reasons
    assert made.tried[-1].recipe.calibration != "minmax" or made.tried[-1].recipe.in_float
    assert [attempt["reasons"] for attempt in made.figures["tried"]] == [list(a.reasons) for a in made.tried]


def test_the_most_sensitive_layers_stay_in_float_where_calibration_does_not_help(
    uneven, uneven_rows, copied, monkeypatch
):
    """A layer whose weights are one giant among small ones has 8 bits for the giant alone."""
    from aetool.quantize import _merge_graphs as merge_graphs
    from aetool.quantize import _trial as trial

    def spoilt(bundle):
        model = merge_graphs.whole_graph(bundle)
        tensor = next(t for t in model.graph.initializer if t.name.endswith("encoder.2.weight"))
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[:, 0] = 3e3  # on a unit that is switched off: float computes as before
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        first = {t.name: t for t in model.graph.initializer}
        for name in ("pipeline.encoder.0.weight", "pipeline.encoder.0.bias"):
            off = onnx.numpy_helper.to_array(first[name]).copy()
            off[0] = 0
            first[name].CopyFrom(onnx.numpy_helper.from_array(off, name))
        return model

    monkeypatch.setattr(trial, "whole_graph", spoilt)
    path = copied(uneven)
    made = quantize(path, *uneven_rows, options=QUICK, budget=Budget(max_auroc_drop=0.01, max_flips=0.02))
    assert made.tried[-1].recipe.in_float[0] == "pipeline.encoder.2.weight"
    assert made.figures["recipe"]["in_float"][0] == "pipeline.encoder.2.weight"
    assert [attempt.recipe.calibration for attempt in made.tried[:3]] == ["minmax", "percentile", "entropy"]


def at_the_threshold(bundle, rows, labels):
    """Rows between a normal and an abnormal one each, whose score is the threshold or next to it."""
    with aetool.load(bundle, provider="cpu") as model:
        flagged = model.detect(rows)
        low, high = (rows[mask][:100].astype(np.float64) for mask in (~flagged & ~labels, flagged & labels))
        low = low[: len(high)]
        for _ in range(30):
            middle = (low + high) / 2
            above = model.detect(middle)[:, None]
            low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.concatenate([rows, low, high]).astype(np.float32), np.append(labels, np.zeros(2 * len(low), bool))


def test_what_nothing_saves_is_refused_with_layer_column_and_everything_tried(uneven, uneven_rows, copied):
    path = copied(uneven)
    before = sorted(file.name for file in path.rglob("*"))
    with pytest.raises(BudgetError) as caught:
        quantize(
            path,
            *at_the_threshold(uneven, *uneven_rows),
            options=QUICK,
            budget=Budget(max_flips=0.0, max_auroc_drop=0.0),
        )
    message = str(caught.value)
    assert "int8 was not added: " in message and "flips" in message
    assert "calibration minmax, calibration percentile, calibration entropy" in message
    assert "the most sensitive layer is pipeline." in message and "column c" in message and "suffers" in message
    assert len(caught.value.tried) > 3 and all(attempt["reasons"] for attempt in caught.value.tried)
    assert sorted(file.name for file in path.rglob("*")) == before
    assert Bundle.open_whole(path).manifest == Bundle.open(uneven).manifest


def test_a_column_of_wild_values_is_blamed_by_its_name(uneven, uneven_rows, copied):
    rows, labels = (part.copy() for part in uneven_rows)
    rows[np.flatnonzero(~labels)[::20], 1] = 1e6
    with pytest.raises(BudgetError, match=r"column c1 has values [0-9]+ times its usual range"):
        quantize(copied(uneven), rows, labels, options=QUICK, budget=Budget(max_flips=1e-4))


def test_what_is_too_slow_is_refused(uneven, uneven_rows, copied):
    path = copied(uneven)
    with pytest.raises(BudgetError, match=r"speedup [0-9.]+ below 1e\+06"):
        quantize(path, *uneven_rows, precision="bf16", options=QUICK, budget=Budget(min_speedup=1e6))
    assert list(Bundle.open(path).manifest.variants) == ["fp32"]


def test_what_is_neither_smaller_nor_faster_is_refused_unless_speed_is_said_not_to_matter(
    uneven, uneven_rows, copied, monkeypatch
):
    from aetool.quantize import _variant as variant

    path = copied(uneven)
    slow = {"graph": "score", "one_row": 0.9, "bulk": 1.0}
    monkeypatch.setattr(variant, "measure_speed", lambda *_, **__: slow)
    monkeypatch.setattr(Workbench, "make", _doubled(Workbench.make))
    limits = {"max_auroc_drop": None, "max_flips": None}
    with pytest.raises(BudgetError, match="neither smaller nor faster than fp32 here"):
        quantize(path, *uneven_rows, precision="bf16", budget=Budget(**limits))
    quantize(path, *uneven_rows, precision="bf16", budget=Budget(**limits, min_speedup=0.0))


def _doubled(make):
    """A trial whose graphs carry as many bytes again, for nothing."""

    def trial(bench, recipe):
        found = make(bench, recipe)
        graphs = {}
        for name, content in found.graphs.items():
            model = onnx.load_from_string(content)
            model.doc_string = "x" * len(bench.float32[name])
            graphs[name] = model.SerializeToString()
        return dataclasses.replace(found, graphs=graphs)

    return trial


def test_a_bundle_in_float64_is_refused_in_words(copied, make_table, tmp_path):
    from aetool.export import export_checkpoint
    from aetool.model import AutoencoderConfig, TrainingConfig, train

    random = np.random.default_rng(0)
    hidden = random.normal(size=(400, 2))
    table = make_table((hidden @ random.normal(size=(2, 6))).astype(np.float64))
    trained = train(table, TrainingConfig(epochs=1), AutoencoderConfig(6, 3))
    export_checkpoint(trained, tmp_path / "wide")
    bundle = Bundle.open(tmp_path / "wide")
    model = whole_graph(bundle)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            wide = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    with pytest.raises(ExportError, match="the graphs compute in float64"):
        Converter(model, np.zeros((3, 6), np.float32)).layers("int8")


def test_columns_of_categories_and_missing_values_are_kept(mixed_bundle, mixed, copied, loose):
    path = copied(mixed_bundle)
    exact = aetool.load(path)
    indexes = np.stack(
        [
            np.array([exact.categories[name].index(_text(v)) for v in values], np.float32)
            if name in exact.categories
            else np.array(values, np.float32)
            for name, values in ((name, mixed[name]) for name in exact.feature_names)
        ],
        axis=1,
    )
    quantize(path, indexes, options=QUICK, budget=loose)
    int8 = aetool.load(path, precision="int8")
    assert np.corrcoef(exact.score(mixed), int8.score(mixed))[0, 1] > 0.98
    names = [exact.to_columns(model.reconstruct(mixed))["job"] for model in (exact, int8)]
    assert np.mean(names[0] == names[1]) > 0.95
    unknown = {**mixed, "job": ["astronaut"] * len(mixed["job"])}
    assert np.isfinite(int8.score(unknown)).all()


def _text(value):
    return "true" if value is True else "false" if value is False else str(value)


def test_products_of_somebody_elses_file_are_computed_in_integers(tmp_path, loose):
    from aetool.export import adopt

    random = np.random.default_rng(0)
    nodes, constants, value = [], [], "x"
    for i, (into, out) in enumerate([(20, 64), (64, 20)]):
        constants += [numpy_helper.from_array(random.normal(size=(into, out)).astype(np.float32), f"w{i}")]
        constants += [numpy_helper.from_array(random.normal(size=out).astype(np.float32), f"b{i}")]
        nodes += [helper.make_node("MatMul", [value, f"w{i}"], [f"m{i}"])]
        nodes += [helper.make_node("Add", [f"b{i}", f"m{i}"], [value := ("z", "y")[i]])]
    shapes = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", w]) for n, w in (("x", 20), ("z", 64), ("y", 20))
    ]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx"
    )
    rows = random.normal(size=(900, 20)).astype(np.float32) * 10.0 ** random.integers(-3, 4, 20).astype(np.float32)
    adopt(tmp_path / "m.onnx", tmp_path / "m", rows)
    made = quantize(tmp_path / "m", rows, options=QUICK, budget=loose)
    kinds = [node.op_type for node in onnx.load_from_string(made.bundle.graph("autoencoder", "int8")).graph.node]
    assert kinds.count("Gemm") == 2 and "MatMul" not in kinds and kinds.count("QuantizeLinear") == 2
    assert made.figures["fidelity"]["rank_correlation"] > 0.999


def test_a_convolution_is_computed_in_integers(copied, tmp_path, loose):
    from aetool.export import export_module

    example = Path(__file__).parents[2] / "examples" / "conv_autoencoder.py"
    module = runpy.run_path(str(example))["ConvAutoencoder"]()
    images = np.random.default_rng(1).random((500, 1, 16, 16)).astype(np.float32)
    export_module(module, tmp_path / "images", rows=images)
    quantize(tmp_path / "images", images, options=QUICK, budget=loose)
    bundle = Bundle.open(tmp_path / "images")
    model = onnx.load_from_string(bundle.graph("encoder", "int8"))
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    exact, int8 = (aetool.load(bundle.path, precision=precision).score(images) for precision in ("fp32", "int8"))
    assert np.median(np.abs(int8 / exact - 1)) < 0.05


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "fp16"])
def test_prototypes_stay_in_float32(tmp_path, make_table, precision, loose):
    rows = _with_prototypes(tmp_path / "b", make_table)
    found = quantize(tmp_path / "b", rows, precision=precision, options=QUICK, budget=loose)
    graph = onnx.load(tmp_path / "b" / precision / "detector.onnx").graph
    compared = next(node.input[0] for node in graph.node if node.op_type == "ArgMax")
    product = next(node for node in graph.node if node.output[0] == compared)
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert product.op_type == "Gemm" and {kinds[name] for name in product.input[1:]} == {onnx.TensorProto.FLOAT}
    assert found.figures["fidelity"]["rank_correlation"] > 0.98


def test_prototypes_in_bf16_are_rounded_once_for_the_distance_and_for_the_explanation(tmp_path, make_table, loose):
    rows = _with_prototypes(tmp_path / "b", make_table)
    found = quantize(tmp_path / "b", rows, precision="bf16", options=QUICK, budget=loose)
    assert found.figures["fidelity"]["rank_correlation"] > 0.999
    constants = {}
    for name in ("detector", "explainer"):
        graph = onnx.load(tmp_path / "b" / "bf16" / f"{name}.onnx").graph
        constants |= {tensor.name: tensor for tensor in graph.initializer}
        made = {node.output[0]: node for node in graph.node}
        compared = next(node.input[0] for node in graph.node if node.op_type == "ArgMax")
        _, weights, offset = made[compared].input
        halves = constants[made[weights].input[0]]
        assert made[weights].op_type == "Cast" and halves.data_type == onnx.TensorProto.BFLOAT16
        centres = onnx.numpy_helper.to_array(halves).astype(np.float64)
        squares = onnx.numpy_helper.to_array(constants[offset])
        np.testing.assert_allclose(-squares, np.square(centres).sum(axis=1) / 2, rtol=1e-6)
    table = next(node.input[0] for node in graph.node if node.op_type == "Gather")
    named = onnx.numpy_helper.to_array(constants[made[table].input[0]])
    np.testing.assert_array_equal(named.astype(np.float64), centres)
    model = aetool.load(tmp_path / "b", precision="bf16")
    parts = model.run("explainer", rows)["contribution"].sum(axis=1)
    np.testing.assert_allclose(parts, model.score(rows), rtol=1e-3)


def _with_prototypes(path, make_table):
    """Export a model with prototypes; return its rows."""
    from aetool.export import export_checkpoint
    from aetool.model import TrainingConfig, train

    rows = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    rows[:, 3:] = rows[:, :3] + 0.1 * rows[:, 3:]
    export_checkpoint(train(make_table(rows), TrainingConfig(epochs=20)), path)
    return rows
