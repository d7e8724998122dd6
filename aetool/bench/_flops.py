"""The number of multiply-adds of a graph, read from the ONNX file's bytes without the package onnx."""

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.onnx_check.model import read_model

_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_OTHERS = ("Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Attention", "Einsum", "Loop", "Scan", "If")
_THROUGH = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity")
"""Operators that may lie between a weight and its product."""


def multiply_adds_per_row(model: bytes, limits: Limits = DEFAULT_LIMITS) -> int | None:
    """Count the multiply-adds of all products with a constant matrix; None if the graph has other arithmetic.

    Each such matrix, (in, out), is in * out multiply-adds for one row.
    """
    graph = read_model(model, limits.depth, limits.nodes).graph
    sizes = {tensor.name: tensor.dims[0] * tensor.dims[1] for tensor in graph.constants if len(tensor.dims) == 2}
    total = 0
    for node in graph.nodes:
        operator = node.operator.rpartition(".")[2]  # onnxruntime's own alike
        if operator in _OTHERS:
            return None
        if operator in _THROUGH and node.inputs and node.outputs:
            sizes[node.outputs[0]] = sizes.get(node.inputs[0], 0)
        elif operator in _PRODUCTS:
            if not (size := max((sizes.get(name, 0) for name in node.inputs), default=0)):
                return None  # neither operand is a constant matrix
            total += size
    return total
