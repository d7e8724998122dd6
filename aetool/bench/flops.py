"""The number of multiply-adds of a graph, read from the ONNX file's bytes without the package onnx.

Field numbers as in onnx.proto: ModelProto.graph 7; GraphProto.node 1, initializer 5; NodeProto.input 1,
output 2, op_type 4; TensorProto.dims 1, name 8.
"""

from collections.abc import Iterator
from typing import Any

_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_OTHERS = ("Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Attention", "Einsum", "Loop", "Scan", "If")
_THROUGH = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity")
"""Operators that may lie between a weight and its product."""


def multiply_adds_per_row(model: bytes) -> int | None:
    """Count the multiply-adds of all products with a constant matrix; None if the graph has other arithmetic.

    Each such matrix, (in, out), is in * out multiply-adds for one row.
    """
    graph = next((value for number, value in _fields(model) if number == 7), b"")
    sizes: dict[str, int] = {}
    nodes: list[tuple[str, list[str], list[str]]] = []
    for number, value in _fields(graph):
        if number == 5:
            name, dims = _tensor(value)
            sizes[name] = dims[0] * dims[1] if len(dims) == 2 else 0
        elif number == 1:
            nodes.append(_node(value))
    total = 0
    for kind, inputs, outputs in nodes:
        if kind in _OTHERS:
            return None
        if kind in _THROUGH and inputs and outputs:
            sizes[outputs[0]] = sizes.get(inputs[0], 0)
        elif kind in _PRODUCTS:
            if not (size := max((sizes.get(name, 0) for name in inputs), default=0)):
                return None  # neither operand is a constant matrix
            total += size
    return total


def _tensor(data: bytes) -> tuple[str, list[int]]:
    name, dims = "", []
    for number, value in _fields(data):
        if number == 8:
            name = value.decode(errors="replace")
        elif number == 1:
            dims += [value] if isinstance(value, int) else list(_varints(value))
    return name, dims


def _node(data: bytes) -> tuple[str, list[str], list[str]]:
    kind, inputs, outputs = "", [], []
    for number, value in _fields(data):
        if number == 1:
            inputs.append(value.decode(errors="replace"))
        elif number == 2:
            outputs.append(value.decode(errors="replace"))
        elif number == 4:
            kind = value.decode(errors="replace")
    return kind, inputs, outputs


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield field number and value, bytes or a number, of a protobuf message (protobuf.dev, Encoding)."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            yield number, data[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[wire]


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
