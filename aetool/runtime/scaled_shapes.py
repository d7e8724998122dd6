"""Shapes of what enlarges or shrinks images, by sizes or by constant factors, as onnxruntime rounds them."""

import math
from fractions import Fraction

import numpy as np

from aetool.runtime.model_proto import FLOAT, Node
from aetool.runtime.shapes import Inputs, Shape, Side, axes_of, shape_of, sizes, whole

_EXACT = 1 << 24
"""Integers up to here are floats."""


def resized(node: Node, inputs: Inputs) -> list[Shape]:
    """Of Resize and Upsample."""
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
    """The factors, which must be known; None if there are none."""
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
    """A side times a float, where no way of rounding gives another.

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
