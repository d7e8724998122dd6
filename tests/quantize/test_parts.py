"""The parts of a conversion, each against the arithmetic that it stands for."""

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from aetool.quantize._calibration import observe, range_of, split_rows
from aetool.quantize._equalise import first_layers, to_common_range
from aetool.quantize._half import to_bf16, to_fp16
from aetool.quantize._int8 import to_int8, values_to_observe
from aetool.quantize._trial import matched_threshold
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS


def network(widths, seed=0, scale=1.0):
    """features -> Gemm, ReLU, ... -> reconstruction, random weights; the first column in units of `scale`."""
    random = np.random.default_rng(seed)
    nodes, constants, value = [], [], "features"
    for i, (into, out) in enumerate(pairwise(widths)):
        weight = random.normal(size=(out, into)) / np.sqrt(into)
        if i == 0:
            weight[:, 0] /= scale
        constants += [numpy_helper.from_array(weight.astype(np.float32), f"w{i}")]
        constants += [numpy_helper.from_array(random.normal(size=out).astype(np.float32), f"b{i}")]
        last = i == len(widths) - 2
        made = "reconstruction" if last else f"sum{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [made], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [made], [value := f"relu{i}"]))
    rows = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("features", widths[0]), ("reconstruction", widths[-1]))
    ]
    graph = helper.make_graph(nodes, "g", rows[:1], rows[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def outputs(model, rows):
    session = open_session(model.SerializeToString(), PROVIDERS["cpu"], where="test")
    return session.run(None, {"features": rows})[0]


def rows_of(width, count=500, scale=1.0):
    rows = np.random.default_rng(9).normal(size=(count, width)).astype(np.float32)
    rows[:, 0] *= scale
    return rows


def relative(found, expected):
    return float(np.sqrt(np.mean((found - expected) ** 2)) / expected.std())


@given(scale=st.floats(1e-12, 1e12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_common_range_changes_nothing_in_float_and_makes_int8_as_good_as_with_even_columns(scale, seed):
    rows, even = rows_of(6, scale=scale), rows_of(6)
    model, plain = network((6, 16, 6), seed, scale), network((6, 16, 6), seed)
    expected = outputs(model, rows)
    to_common_range(model, {"features": rows}, "minmax")
    np.testing.assert_allclose(outputs(model, rows), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    errors = []
    for network_, features in ((model, rows), (plain, even)):
        exact = outputs(network_, features)
        values = observe(network_, values_to_observe(network_), features)
        to_int8(network_, {name: range_of(value, "minmax") for name, value in values.items()})
        errors.append(relative(outputs(network_, features), exact))
    assert errors[0] < 2 * errors[1] + 0.01


def test_sums_of_8_bit_products_do_not_saturate_on_any_processor():
    """Without VNNI, onnxruntime adds up pairs of them in 16 bits unless told otherwise."""
    model = network((64, 16, 64))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.ones(tuple(tensor.dims), np.float32), tensor.name))
    rows = np.full((8, 64), 3.0, np.float32)
    values = observe(model, values_to_observe(model), rows)
    to_int8(model, {name: range_of(value, "minmax") for name, value in values.items()})
    options = onnxruntime.SessionOptions()  # products in float32, one operation after the other
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(outputs(model, rows), plain.run(None, {"features": rows})[0], rtol=1e-6)


def test_even_columns_are_left_alone():
    model = network((6, 16, 6))
    before = model.SerializeToString()
    assert not to_common_range(model, {"features": rows_of(6)}, "minmax")
    assert model.SerializeToString() == before


@pytest.mark.parametrize("constant", [0.0, 7.0, -1e6])
def test_a_constant_column_does_not_blow_up(constant):
    model, rows = network((6, 16, 6)), rows_of(6, scale=1e5)
    rows[:, 2] = constant
    expected = outputs(model, rows)
    assert to_common_range(model, {"features": rows}, "minmax")
    found = outputs(model, rows)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_first_layers_are_those_that_no_other_comes_before():
    assert [layer.name for layer in first_layers(network((6, 16, 8, 6)))] == ["w0"]


def test_a_layer_that_is_named_stays_in_float_in_every_precision():
    rows = rows_of(6)
    names = ["w0", "w1", "w2"]
    for convert in (to_fp16, to_bf16):
        model = network((6, 16, 8, 6))
        convert(model, names)
        assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
    model = network((6, 16, 8, 6))
    values = observe(model, values_to_observe(model), rows)
    to_int8(model, {name: range_of(value, "minmax") for name, value in values.items()}, ["w1"])
    assert {t.name for t in model.graph.initializer if t.name in names} >= {"w1"}
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    assert readers["w1"] == "Gemm"


def test_a_last_layer_in_units_that_float16_cannot_hold_is_scaled_in_float():
    model = network((6, 16, 6))
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "b1"):
            raw = onnx.numpy_helper.to_array(tensor) * np.float32(1e7)
            tensor.CopyFrom(numpy_helper.from_array(raw, tensor.name))
    rows = rows_of(6)
    expected = outputs(model, rows)
    to_fp16(model)
    halves = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16 and len(t.dims) == 2]
    assert len(halves) == 2
    assert relative(outputs(model, rows), expected) < 2e-3


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "entropy"])
def test_a_range_holds_zero_and_most_of_the_values(calibration):
    values = np.random.default_rng(0).normal(5, 1, 20_000).astype(np.float32)
    low, high = range_of(values, calibration)
    assert low == 0 and 6.5 < high <= values.max()
    assert range_of(-values, calibration) == (pytest.approx(-high), 0)
    assert range_of(np.append(values, [np.nan, np.inf]).astype(np.float32), calibration) == (low, high)
    assert range_of(np.zeros(9, np.float32), calibration) == (0, 0)


@pytest.mark.parametrize("calibration", ["percentile", "entropy"])
def test_one_wild_value_does_not_widen_a_range_much(calibration):
    values = np.random.default_rng(0).normal(0, 1, 20_000).astype(np.float32)
    wild = np.append(values, np.float32(1000))
    assert range_of(wild, calibration)[1] < (10 if calibration == "percentile" else 200)


@given(
    scores=st.lists(st.floats(0.0625, 128, width=32), min_size=20, max_size=200, unique=True),
    factor=st.floats(0.5, 20, width=32),
    share=st.floats(0, 1),
)
@settings(max_examples=200, deadline=None)
def test_a_threshold_follows_scores_that_are_scaled(scores, factor, share):
    model = np.sort(np.array(scores, np.float32))
    place = int(share * (len(model) - 1))
    threshold = float(np.float32((model[place] + model[min(place + 1, len(model) - 1)]) / 2))
    found = matched_threshold(model, model * np.float32(factor), threshold)
    flagged = np.count_nonzero(model > threshold)
    apart = np.min(np.diff(model)) > 1e-3 * model.max()
    assert found.rule["fp32_flagged_share"] == pytest.approx(flagged / len(model))
    if apart:
        assert np.count_nonzero(model * np.float32(factor) > found.value) == flagged
        assert found.value == pytest.approx(threshold * factor, rel=1e-3)


def test_a_threshold_beyond_all_rows_moves_with_the_highest_score():
    model = np.linspace(1, 2, 50, dtype=np.float32)
    assert matched_threshold(model, model * 3, 2.5).value == pytest.approx(7.5)
    assert matched_threshold(model, model * 3, 0.5).value == pytest.approx(1.5)
    assert matched_threshold(model, model * 3, 3.4e38).value == 3.4e38
    assert matched_threshold(model, np.full_like(model, np.inf), 1.5).value == 1.5


@given(normal=st.integers(1, 900), anomalies=st.integers(0, 40), seed=st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_rows_are_split_without_anomalies_in_calibration_and_apart_where_there_are_enough(normal, anomalies, seed):
    rows = np.arange(normal + anomalies, dtype=np.float32)[:, None]
    labels = np.arange(normal + anomalies) >= normal
    split = split_rows(rows, labels, seed)
    assert (split.calibration < normal).all() and len(split.calibration)
    assert split.disjoint == (normal >= 400)
    assert bool(np.intersect1d(split.calibration, split.judged).size) != split.disjoint
    if anomalies:
        assert split.labels is not None and split.labels.sum() == anomalies
        np.testing.assert_array_equal(split.judged[:, 0] >= normal, split.labels)
    again = split_rows(rows, labels, seed)
    np.testing.assert_array_equal(split.judged, again.judged)
