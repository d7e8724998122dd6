"""Shapes of what slides a window over an image or a series, as the ONNX operator reference defines them."""

from aetool.runtime.model_proto import Node
from aetool.runtime.shapes import Inputs, Rule, Shape, shape_of


def convolved(x: int = 0, w: int = 1) -> Rule:
    """Of Conv and its quantised forms: rows at input `x`, weights (channels, ..., *kernel) at `w`."""

    def rule(node: Node, inputs: Inputs) -> list[Shape]:
        weights = shape_of(inputs, w)
        return [_windows(node, shape_of(inputs, x), weights[2:], weights[0])]

    return rule


def pooled(node: Node, inputs: Inputs) -> list[Shape]:
    """Of MaxPool, AveragePool and LpPool."""
    shape = shape_of(inputs, 0)
    return [_windows(node, shape, tuple(node.attributes["kernel_shape"]), shape[1])] * max(1, len(node.outputs))


def _windows(node: Node, shape: Shape, kernel: Shape, channels: int) -> Shape:
    rank = len(shape) - 2
    get = node.attributes.get
    strides, dilations = get("strides") or [1] * rank, get("dilations") or [1] * rank
    pads, how = get("pads") or [0] * 2 * rank, get("auto_pad", b"NOTSET")
    if len(kernel) != rank or min([*strides, *dilations], default=1) < 1 or min(pads, default=0) < 0:
        raise ValueError(f"windows {kernel} of {shape}")
    result = []
    for i, side in enumerate(shape[2:]):
        if how in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(-(-side // strides[i]))
            continue
        around = 0 if how == b"VALID" else pads[i] + pads[i + rank]
        free = side + around - (kernel[i] - 1) * dilations[i] - 1
        steps = -(-free // strides[i]) if get("ceil_mode") else free // strides[i]
        if get("ceil_mode") and steps * strides[i] >= side + (0 if how == b"VALID" else pads[i]):
            steps -= 1  # a window must not start in the padding at the end
        result.append(steps + 1)
    return (shape[0], channels, *result)


def conv_transposed(node: Node, inputs: Inputs) -> list[Shape]:
    """Of ConvTranspose."""
    shape, weights = shape_of(inputs, 0), shape_of(inputs, 1)
    rank, get = len(shape) - 2, node.attributes.get
    strides, dilations = get("strides") or [1] * rank, get("dilations") or [1] * rank
    pads, more = get("pads") or [0] * 2 * rank, get("output_padding") or [0] * rank
    stated, how = get("output_shape"), get("auto_pad", b"NOTSET")
    result = []
    for i, side in enumerate(shape[2:]):
        if stated:
            result.append(stated[-rank:][i])
        elif how in (b"SAME_UPPER", b"SAME_LOWER"):
            result.append(side * strides[i])
        else:
            around = 0 if how == b"VALID" else pads[i] + pads[i + rank]
            result.append(strides[i] * (side - 1) + more[i] + (weights[2 + i] - 1) * dilations[i] + 1 - around)
    return [(shape[0], weights[1] * get("group", 1), *result)]
