"""Layers in 8-bit integers: weights per channel, what comes in per tensor, everything else in float.

x ~ (q - zero_point) * scale, as QuantizeLinear and DequantizeLinear define it. onnxruntime makes one integer
product of a layer between them, which gives float where no integers follow: so does the last layer.

onnxruntime's quantizer rounds a value for all that reads it, not for layers alone: the score then compares rounded
features, and NaN in an image passes as a number. It also rounds what each layer gives, unless told otherwise
(OpTypesToExcludeOutputQuantization); told so, it is as exact as this where columns are equalised.
"""

import math
import platform
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from aetool.quantize._layers import (
    Layer,
    add_constant,
    insert_nodes,
    layers_of,
    set_nodes,
    take_constants,
)

Ranges = Mapping[str, tuple[float, float]]

ACTIVATIONS: Any = np.int8 if platform.machine().lower() in ("arm64", "aarch64") else np.uint8
"""Type that the processor multiplies fastest with signed weights: unsigned on x86 (VNNI), signed on ARM."""
_LARGEST_BIAS = 2.0**30


def integer_layers(model: ModelProto, in_float: Collection[str] = ()) -> list[Layer]:
    """Return the layers that can be integers: all but those named, and convolutions that give a result
    themselves."""
    ends = {output.name for output in model.graph.output}
    chosen = [layer for layer in layers_of(model) if layer.name not in in_float]
    return [layer for layer in chosen if layer.kind != "Conv" or _activated(model, layer) not in ends]


def values_to_observe(model: ModelProto) -> set[str]:
    """Return the names of the values whose ranges `to_int8` needs."""
    layers = integer_layers(model)
    return {layer.source for layer in layers} | {
        _activated(model, layer) for layer in layers if layer.kind == "Conv"
    }


def to_int8(model: ModelProto, ranges: Ranges, in_float: Collection[str] = ()) -> None:
    """Convert the layers of `model` to integers, except those named in `in_float`.

    Args:
        model: changed in place.
        ranges: ranges of `values_to_observe`.
        in_float: names of layers that stay in float.
    """
    layers = integer_layers(model, in_float)
    # A convolution in integers gives integers: what follows it has them anyway.
    convolved = {_activated(model, layer) for layer in layers if layer.kind == "Conv"}
    before: dict[str, list[NodeProto]] = {}
    after: dict[str, list[NodeProto]] = {}
    for value in {layer.source: None for layer in layers} | dict.fromkeys(sorted(convolved)):
        scale, zero_point = _steps(*ranges[value])
        add_constant(model, f"{value}/scale", np.asarray(scale, np.float32))
        add_constant(model, f"{value}/zero_point", zero_point)
    for value in sorted(convolved):
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = f"{value}/rounded" if name == value else name
        after[value] = [
            _node("QuantizeLinear", value, value, f"{value}/q"),
            _node("DequantizeLinear", f"{value}/q", value, f"{value}/rounded"),
        ]
    rounded = set(convolved)
    for layer in layers:
        nodes = before.setdefault(layer.output, [])
        if layer.source not in rounded:
            rounded.add(layer.source)
            nodes.append(_node("QuantizeLinear", layer.source, layer.source, f"{layer.source}/q"))
        nodes.append(_node("DequantizeLinear", f"{layer.source}/q", layer.source, f"{layer.output}/x"))
        nodes += _constants(model, layer, _steps(*ranges[layer.source])[0])
    insert_nodes(model, before, after)


def _activated(model: ModelProto, layer: Layer) -> str:
    """Return the name of a layer's output, after the ReLU that alone reads it."""
    ends = {output.name for output in model.graph.output}
    readers = [node for node in model.graph.node if layer.output in node.input]
    alone = len(readers) == 1 and readers[0].op_type == "Relu" and layer.output not in ends
    return str(readers[0].output[0]) if alone else layer.output


def _constants(model: ModelProto, layer: Layer, scale: float) -> list[NodeProto]:
    """Add weight and bias of a layer as integers, and return the nodes that make them float again."""
    others = tuple(i for i in range(layer.weight.ndim) if i != layer.out_axis)
    steps = np.abs(layer.weight).max(axis=others).astype(np.float64) / 127
    if layer.bias is not None:  # which has 32 bits, in steps of both scales
        steps = np.maximum(steps, np.abs(layer.bias) / (scale * _LARGEST_BIAS))
    steps = np.where(steps > 0, steps, 1.0)
    shape = [-1 if i == layer.out_axis else 1 for i in range(layer.weight.ndim)]
    weight = np.clip(np.rint(layer.weight / steps.reshape(shape)), -127, 127).astype(np.int8)
    of = f"{layer.output}/weight"
    add_constant(model, f"{of}/q", weight)
    add_constant(model, f"{of}/scale", steps.astype(np.float32))
    # Without this zero point, which is 0 by default, onnxruntime makes no integer product; the bias needs none.
    add_constant(model, f"{of}/zero_point", np.zeros(len(steps), np.int8))
    nodes = [_node("DequantizeLinear", f"{of}/q", of, f"{of}/float", axis=layer.out_axis)]
    bias = None
    if layer.bias is not None:
        both = steps.astype(np.float32) * np.float32(scale)
        to = f"{layer.output}/bias"
        add_constant(model, f"{to}/q", np.rint(layer.bias / both.astype(np.float64)).astype(np.int32))
        add_constant(model, f"{to}/scale", both)
        bias = f"{to}/float"
        nodes.append(helper.make_node("DequantizeLinear", [f"{to}/q", f"{to}/scale"], [bias], axis=0))
    take_constants(model, layer, f"{of}/float", bias)
    layer.node.input[0] = f"{layer.output}/x"
    return nodes


def _steps(low: float, high: float) -> tuple[float, NDArray[Any]]:
    """Scale and zero point that cover low to high; 0 is one of the steps."""
    limits = np.iinfo(ACTIVATIONS)
    scale = float(np.float32((high - low) / (limits.max - limits.min))) or 1.0
    zero_point = np.clip(np.rint(limits.min - low / scale), limits.min, limits.max)
    return scale, np.asarray(zero_point, ACTIVATIONS)


def _node(kind: str, value: str, of: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, [value, f"{of}/scale", f"{of}/zero_point"], [output], **attributes)


# int8_dynamic: weights in blocks of 8-bit integers, activations rounded per row at run time, no calibration.
#
# onnxruntime's `quantize_dynamic` takes one range over all rows of a batch, so that a row's result depends on its
# neighbours: on exported/breast-cancer, a score moves by 0.2 between a row alone and among others. Its MatMulNBits
# with accuracy_level 4 rounds block by block within each row; the quantizer for it takes no Gemm, and one size of
# block for all layers.

_DOMAIN = "com.microsoft"
_BLOCKS = (16, 32, 64, 128)
"""Weights of one output channel that may share a scale."""
_MIDDLE = 128


def to_int8_dynamic(model: ModelProto, in_float: Collection[str] = ()) -> None:
    """Turn every layer of `model` that multiplies a matrix into blocks, but those whose names are `in_float`."""
    before: dict[str, list[NodeProto]] = {}
    replaced: set[str] = set()
    for layer in layers_of(model):
        if layer.name not in in_float and layer.kind != "Conv":
            before[layer.output] = _product(model, layer)
            replaced.add(layer.output)
    insert_nodes(model, before)
    nodes = model.graph.node
    set_nodes(model, [node for node in nodes if node.op_type == "MatMulNBits" or node.output[0] not in replaced])
    if replaced and _DOMAIN not in {entry.domain for entry in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))


def _product(model: ModelProto, layer: Layer) -> list[NodeProto]:
    weight = layer.weight if layer.out_axis == 0 else layer.weight.T  # (out, in)
    out, into = weight.shape
    size = min(_BLOCKS, key=lambda block: (math.ceil(into / block) * (block + 4), -block))
    packed, scales = _packed(weight, size)
    of = f"{layer.output}/blocks"
    inputs = [layer.source, add_constant(model, f"{of}/q", packed), add_constant(model, f"{of}/scale", scales)]
    if layer.bias is not None:
        inputs += ["", "", add_constant(model, f"{of}/bias", layer.bias)]
    attributes = {"K": into, "N": out, "bits": 8, "block_size": size, "accuracy_level": 4}
    return [helper.make_node("MatMulNBits", inputs, [layer.output], domain=_DOMAIN, **attributes)]


def _packed(weight: NDArray[np.float32], size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pack (out, in) -> (out, blocks, size) around _MIDDLE, and (out, blocks) scales."""
    out, into = weight.shape
    count = math.ceil(into / size)
    padded = np.zeros((out, count * size), np.float64)
    padded[:, :into] = weight
    blocks = padded.reshape(out, count, size)
    scales = np.abs(blocks).max(axis=2) / 127
    scales = np.where(scales > 0, scales, 1.0).astype(np.float32)
    packed = np.rint(blocks / scales[:, :, None]) + _MIDDLE
    return packed.astype(np.uint8), scales
