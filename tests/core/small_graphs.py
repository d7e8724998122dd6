"""Small ONNX graphs for the core, their weights made without random numbers or libm: the same on every machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from aetool.core.program import Program
from aetool.core.translate import translate
from aetool.onnx_check.model import read_model

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node = helper.make_node


def made(*shape: int, seed: int = 1, scale: float = 1.0) -> Any:
    """Return numbers from -scale to scale, multiples of scale / 512."""
    order = np.arange(np.prod(shape, dtype=int), dtype=np.int64)
    mixed = (order * 7919 + seed * 104729) ^ (order * order * 31)
    return ((mixed % 1025 - 512) / 512 * scale).astype(np.float32).reshape(shape)


def value(name: str, shape: Sequence[int], kind: int = FLOAT) -> Any:
    """Return the description of a value, (n, *shape)."""
    return helper.make_tensor_value_info(name, kind, ["n", *shape])


def model_of(
    nodes: Sequence[NodeProto],
    constants: Mapping[str, Any],
    row: Sequence[int],
    outputs: Sequence[Any],
    *,
    opset: int = 20,
    inputs: Sequence[Any] | None = None,
) -> bytes:
    """Return a graph of `features`, (n, *row), as a file."""
    tensors = [
        tensor if isinstance(tensor, TensorProto) else numpy_helper.from_array(np.asarray(tensor))
        for tensor in constants.values()
    ]
    for name, tensor in zip(constants, tensors, strict=True):
        tensor.name = name
    graph = helper.make_graph(nodes, "g", [value("features", row)] if inputs is None else inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def bfloat16(values: Any) -> TensorProto:
    """Return a constant of bfloat16, the numbers cut off."""
    halves = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return helper.make_tensor("", TensorProto.BFLOAT16, values.shape, halves.tobytes(), raw=True)


def program_of(content: bytes, row: tuple[int, ...]) -> Program:
    return translate(read_model(content, 64, 20_000), row)


def deep() -> bytes:
    """A detector of 30 columns with GELU, written as one node and out of others, and a decision."""
    constants = {
        "w1": made(30, 70, scale=0.3),
        "b1": made(70),
        "w2": made(12, 70, seed=2, scale=0.3),
        "b2": made(12),
        "w3": made(12, 130, seed=3, scale=0.5),
        "b3": made(130),
        "w4": made(130, 30, seed=4, scale=0.2),
        "root": np.float32(np.sqrt(2)),
        "one": np.float32(1),
        "half": np.float32(0.5),
        "last": np.array([-1]),
        "threshold": np.float32(1.5),
    }
    nodes = [
        node("Gemm", ["features", "w1", "b1"], ["h1"]),
        node("Gelu", ["h1"], ["a1"]),
        node("Gemm", ["a1", "w2", "b2"], ["h2"], transB=1),
        node("Div", ["h2", "root"], ["d2"]),
        node("Erf", ["d2"], ["e2"]),
        node("Add", ["e2", "one"], ["s2"]),
        node("Mul", ["h2", "s2"], ["m2"]),
        node("Mul", ["m2", "half"], ["embedding"]),
        node("MatMul", ["embedding", "w3"], ["h3"]),
        node("Add", ["h3", "b3"], ["s3"]),
        node("Elu", ["s3"], ["a3"], alpha=0.7),
        node("MatMul", ["a3", "w4"], ["reconstruction"]),
        node("Sub", ["features", "reconstruction"], ["difference"]),
        node("Mul", ["difference", "difference"], ["squares"]),
        node("ReduceMean", ["squares", "last"], ["score"], keepdims=0),
        node("LessOrEqual", ["score", "threshold"], ["normal"]),
        node("Not", ["normal"], ["is_anomaly"]),
    ]
    outputs = [
        value("embedding", [12]),
        value("reconstruction", [30]),
        value("score", []),
        value("is_anomaly", [], BOOL),
    ]
    return model_of(nodes, constants, [30], outputs)


def imputed() -> bytes:
    """An autoencoder of 9 columns: missing values filled in, bfloat16 weights, SiLU, a category out of four."""
    constants = {
        "fill": made(9),
        "codes": np.arange(4, dtype=np.float32),
        "w1": bfloat16(made(12, 100, scale=0.4)),
        "b1": made(100),
        "w2": bfloat16(made(100, 12, seed=5, scale=0.1)),
        "b2": made(12),
        "numbers": np.arange(8),
        "category": np.array([8]),
        "scores": np.arange(8, 12),
    }
    nodes = [
        node("IsNaN", ["features"], ["missing"]),
        node("Where", ["missing", "fill", "features"], ["filled"]),
        node("Gather", ["filled", "numbers"], ["numeric"], axis=1),
        node("Gather", ["filled", "category"], ["code"], axis=1),
        node("Equal", ["code", "codes"], ["is_code"]),
        node("Cast", ["is_code"], ["one_hot"], to=FLOAT),
        node("Concat", ["numeric", "one_hot"], ["inputs"], axis=1),
        node("Cast", ["w1"], ["wide1"], to=FLOAT),
        node("Gemm", ["inputs", "wide1", "b1"], ["h1"]),
        node("Sigmoid", ["h1"], ["s1"]),
        node("Mul", ["h1", "s1"], ["embedding"]),
        node("Cast", ["w2"], ["wide2"], to=FLOAT),
        node("MatMul", ["embedding", "wide2"], ["h2"]),
        node("Add", ["h2", "b2"], ["outputs"]),
        node("Gather", ["outputs", "numbers"], ["back"], axis=1),
        node("Gather", ["outputs", "scores"], ["logits"], axis=1),
        node("ArgMax", ["logits"], ["best"], axis=1),
        node("Cast", ["best"], ["chosen"], to=FLOAT),
        node("Concat", ["back", "chosen"], ["reconstruction"], axis=1),
    ]
    return model_of(nodes, constants, [9], [value("embedding", [100]), value("reconstruction", [9])])


def pictures() -> bytes:
    """An autoencoder of rows of (5, 7): tanh, sigmoid, LeakyReLU and ReLU, a root of squares as score."""
    constants = {
        "w1": made(35, 33, scale=0.5),
        "b1": made(33),
        "w2": made(33, 65, seed=6, scale=0.4),
        "b2": made(65),
        "w3": made(65, 35, seed=7, scale=0.3),
        "b3": made(35),
        "shape": np.array([-1, 5, 7]),
        "sides": np.array([1, 2]),
        "scale": np.float32(0.01),
    }
    nodes = [
        node("Flatten", ["features"], ["flat"]),
        node("Gemm", ["flat", "w1", "b1"], ["h1"]),
        node("Tanh", ["h1"], ["embedding"]),
        node("Gemm", ["embedding", "w2", "b2"], ["h2"]),
        node("LeakyRelu", ["h2"], ["a2"], alpha=0.2),
        node("Gemm", ["a2", "w3", "b3"], ["h3"]),
        node("Sigmoid", ["h3"], ["a3"]),
        node("Reshape", ["a3", "shape"], ["reconstruction"]),
        node("Sub", ["reconstruction", "features"], ["difference"]),
        node("ReduceSumSquare", ["difference", "sides"], ["square"], keepdims=0),
        node("Sqrt", ["square"], ["root"]),
        node("Mul", ["root", "scale"], ["scaled"]),
        node("Neg", ["scaled"], ["negative"]),
        node("Abs", ["negative"], ["size"]),
        node("Relu", ["size"], ["score"]),
    ]
    outputs = [value("embedding", [33]), value("reconstruction", [5, 7]), value("score", [])]
    return model_of(nodes, constants, [5, 7], outputs)


def rows_for(row: tuple[int, ...], count: int = 41) -> Any:
    """Return rows of all sizes, some with NaN, Inf and denormals."""
    rows = made(count, *row, seed=11, scale=4.0)
    rows[3::9] *= np.float32(1e4)
    rows[4::9] *= np.float32(1e-39)
    flat = rows.reshape(count, -1)
    flat[5, 0], flat[6, -1], flat[7, 1], flat[8] = np.nan, np.inf, -np.inf, np.nan
    flat[:, -1] = np.where(np.arange(count) % 5 < 4, np.arange(count) % 5, flat[:, -1])  # a code, for `imputed`
    return rows


def small_bundles() -> list[tuple[bytes, tuple[int, ...]]]:
    """Return (graph, row) of three small models."""
    return [(deep(), (30,)), (imputed(), (9,)), (pictures(), (5, 7))]
