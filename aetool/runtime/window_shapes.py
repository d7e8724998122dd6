"""Shapes of what slides a window over an image or a series, as the ONNX operator reference defines them."""

from aetool.runtime.model_proto import Node
from aetool.runtime.shapes import Inputs, Rule, Shape, Side, flag, shape_of, whole


def convolved(x: int = 0, w: int = 1) -> Rule:
    """Of Conv and its quantised forms: rows at input `x`, weights (channels, ..., *kernel) at `w`."""

    def rule(node: Node, inputs: Inputs) -> list[Shape]:
        weights = shape_of(inputs, w)
        return [_windows(node, shape_of(inputs, x), tuple(map(whole, weights[2:])), whole(weights[0]))]

    return rule


def pooled(node: Node, inputs: Inputs) -> list[Shape]:
    """Of MaxPool, AveragePool and LpPool."""
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
    """Of ConvTranspose."""
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
