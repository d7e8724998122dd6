"""Multiply-adds, counted from the ONNX file's bytes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aetool.bench._machine import multiply_adds_per_row


def model(nodes, **weights):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


def test_a_bundles_graphs_are_the_products_of_their_weights(bundle):
    for name in ("encoder", "autoencoder", "detector"):
        data = (bundle / f"{name}.onnx").read_bytes()
        graph = onnx.load_from_string(data).graph
        weights = {tensor.name: tensor.dims for tensor in graph.initializer}
        used = [weights[name] for node in graph.node if node.op_type == "Gemm" for name in node.input[1:2]]
        assert multiply_adds_per_row(data) == sum(a * b for a, b in used) > 0


def test_a_matrix_may_be_on_either_side_and_pass_through_others():
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["h"]),
        helper.make_node("Gemm", ["h", "v", "b"], ["y"], transB=1),
    ]
    assert multiply_adds_per_row(model(nodes, w=(300, 6), v=(2, 300), b=(2,))) == 300 * 6 + 2 * 300


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
    ],
)
def test_other_arithmetic_is_not_guessed(nodes):
    assert multiply_adds_per_row(model(nodes, w=(4, 6))) is None


def test_without_arithmetic_there_is_none():
    assert multiply_adds_per_row(model([helper.make_node("Relu", ["x"], ["y"])])) == 0
