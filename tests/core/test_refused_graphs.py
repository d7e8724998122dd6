"""A graph that the core does not recognise exactly is refused, and the error names the node."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from small_graphs import bfloat16, made, model_of, node, program_of, value

from aetool.core.translate import UnsupportedError

FLOAT, BOOL, INT64, FLOAT16 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64, TensorProto.FLOAT16
W, B = made(6, 4), made(4)


def require_refused(nodes: list[Any], constants: dict[str, Any], named: str, row: Any = (6,), **more: Any) -> None:
    """Require that a graph whose last value is `y` is refused with a message that has `named`."""
    content = model_of(nodes, constants, row, [value("y", [])], **more)
    with pytest.raises(UnsupportedError) as caught:
        program_of(content, tuple(row))
    assert named in str(caught.value)


def one(operator: str, *inputs: str, **attributes: Any) -> list[Any]:
    return [node(operator, ["features", *inputs], ["y"], name="the one", **attributes)]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        (one("Gemm", "w", "b", alpha=0.5), {"w": W, "b": B}),
        (one("Gemm", "w", "b", beta=2.0), {"w": W, "b": B}),
        (one("Gemm", "w", transA=1), {"w": W}),
        (one("Gemm", "w", transB=1), {"w": W}),
        (one("Gemm", "w", "b"), {"w": W, "b": made(5)}),
        (one("Gemm", "w", "b"), {"w": W, "b": made(3, 4)}),
        (one("Gemm", "w", "b"), {"w": W, "b": B.astype(np.float64)}),
        (one("Gemm", "features"), {}),
        (one("MatMul", "w"), {"w": made(5, 4)}),
        (one("MatMul", "w"), {"w": made(6)}),
        (one("MatMul", "w"), {"w": made(2, 6, 4)}),
        (one("MatMul", "w"), {"w": bfloat16(W)}),
        (one("MatMul", "w"), {"w": W.astype(np.float64)}),
        (one("MatMul", "w"), {"w": np.ones((6, 4), np.int64)}),
        (one("MatMul", "w"), {"w": np.zeros((6, 0), np.float32)}),
        ([node("MatMul", ["w", "features"], ["y"], name="the one")], {"w": W}),
        (one("Add", "b"), {"b": made(5)}),
        (one("Add", "b"), {"b": made(3, 6)}),
        (one("Add", "b"), {"b": made(2, 1, 6)}),
        (one("Add", "b"), {"b": made(1, 1, 1)}),
        (one("Add"), {}),
        (one("Add", "b", "b"), {"b": made(6)}),
        (one("Sub", "b"), {"b": np.ones(6, np.int64)}),
        (one("Div", "b"), {"b": np.ones(6)}),
        ([node("Mul", ["b", "b"], ["y"], name="the one")], {"b": B}),
        (one("Pow", "b"), {"b": np.float32(2)}),
        (one("Gelu", approximate="tanh"), {}),
        (one("Erf"), {}),
        (one("Relu", domain="com.microsoft"), {}),
        (one("Softmax"), {}),
        (one("Exp"), {}),
        (one("Clip"), {}),
        (one("Selu"), {}),
        (one("Softplus"), {}),
        (one("Greater", "b"), {"b": np.float32(1)}),
        (one("Conv", "w"), {"w": made(1, 6, 3)}),
        (one("BatchNormalization", "b", "b", "b", "b"), {"b": made(6)}),
        (one("Transpose"), {}),
        (one("Shape"), {}),
        (one("Slice", "s", "e"), {"s": np.array([0]), "e": np.array([1])}),
        (one("Gather", "i"), {"i": np.array([0])}),
        (one("Gather", "i", axis=1), {"i": np.array([6])}),
        (one("Gather", "i", axis=1), {"i": np.array([-7])}),
        (one("Gather", "i", axis=1), {"i": np.zeros(0, np.int64)}),
        (one("Gather", "features", axis=1), {}),
        (one("Concat", "features", axis=0), {}),
        (one("Concat", "b", axis=1), {"b": made(1, 6)}),
        (one("Reshape", "s"), {"s": np.array([-1])}),
        (one("Reshape", "s"), {"s": np.array([-1, 3])}),
        (one("Reshape", "s"), {"s": np.array([-1, 12])}),
        (one("Reshape", "s"), {"s": np.array([2, -1])}),
        (one("Reshape", "s"), {"s": np.array([0, 4, -1])}),
        (one("Reshape", "s", allowzero=1), {"s": np.array([0, 6])}),
        (one("Reshape", "s"), {"s": np.array([-1, 0, 6])}),
        (one("Flatten", axis=0), {}),
        (one("Flatten", axis=2), {}),
        (one("Squeeze"), {}),
        (one("Squeeze", "s"), {"s": np.array([0])}),
        (one("Squeeze", "s"), {"s": np.array([1])}),
        (one("Unsqueeze", "s"), {"s": np.array([0])}),
        (one("Unsqueeze", "s"), {"s": np.array([9])}),
        (one("Unsqueeze", "s"), {"s": np.array([1, 1])}),
        (one("ReduceSum"), {}),
        (one("ReduceSum", "s"), {"s": np.array([0])}),
        (one("ReduceSum", "s"), {"s": np.array([0, 1])}),
        (one("ReduceMin", "s"), {"s": np.array([1])}),
        ([node("Gather", ["w", "i"], ["y"], name="the one")], {"w": W, "i": np.array([1])}),
        (one("ReduceMean", "s", keepdims=3), {"s": np.array([1])}),
        (one("ArgMax"), {}),
        (one("ArgMax", axis=1, keepdims=2), {}),
        (one("ArgMax", axis=1, select_last_index=1), {}),
        (one("TopK", "k"), {"k": np.array([1])}),
        (one("Cast", to=FLOAT16), {}),
        (one("Cast", to=INT64), {}),
        (one("Where", "b", "b"), {"b": made(6)}),
        (one("Not"), {}),
        (one("Split"), {}),
        (one("QuantizeLinear", "s", "z"), {"s": np.float32(1), "z": np.int8(0)}),
        (one("DynamicQuantizeLinear"), {}),
    ],
    ids=lambda given: given[0].op_type if isinstance(given, list) else "",
)
def test_a_node_that_is_not_recognised_is_named(nodes, constants):
    require_refused(
        nodes, constants, f"node 'the one' ({'com.microsoft.' * bool(nodes[0].domain)}{nodes[0].op_type})"
    )


def test_a_reduction_of_a_middle_side_is_refused():
    require_refused(one("ReduceSum", "s"), {"s": np.array([1])}, "the one", (2, 3))


def test_parts_of_a_concat_that_do_not_fit_are_refused():
    nodes = [node("Gather", ["features", "i"], ["a"], axis=1), *one("Concat", "a", axis=2)]
    require_refused(nodes, {"i": np.array([0])}, "the one", (2, 3))


ROOT, ONE, HALF = np.float32(np.sqrt(2)), np.float32(1), np.float32(0.5)


def gelu(last: str = "half") -> list[Any]:
    return [
        node("Div", ["features", "root"], ["d"], name="div"),
        node("Erf", ["d"], ["e"], name="erf"),
        node("Add", ["e", "one"], ["s"], name="add"),
        node("Mul", ["features", "s"], ["m"], name="mul"),
        node("Mul", ["m", last], ["y"], name="last"),
    ]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"root": np.float32(1.4142)}, "node 'erf' (Erf)"),
        ({"root": np.nextafter(ROOT, ONE)}, "node 'erf' (Erf)"),
        ({"root": made(6)}, "node 'erf' (Erf)"),
        ({"one": np.float32(1.0000001)}, "node 'add' (Add)"),
        ({"one": np.ones((1, 1, 1), np.float32)}, "node 'add' (Add)"),
        ({"half": np.float32(0.50000006)}, "output 'y'"),
        ({"half": np.ones((1, 1, 1), np.float32) / 2}, "node 'last' (Mul)"),
        ({"half": np.full(6, 0.5, np.float32)}, "node 'last' (Mul)"),
    ],
    ids=str,
)
def test_a_gelu_with_another_constant_is_refused(changed, named):
    require_refused(gelu(), {"root": ROOT, "one": ONE, "half": HALF} | changed, named)


def test_a_gelu_times_another_value_is_refused():
    nodes = [node("Neg", ["features"], ["other"]), *gelu()]
    nodes[4].input[0] = "other"
    require_refused(nodes, {"root": ROOT, "one": ONE, "half": HALF}, "node 'mul' (Mul)")
    require_refused([*gelu("features")], {"root": ROOT, "one": ONE}, "node 'last' (Mul)")


def test_an_unfinished_gelu_is_no_output_and_no_input_of_another_node():
    nodes, constants = gelu(), {"root": ROOT, "one": ONE, "half": HALF}
    nodes[1].output[0] = "y"
    require_refused(nodes[:2], constants, "output 'y'")
    nodes = [*gelu()[:3], node("Relu", ["s"], ["y"], name="relu")]
    require_refused(nodes, constants, "node 'relu' (Relu)")


def test_a_graph_of_float16_is_refused():
    inputs = [value("features", [6], FLOAT16)]
    require_refused(one("Relu"), {}, "other inputs than one of float32", inputs=inputs)
    nodes = [node("Cast", ["features"], ["h"], to=FLOAT16, name="to half"), node("Relu", ["h"], ["y"])]
    require_refused(nodes, {}, "node 'to half' (Cast)")
    nodes = [
        node("Cast", ["w"], ["wide"], to=FLOAT, name="from half"),
        node("MatMul", ["features", "wide"], ["y"]),
    ]
    require_refused(nodes, {"w": W.astype(np.float16)}, "node 'from half' (Cast)")


def test_a_graph_of_8_bits_is_refused():
    nodes = [
        node("DequantizeLinear", ["w", "scale"], ["wide"], name="weights"),
        node("MatMul", ["features", "wide"], ["y"]),
    ]
    require_refused(
        nodes, {"w": np.ones((6, 4), np.int8), "scale": np.float32(0.1)}, "node 'weights' (DequantizeLinear)"
    )


def test_a_graph_with_control_flow_is_refused():
    branch = helper.make_graph([node("Relu", ["features"], ["r"])], "branch", [], [value("r", [6])])
    nodes = [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch, name="if")]
    require_refused(nodes, {"c": np.array(True)}, "node 'if' (If)")


def test_a_graph_of_two_inputs_is_refused():
    inputs = [value("features", [6]), value("more", [6])]
    require_refused(one("Add", "more"), {}, "other inputs than one", inputs=inputs)


@pytest.mark.parametrize(("axis", "matrix"), [(1, W), (0, made(2, 3, 4)), (0, made(5, 4)), (0, np.ones((6, 4)))])
def test_a_row_of_a_constant_is_that_of_a_matrix_with_as_many_rows_as_the_arg_max_saw(axis, matrix):
    nodes = [
        node("ArgMax", ["features"], ["i"], axis=1, keepdims=0),
        node("Gather", ["w", "i"], ["y"], name="the one", axis=axis),
    ]
    require_refused(nodes, {"w": matrix}, "node 'the one' (Gather)")


def test_outputs_that_are_no_numbers_of_rows_are_refused():
    require_refused(one("ArgMax", axis=1), {}, "its output 'y' is no float32 or bool computed from rows")
    require_refused([node("Identity", ["c"], ["y"])], {"c": B}, "its output 'y'")
    for count, said in ((9, "9 outputs"), (2, "two of its outputs have one name")):
        content = model_of(one("Relu"), {}, [6], [value("y", [6])] * count)
        with pytest.raises(UnsupportedError, match=said):
            program_of(content, (6,))


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, FLOAT])
def test_a_constant_of_fewer_numbers_than_its_shape_is_refused(kind):
    short = helper.make_tensor("", kind, [6, 4], bytes(24 * 4 if kind == FLOAT else 24 * 2), raw=True)
    short.dims[0] = 7
    with pytest.raises(UnsupportedError, match="constant 'w' has other than 28 numbers"):
        program_of(model_of(one("MatMul", "w"), {"w": short}, [6], [value("y", [4])]), (6,))


def test_a_node_of_several_outputs_is_refused():
    nodes = [node("Split", ["features"], ["y", "z"], num_outputs=2, axis=1, name="split")]
    require_refused(nodes, {}, "node 'split' (Split)")


def test_a_graph_that_is_too_large_is_refused_before_memory_is_taken():
    side = 20_000
    nodes = [
        node("Unsqueeze", ["features", "last"], ["column"]),
        node("Unsqueeze", ["features", "first"], ["row"]),
        node("Mul", ["column", "row"], ["y"], name="outer"),
    ]
    constants = {"last": np.array([2]), "first": np.array([1])}
    require_refused(nodes, constants, "node 'outer' (Mul): too many numbers", (side,))
