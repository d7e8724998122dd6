"""Half the bytes: layers computed in float16, or weights kept in bfloat16 and computed in float32.

onnxruntime's `convert_float_to_float16` also converts features and score, which are infinite above 65,504 then;
set to leave them in float32, it writes a graph with two nodes of one name, which onnxruntime refuses (1.31).
"""

from collections.abc import Collection

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from aetool.quantize._layers import (
    Layer,
    add_constant,
    compared_layers_of,
    insert_nodes,
    layers_of,
    take_constants,
)

_ELEMENTWISE = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Gelu", "HardSigmoid", "HardSwish"}
)
"""Operators with one input that stay in float16 between layers."""
LARGEST = float(np.finfo(np.float16).max)
_COMFORTABLE = 2.0**8
"""Largest weights of a channel from 1 / _COMFORTABLE to _COMFORTABLE leave its results room in float16."""


def to_fp16(model: ModelProto, in_float: Collection[str] = ()) -> None:
    """Compute the layers of `model` and what lies between them in float16; features, score and outputs in float32.

    A last layer that gives raw units has its scale taken out, and put on again in float32. A layer whose weights
    float16 cannot hold stays as it is. On a CPU without float16 arithmetic, onnxruntime converts to and fro:
    smaller, not faster.
    """
    halves: set[str] = set()
    outputs = {output.name for output in model.graph.output}  # graphs may be cut there: nothing goes round them
    read: dict[str, str] = {}
    before: dict[str, list[NodeProto]] = {}
    after: dict[str, list[NodeProto]] = {}
    layers = {layer.output: layer for layer in layers_of(model) if layer.name not in in_float}
    for node in model.graph.node:
        made, value = node.output[0], node.input[0] if node.input else ""
        layer = layers.get(made)
        scale = None if layer is None else _output_scale(model, layer)
        if layer is not None and scale is None and not _fits(layer):
            continue
        if layer is None and not (node.op_type in _ELEMENTWISE and len(node.input) == 1 and value in halves):
            continue
        after[made] = [helper.make_node("Cast", [f"{made}/half"], [made], to=TensorProto.FLOAT)]
        if layer is not None:
            after[made] = _take_halves(model, layer, scale) or after[made]
        if value not in read:
            read[value] = f"{value}/read_half"
            before[made] = [helper.make_node("Cast", [value], [read[value]], to=TensorProto.FLOAT16)]
        node.input[0] = read[value]
        if made not in outputs and scale is None:
            halves.add(made)
            read[made] = f"{made}/half"
    insert_nodes(model, before, after)
    for node in model.graph.node:
        if node.output[0] in after and node.op_type not in ("Cast", "Add"):
            node.output[0] = f"{node.output[0]}/half"


def to_bf16(model: ModelProto, in_float: Collection[str] = ()) -> None:
    """Keep the weights of `model` in bfloat16; onnxruntime makes them float32 when it opens the graph.

    Half the file, and the speed of float32: its CPU provider has no arithmetic in bfloat16. Prototypes are rounded
    once, wherever they stand, so that the distance to each is that of the rounded one.
    """
    before = _round_prototypes(model)
    for layer in layers_of(model):
        if layer.name in in_float:
            continue
        of = f"{layer.output}/weight"
        add_constant(model, f"{of}/bfloat16", layer.weight.astype(ml_dtypes.bfloat16))
        bias = layer.node.input[2] if layer.bias is not None else None
        take_constants(model, layer, of, bias)
        before[layer.output] = [helper.make_node("Cast", [f"{of}/bfloat16"], [of], to=TensorProto.FLOAT)]
    insert_nodes(model, before)


def _round_prototypes(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Put prototypes into bfloat16; return the nodes that make them float32 again, by what reads them.

    Likeness to a prototype c is x c - c c / 2, or twice that: the last term is that of the rounded c. Where
    missing values are left out, the squares are weights themselves, and the layer stays in float32.
    """
    before: dict[str, list[NodeProto]] = {}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer in compared_layers_of(model):
        columns = layer.weight if layer.out_axis == 1 else layer.weight.T
        if layer.bias is None:
            continue
        fits = (times for times in (1, 2) if np.allclose(layer.bias, _less(columns, times), rtol=1e-4))
        if (factor := next(fits, None)) is None:
            continue
        of, rounded = f"{layer.output}/weight", layer.weight.astype(ml_dtypes.bfloat16)
        prototypes = (rounded if layer.out_axis == 1 else rounded.T).astype(np.float32)
        add_constant(model, f"{of}/bfloat16", rounded)
        take_constants(model, layer, of, add_constant(model, f"{layer.output}/bias", _less(prototypes, factor)))
        before[layer.output] = [helper.make_node("Cast", [f"{of}/bfloat16"], [of], to=TensorProto.FLOAT)]
        for node in model.graph.node:
            table = constants.get(node.input[0]) if node.op_type == "Gather" else None
            if table is None or not np.array_equal(numpy_helper.to_array(table), columns.T / factor):
                continue
            rows = f"{node.output[0]}/rows"
            add_constant(model, f"{rows}/bfloat16", (prototypes.T / factor).astype(ml_dtypes.bfloat16))
            node.input[0] = rows
            before[node.output[0]] = [helper.make_node("Cast", [f"{rows}/bfloat16"], [rows], to=TensorProto.FLOAT)]
    return before


def _less(columns: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return what is taken off for each column, a prototype times `factor`."""
    squares: NDArray[np.float64] = np.square(columns.astype(np.float64)).sum(axis=0)
    return (-squares / (2 * factor)).astype(np.float32)


def _take_halves(model: ModelProto, layer: Layer, scale: NDArray[np.float32] | None) -> list[NodeProto]:
    """Give a layer constants in float16; the nodes behind it, where its scale was taken out."""
    made, bias = layer.output, layer.bias
    if scale is None:
        named = None if bias is None else add_constant(model, f"{made}/bias", bias.astype(np.float16))
        take_constants(model, layer, add_constant(model, f"{made}/weight", layer.weight.astype(np.float16)), named)
        return []
    channels = scale if layer.out_axis == 1 else scale[:, None]
    weight = (layer.weight / channels).astype(np.float16)
    take_constants(model, layer, add_constant(model, f"{made}/weight", weight), None)
    add_constant(model, f"{made}/scale", scale)
    add_constant(model, f"{made}/bias", np.zeros_like(scale) if bias is None else bias)
    return [
        helper.make_node("Cast", [f"{made}/half"], [f"{made}/float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{made}/float", f"{made}/scale"], [f"{made}/scaled"]),
        helper.make_node("Add", [f"{made}/scaled", f"{made}/bias"], [made]),
    ]


def _fits(layer: Layer) -> bool:
    constants = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    return all(float(np.abs(values).max(initial=0.0)) <= LARGEST for values in constants)


def _output_scale(model: ModelProto, layer: Layer) -> NDArray[np.float32] | None:
    """Return the size of each channel, a power of 2, of a layer that ends in float anyway; None if all are
    usual."""
    readers = [node.op_type for node in model.graph.node if layer.output in node.input]
    if layer.kind != "Gemm" or any(kind in _ELEMENTWISE for kind in readers):
        return None
    largest = np.abs(layer.weight).max(axis=1 - layer.out_axis)
    bias = 0.0 if layer.bias is None else float(np.abs(layer.bias).max())
    used = largest[largest > 0]
    if bias <= _COMFORTABLE and np.all((used >= 1 / _COMFORTABLE) & (used <= _COMFORTABLE)):
        return None
    scale = np.where(largest > 0, np.exp2(np.round(np.log2(np.where(largest > 0, largest, 1.0)))), 1.0)
    return scale.astype(np.float32)
