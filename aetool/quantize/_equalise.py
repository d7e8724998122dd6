"""Columns brought to a common range before the first layer: 8 bits cover one range, not one for each column.

The graphs take raw units, and a scaler is often folded into their first layer. With c the middle of each column
and s a scale of its own,

    x' = (x - c) / s        W' = s W        b' = b + W c

is exact algebra, computed in float. s = sqrt(range of x / range of W) leaves both equally uneven, whatever the
units are (SmoothQuant, Xiao et al. 2023, with alpha = 1/2). onnxruntime's option of that name needs the package
neural-compressor, and moves no centre.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from aetool.choices import Calibration
from aetool.quantize._calibration import METHODS, Floats
from aetool.quantize._layers import Layer, add_constant, in_common_range, insert_nodes, layers_of, take_constants

_UNEVEN = 4.0
"""Ratio of all columns' range to one column's from which columns are uneven; at 4, a column keeps 6 of the 8
bits."""


def first_layers(model: ModelProto) -> list[Layer]:
    """Return the layers that read columns, with no other layer before them."""
    layers = layers_of(model)
    makers = {output: node for node in model.graph.node for output in node.output}
    outputs = {layer.output for layer in layers}

    def after_a_layer(value: str) -> bool:
        waiting, seen = [value], set()
        while waiting:
            name = waiting.pop()
            if name in outputs:
                return True
            if name not in seen and name in makers:
                waiting += makers[name].input
            seen.add(name)
        return False

    return [layer for layer in layers if layer.kind == "Gemm" and not after_a_layer(layer.source)]


def to_common_range(model: ModelProto, values: Mapping[str, Floats], calibration: Calibration) -> bool:
    """Rewrite the first layers where the ranges of their columns are uneven; return True if any was.

    Args:
        model: changed in place.
        values: values of each layer's source, (rows, columns).
        calibration: method that sets the ranges.
    """
    before: dict[str, list[NodeProto]] = {}
    for layer in first_layers(model):
        low, high = _column_ranges(values[layer.source], calibration)
        if not uneven(low, high):
            continue
        weight = layer.weight.astype(np.float64)
        weight = weight.T if layer.out_axis == 0 else weight  # (in, out)
        centre = ((low + high) / 2).astype(np.float32).astype(np.float64)
        share = _shares((high - low) / 2, np.abs(weight).max(axis=1)).astype(np.float32).astype(np.float64)
        bias = (0.0 if layer.bias is None else layer.bias) + centre @ weight
        scaled = weight * share[:, None]
        name = f"{layer.output}/common"
        weight_name = in_common_range(layer.name)
        add_constant(model, f"{name}/centre", centre.astype(np.float32))
        add_constant(model, f"{name}/gain", (1 / share).astype(np.float32))
        add_constant(model, weight_name, (scaled.T if layer.out_axis == 0 else scaled).astype(np.float32))
        add_constant(model, f"{name}/bias", bias.astype(np.float32))
        take_constants(model, layer, weight_name, f"{name}/bias")
        before[layer.output] = [
            helper.make_node("Sub", [layer.source, f"{name}/centre"], [f"{name}/centred"]),
            helper.make_node("Mul", [f"{name}/centred", f"{name}/gain"], [f"{name}/x"]),
        ]
        layer.node.input[0] = f"{name}/x"
    insert_nodes(model, before)
    return bool(before)


def _column_ranges(values: Floats, calibration: Calibration) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lowest and highest of each column, by a method of calibration; (columns,) each.

    Entropy needs more numbers than a column has: its percentiles are taken.
    """
    method = METHODS["percentile" if calibration == "entropy" else calibration]
    limits = [
        method(finite) if (finite := column[np.isfinite(column)]).any() else (0.0, 0.0) for column in values.T
    ]
    low, high = np.array(limits, np.float64).T
    return low, high


def uneven(low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    """Return True if one range for all columns leaves few steps to one of them."""
    width = (high - low)[high > low]
    return bool(width.size) and max(high.max(), 0.0) - min(low.min(), 0.0) > _UNEVEN * width.min()


def _shares(reach: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return s of each column; one that is constant, or that no weight reads, gets a usual one."""
    usable = (reach > 0) & (weight > 0)
    share = np.ones_like(reach)
    share[usable] = np.sqrt(reach[usable] / weight[usable])
    if not usable.any():
        return share
    both = np.median(share[usable] * weight[usable])
    constant = (weight > 0) & ~usable
    share[constant] = both / weight[constant]
    return share
