"""What aetool computes of a graph before it runs is what onnxruntime gives when it runs."""

import numpy as np
import onnxruntime as ort
import pytest
from bundle_workers import EXPORTED
from graph_worker import computed
from hostile_graphs import FEATURES, also, f32, honest, i64, node
from onnx import numpy_helper
from operator_samples import SAMPLES, model_of

from aetool import Limits
from aetool.onnx_check._shape_inputs import Rows
from aetool.onnx_check._shapes import RULES
from aetool.onnx_check.check import CONTROL, refusal
from aetool.onnx_check.edit import with_outputs
from aetool.onnx_check.model import NUMPY


def for_rows(side, n):
    return side.times * n if isinstance(side, Rows) else side


def assert_the_same(content, rows):
    graph, found, _ = computed(content, rows.shape[1:])
    names = [name for node in graph.nodes for name in node.outputs if name]
    model = with_outputs(content, [name for name in names if name not in graph.outputs])
    results = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(names, {graph.inputs[0]: rows})
    for name, result in zip(names, results, strict=True):
        assert tuple(for_rows(side, len(rows)) for side in found[name].shape) == np.shape(result), name
        kind = found[name].kind
        assert not kind or np.dtype(NUMPY[kind]) == result.dtype, name
        if found[name].content is not None:
            sides = [for_rows(side, len(rows)) for side in found[name].content.flat]
            np.testing.assert_array_equal(np.array(sides).reshape(result.shape), result)


CASES = [(operator, n) for operator, samples in SAMPLES.items() for n in range(len(samples))]


@pytest.mark.parametrize(("operator", "n"), CASES)
def test_what_is_computed_from_shapes_is_what_onnxruntime_gives(operator, n):
    model, _ = model_of(operator, *SAMPLES[operator][n])
    content = model.SerializeToString()
    assert refusal(content, (3,), Limits()) is None
    assert_the_same(content, np.ones((2, 3), np.float32))


def test_every_operator_that_is_let_in_has_a_sample():
    assert set(SAMPLES) == set(RULES)
    assert CONTROL.isdisjoint(RULES)


def sized(*steps):
    """A value as large as `size`, which `steps` compute from `s`: `n` rows of `d` numbers, as a float `f`."""
    model = honest()
    also(
        node("Shape", "features", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Gather", "s one", "d", axis=0),
        node("Cast", "d", "f", to=1),
        *steps,
        node("ConstantOfShape", "size", "sized"),
        zero=i64(0),
        one=i64(1),
        two=i64(2),
        seven=i64(7),
        minus=i64(-7),
        many=i64(2**62),
        far=i64(2**31),
        odd=i64(2**53 + 1),
        half=f32(0.5),
        three=f32(3),
        nothing=f32(0),
        tenth=f32(0.1),
        tiny=f32(1e-45),
        scalar0=np.float32(0),
        scalar1=np.float32(1),
        scalar4=np.float32(4),
        scalar9=np.float32(9),
    )(model)
    return model.SerializeToString()


INTEGERS = {
    "Min": [node("Min", "d seven", "size")],
    "Min of rows": [node("Identity", "n", "same_n"), node("Min", "same_n n", "size")],
    "Max": [node("Max", "d seven", "size")],
    "Max of rows and nothing": [node("Max", "minus n", "size")],
    "Clip": [node("Clip", "minus one_scalar d_scalar", "size")],
    "Sub of rows": [node("Mul", "n seven", "more"), node("Sub", "more n", "size")],
    "Mod": [node("Mod", "minus d", "size")],
    "Neg": [node("Neg", "minus", "size")],
    "Abs": [node("Abs", "minus", "size")],
    "ReduceProd": [node("ReduceProd", "s", "size", keepdims=1)],
    "ReduceSum": [node("Concat", "d seven", "both", axis=0), node("ReduceSum", "both", "size", keepdims=1)],
    "ReduceMax": [node("Concat", "d seven", "both", axis=0), node("ReduceMax", "both", "size", keepdims=1)],
    "ReduceMin": [node("Concat", "d seven", "both", axis=0), node("ReduceMin", "both", "size", keepdims=1)],
    "GreaterOrEqual": [node("GreaterOrEqual", "d seven", "large"), node("Where", "large d seven", "size")],
    "LessOrEqual": [node("LessOrEqual", "d seven", "small"), node("Where", "small d seven", "size")],
}
FLOATS = {
    "a cast there and back": [node("Identity", "f", "g")],
    "Mul": [node("Mul", "f half", "g")],
    "Div": [node("Div", "f three", "g")],
    "Add": [node("Add", "f half", "g")],
    "Sub": [node("Sub", "f half", "g")],
    "Floor": [node("Mul", "f half", "h"), node("Mul", "h half", "i"), node("Floor", "i", "g")],
    "Ceil": [node("Mul", "f half", "h"), node("Mul", "h half", "i"), node("Ceil", "i", "g")],
    "Round": [node("Mul", "f half", "h"), node("Mul", "h half", "i"), node("Round", "i", "g")],
    "Neg and Abs": [node("Neg", "f", "h"), node("Abs", "h", "g")],
    "Min": [node("Min", "f three", "g")],
    "Max": [node("Max", "f three", "g")],
    "a Constant": [node("Constant", "", "c", value_floats=[2.5]), node("Mul", "f c", "g")],
    "Range": [node("Range", "scalar0 scalar9 scalar4", "r"), node("Gather", "r two", "g", axis=0)],
}


@pytest.mark.parametrize("steps", INTEGERS.values(), ids=INTEGERS)
def test_sizes_are_followed_through_integers(steps):
    scalars = [node("Squeeze", "one", "one_scalar"), node("Squeeze", "d", "d_scalar")]
    content = sized(*scalars, *steps)
    assert refusal(content, (FEATURES,), Limits()) is None
    assert_the_same(content, np.ones((7, FEATURES), np.float32))


@pytest.mark.parametrize("steps", FLOATS.values(), ids=FLOATS)
def test_sizes_are_followed_through_floats(steps):
    content = sized(*steps, node("Cast", "g", "size", to=7))
    assert refusal(content, (FEATURES,), Limits()) is None
    assert_the_same(content, np.ones((7, FEATURES), np.float32))


UNKNOWN = {
    "rows that may be the fewer": [node("Min", "n seven", "size")],
    "rows that may be the more": [node("Max", "n seven", "size")],
    "a remainder of rows": [node("Mod", "n seven", "size")],
    "a remainder as in C": [node("Mod", "d seven", "size", fmod=1)],
    "more than an int64 holds": [node("Concat", "many seven", "b", axis=0), node("ReduceProd", "b", "size")],
    "the smaller of integers of 33 bits": [node("Add", "far d", "b"), node("Min", "b d", "size")],
    "the larger of many rows": [node("Mul", "n two", "more"), node("Max", "n more", "size")],
    "the smallest of integers of 33 bits": [
        node("Concat", "far d", "b", axis=0),
        node("ReduceMin", "b", "size", keepdims=1),
    ],
    "a sum that float64 rounds": [
        node("Concat", "odd d", "b", axis=0),
        node("ReduceSum", "b", "r", keepdims=1),
        node("Sub", "r odd", "size"),
    ],
    "rows as a float": [node("Cast", "n", "g", to=1), node("Cast", "g", "size", to=7)],
    "a product that is rounded": [node("Mul", "f tenth", "g"), node("Cast", "g", "size", to=7)],
    "a quotient that is rounded": [node("Div", "three f", "g"), node("Cast", "g", "size", to=7)],
    "a number that is flushed to zero": [node("Ceil", "tiny", "g"), node("Cast", "g", "size", to=7)],
    "a division by nothing": [node("Div", "f nothing", "g"), node("Cast", "g", "size", to=7)],
    "an integer that no float holds": [
        node("Add", "many one", "m"),
        node("Cast", "m", "g", to=1),
        node("Cast", "g", "size", to=7),
    ],
    "floats reduced in some order": [
        node("Concat", "f half", "b", axis=0),
        node("ReduceProd", "b", "g"),
        node("Cast", "g", "size", to=7),
    ],
    "a root": [node("Sqrt", "f", "g"), node("Cast", "g", "size", to=7)],
    "a range of fractions": [
        node("Range", "scalar0 tenth_scalar scalar1", "r"),
        node("Cast", "r", "size", to=7),
    ],
}


@pytest.mark.parametrize("steps", UNKNOWN.values(), ids=UNKNOWN)
def test_a_size_that_is_not_exact_is_refused(steps):
    content = sized(node("Squeeze", "tenth", "tenth_scalar"), *steps)
    reason = refusal(content, (FEATURES,), Limits())
    assert "computed from data" in reason or "how its numbers are rounded" in reason


def test_factors_of_an_image_may_be_computed_exactly():
    """As PyTorch wrote an enlargement for operator set 9: the new sides divided by the old."""
    nodes = [
        node("Constant", "", "wide", value=numpy_helper.from_array(np.ones((1, 1, 6, 8), "f4"))),
        node("Shape", "wide", "s"),
        node("Slice", "s start end", "old"),
        node("Cast", "old", "old_f", to=1),
        node("Mul", "old times", "new"),
        node("Cast", "new", "new_f", to=1),
        node("Div", "new_f old_f", "factors"),
        node("Concat", "ones factors", "all", axis=0),
        node("Resize", "wide - all", "larger"),
    ]
    model = honest()
    also(*nodes, start=i64(2), end=i64(4), times=i64(2, 3), ones=f32(1, 1))(model)
    content = model.SerializeToString()
    assert refusal(content, (FEATURES,), Limits()) is None
    assert_the_same(content, np.ones((7, FEATURES), np.float32))


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("kind", ["table", "mixed_bundle", "convolutional"])
def test_every_value_of_an_exported_graph_has_the_shape_computed(kind, rows, request):
    path = EXPORTED if kind == "table" else request.getfixturevalue(kind)
    for graph in ("encoder", "autoencoder", "detector"):
        content = (path / f"{graph}.onnx").read_bytes()
        shape = {"table": (30,), "mixed_bundle": (5,), "convolutional": (1, 8, 8)}[kind]
        assert_the_same(content, np.random.default_rng(0).uniform(0, 2, (rows, *shape)).astype(np.float32))
