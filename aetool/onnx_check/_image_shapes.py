"""Shape rules of operators on images and series, by the operator reference: sliding windows and resizing."""

import math
from fractions import Fraction

import numpy as np

from aetool.onnx_check._shape_inputs import Inputs, Rule, Shape, Side, axes_of, flag, shape_of, sizes, whole
from aetool.onnx_check.model import FLOAT, Node


def convolved(x: int = 0, w: int = 1) -> Rule:
    """Return the rule of Conv and its quantised forms: input `x`, weights (channels, ..., *kernel) at `w`."""

    def rule(node: Node, inputs: Inputs) -> list[Shape]:
        weights = shape_of(inputs, w)
        return [_windows(node, shape_of(inputs, x), tuple(map(whole, weights[2:])), whole(weights[0]))]

    return rule


def pooled(node: Node, inputs: Inputs) -> list[Shape]:
    """Return the shape that MaxPool, AveragePool or LpPool gives."""
    shape = shape_of(inputs, 0)
    return [_windows(node, shape, tuple(node.attributes["kernel_shape"]), shape[1])] * (
        2 if node.operator == "MaxPool" else 1
    )


def _windows(node: Node, shape: Shape, kernel: tuple[int, ...], channels: Side) -> Shape:
    rank = len(shape) - 2
    get = node.attributes.get
    strides, dilations = get("strides") or [1] * rank, get("dilations") or [1] * rank
    pads, how = get("pads") or [0] * 2 * rank, get("auto_pad", b"NOTSET")
    listed = {len(kernel), len(strides), len(dilations), len(pads) / 2}
    if rank < 1 or listed != {rank} or min([*strides, *dilations, *kernel]) < 1 or min(pads) < 0:
        raise ValueError(f"windows {kernel} of {shape}")
    if how not in _PADDING:
        raise ValueError(f"auto_pad {how!r}")
    result = []
    for i, side in enumerate(map(whole, shape[2:])):
        if how in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(-(-side // strides[i]))
            continue
        around = 0 if how == b"VALID" else pads[i] + pads[i + rank]
        free = side + around - (kernel[i] - 1) * dilations[i] - 1
        up = flag(node, "ceil_mode")
        steps = -(-free // strides[i]) if up else free // strides[i]
        if up and steps * strides[i] >= side + (0 if how == b"VALID" else pads[i]):
            steps -= 1  # a window must not start in the padding at the end
        result.append(steps + 1)
    return (shape[0], channels, *result)


def conv_transposed(node: Node, inputs: Inputs) -> list[Shape]:
    """Return the shape that ConvTranspose gives."""
    shape, weights = shape_of(inputs, 0), shape_of(inputs, 1)
    rank, get = len(shape) - 2, node.attributes.get
    kernel, group = tuple(map(whole, weights[2:])), get("group", 1)
    strides, dilations = get("strides") or [1] * rank, get("dilations") or [1] * rank
    pads, more = get("pads") or [0] * 2 * rank, get("output_padding") or [0] * rank
    stated, how = get("output_shape"), get("auto_pad", b"NOTSET")
    listed = {len(kernel), len(strides), len(dilations), len(pads) / 2, len(more)}
    if rank < 1 or listed != {rank} or min([*strides, *dilations, *kernel]) < 1 or min([*pads, *more]) < 0:
        raise ValueError(f"windows {kernel} of {shape}")
    if how not in _PADDING or group < 1:
        raise ValueError(f"auto_pad {how!r}, {group} groups")
    result = []
    for i, side in enumerate(map(whole, shape[2:])):
        if stated:
            result.append(stated[-rank:][i])
        elif how in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(side * strides[i])
        else:
            around = 0 if how == b"VALID" else pads[i] + pads[i + rank]
            result.append(strides[i] * (side - 1) + more[i] + (kernel[i] - 1) * dilations[i] + 1 - around)
    return [(shape[0], whole(weights[1]) * group, *result)]


_PADDING = (b"NOTSET", b"SAME_UPPER", b"SAME_LOWER", b"VALID")


# Shapes of what enlarges or shrinks images, by sizes or by constant factors, as onnxruntime rounds them.

_EXACT = 1 << 24
"""Integers up to here are floats."""


def resized(node: Node, inputs: Inputs) -> list[Shape]:
    """Return the shape that Resize or Upsample gives."""
    shape = shape_of(inputs, 0)
    listed = node.attributes.get("axes")
    axes = axes_of(range(len(shape)) if listed is None else listed, len(shape))
    wanted, result = sizes(inputs, 3, node, ""), list(shape)
    scales = _scales(node, inputs)
    if (wanted is None) == (scales is None):
        raise ValueError("either sizes or scales are needed")
    if wanted is not None:
        if node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
            raise ValueError("the size of its output depends on how its numbers are rounded")
        for axis, side in zip(axes, wanted, strict=True):
            result[axis] = side if side == shape[axis] else whole(side)
    else:
        for axis, scale in zip(axes, scales or (), strict=True):
            result[axis] = _scaled(shape[axis], scale)
    return [tuple(result)]


def _scales(node: Node, inputs: Inputs) -> list[float] | None:
    """Return the factors, which must be known; None if there are none."""
    place = 1 if len(inputs) == 2 else 2
    value = inputs[place] if place < len(inputs) else None
    if value is None:
        listed = node.attributes.get("scales")
        return None if listed is None else list(listed)
    if value.shape == (0,):  # as some exporters write "none"
        return None
    if value.content is None or value.kind != FLOAT or len(value.shape) != 1:
        raise ValueError("its factors are not constants, nor computed exactly from shapes")
    return [float(number) for number in value.content]


def _scaled(side: Side, scale: float) -> Side:
    """Multiply a side by a float, where every way of rounding gives the same.

    Raises:
        ValueError: one does.
    """
    if scale == 1:
        return side
    if not 0 < scale <= _EXACT or whole(side) > _EXACT:
        raise ValueError(f"a side of {whole(side)} times {scale}")
    exact = math.floor(Fraction(scale) * whole(side))
    rounded = np.float32(scale) * np.float32(whole(side))
    if exact != math.floor(rounded):
        raise ValueError(f"{whole(side)} times {scale} depends on how it is rounded")
    return exact
