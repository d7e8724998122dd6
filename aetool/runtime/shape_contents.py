"""The numbers of small values that follow from shapes and constants: what sizes are computed from.

An operator that is not here gives numbers that nobody knows. That is safe: a size made of them is refused.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.model_proto import NUMPY, Node, Tensor
from aetool.runtime.shapes import Inputs, Shape, integers

MAX_NUMBERS = 4096
"""In a content that is kept."""

Array = NDArray[Any]
_Function = Callable[..., Any]


def content_of_node(node: Node, inputs: Inputs, shape: Shape) -> Array | None:
    """The numbers of the first output, of the shape given by the operator's rule; None if nobody knows."""
    if math.prod(shape) > MAX_NUMBERS:
        return None
    if node.op_type == "Shape":
        assert inputs[0] is not None  # its rule read it
        rank = len(inputs[0].shape)
        return np.array(
            inputs[0].shape[node.attributes.get("start", 0) : node.attributes.get("end", rank)], np.int64
        )
    if node.op_type == "Size":
        assert inputs[0] is not None
        return np.array(math.prod(inputs[0].shape), np.int64)
    function = _FUNCTIONS.get(node.operator)
    given = [None if value is None else value.content for value in inputs]
    if function is None or any(
        content is None and value is not None for content, value in zip(given, inputs, strict=True)
    ):
        return None
    with np.errstate(all="ignore"):
        result = np.asarray(function(node, inputs, *given))
    return result if result.shape == shape else None


def _divided(node: Node, inputs: Inputs, a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return a / b
    quotient = np.abs(a) // np.where(b == 0, 1, np.abs(b))  # towards zero, as in C
    return np.where((a < 0) == (b < 0), quotient, -quotient)


def _cast(node: Node, inputs: Inputs, x: Array) -> Array:
    return x.astype(NUMPY[node.attributes["to"]])


def _sliced(node: Node, inputs: Inputs, x: Array, *_: Any) -> Array:
    starts, ends = integers(inputs, 1, node, "starts") or [], integers(inputs, 2, node, "ends") or []
    axes = integers(inputs, 3, node, "axes") or list(range(len(starts)))
    steps = integers(inputs, 4, node, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _gathered(node: Node, inputs: Inputs, x: Array, indices: Array) -> Array:
    return np.take(x, indices.astype(np.int64), axis=node.attributes.get("axis", 0))


def _filled(node: Node, inputs: Inputs, shape: Array) -> Array:
    value = node.attributes.get("value")
    numbers: Any = value.numbers() if isinstance(value, Tensor) else np.zeros(1, np.float32)
    return np.full(shape.tolist(), numbers[0])


def _reduced(function: _Function) -> _Function:
    def rule(node: Node, inputs: Inputs, x: Array, *_: Any) -> Any:
        axes = integers(inputs, 1, node, "axes")
        keep = bool(node.attributes.get("keepdims", 1))
        return function(x, axis=tuple(axes) if axes else None, keepdims=keep)

    return rule


def _numpy(function: _Function) -> _Function:
    return lambda node, inputs, *given: function(*given)


def _same(node: Node, inputs: Inputs, x: Array, *_: Any) -> Array:
    return x


def _reshaped(node: Node, inputs: Inputs, x: Array, *_: Any) -> Array:
    wanted = integers(inputs, 1, node, "shape") or []
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(wanted)])


def _unsqueezed(node: Node, inputs: Inputs, x: Array, *_: Any) -> Array:
    return np.expand_dims(x, tuple(integers(inputs, 1, node, "axes") or ()))


def _squeezed(node: Node, inputs: Inputs, x: Array, *_: Any) -> Array:
    axes = integers(inputs, 1, node, "axes")
    return np.squeeze(x, None if axes is None else tuple(axes))


_FUNCTIONS: dict[str, _Function] = {
    "Identity": _same,
    "Cast": _cast,
    "Add": _numpy(np.add),
    "Sub": _numpy(np.subtract),
    "Mul": _numpy(np.multiply),
    "Div": _divided,
    "Min": _numpy(lambda *x: np.minimum.reduce(np.broadcast_arrays(*x))),
    "Max": _numpy(lambda *x: np.maximum.reduce(np.broadcast_arrays(*x))),
    "Neg": _numpy(np.negative),
    "Abs": _numpy(np.abs),
    "Floor": _numpy(np.floor),
    "Ceil": _numpy(np.ceil),
    "Equal": _numpy(np.equal),
    "Greater": _numpy(np.greater),
    "Less": _numpy(np.less),
    "Not": _numpy(np.logical_not),
    "And": _numpy(np.logical_and),
    "Or": _numpy(np.logical_or),
    "Where": _numpy(np.where),
    "Range": _numpy(lambda *x: np.arange(*[each.reshape(()) for each in x])),
    "Expand": _numpy(lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))),
    "Tile": _numpy(np.tile),
    "Concat": lambda node, inputs, *given: np.concatenate(given, axis=node.attributes["axis"]),
    "Transpose": lambda node, inputs, x: np.transpose(x, node.attributes.get("perm")),
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Slice": _sliced,
    "Gather": _gathered,
    "ConstantOfShape": _filled,
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
}
