"""Layers in 8-bit integers: weights per channel, what comes in per tensor, everything else in float.

x ~ (q - zero_point) * scale, as QuantizeLinear and DequantizeLinear define it. onnxruntime's quantizer writes the
nodes; ours are the ranges (see `calibration`), the choice of layers, and that what a product gives stays in float:
rounded too, the reconstruction of exported/breast-cancer is off by up to 2 times its range on the rows of
samples.csv, instead of half of it.
"""

import platform
from collections.abc import Collection, Mapping

import numpy as np
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from aetool.quantize.layers import Layer, add_constant, layers_of, take_constants

Ranges = Mapping[str, tuple[float, float]]

ACTIVATIONS = QuantType.QInt8 if platform.machine().lower() in ("arm64", "aarch64") else QuantType.QUInt8
"""Type that the processor multiplies fastest with signed weights: unsigned on x86 (VNNI), signed on ARM."""


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
    chosen = set()
    for layer in integer_layers(model, in_float):
        # A convolution in integers gives integers; the ReLU that follows is in their range.
        chosen |= {layer.output, _activated(model, layer)} if layer.kind == "Conv" else {layer.output}
        bias = None if layer.bias is None else add_constant(model, f"{layer.output}/bias", layer.bias)
        take_constants(model, layer, add_constant(model, f"{layer.output}/weight", layer.weight), bias)
    for node in model.graph.node:
        node.name = node.output[0]
    limits = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=ACTIVATIONS,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=sorted(chosen),
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu"],
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )
    quantizer.quantize_model()
    model.CopyFrom(quantizer.model.model)


def _activated(model: ModelProto, layer: Layer) -> str:
    """Return the name of a layer's output, after the ReLU that alone reads it."""
    ends = {output.name for output in model.graph.output}
    readers = [node for node in model.graph.node if layer.output in node.input]
    alone = len(readers) == 1 and readers[0].op_type == "Relu" and layer.output not in ends
    return str(readers[0].output[0]) if alone else layer.output
