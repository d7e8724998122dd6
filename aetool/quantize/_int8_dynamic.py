"""int8_dynamic: weights in blocks of 8-bit integers, activations rounded per row at run time, no calibration.

onnxruntime's `quantize_dynamic` takes one range over all rows of a batch, so that a row's result depends on its
neighbours: on exported/breast-cancer, a score moves by 0.2 between a row alone and among others. Its MatMulNBits
with accuracy_level 4 rounds block by block within each row; the quantizer for it takes no Gemm, and one size of
block for all layers.
"""

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from aetool.quantize._layers import Layer, add_constant, insert_nodes, layers_of, set_nodes

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
