"""The integers of small values that follow from shapes and constants: what sizes are computed from.

Python's integers, which neither round nor wrap, in arrays of objects. An operator that is not here, a number that
is no integer, and a result that its type cannot hold, are unknown. That is safe: a size made of them is refused.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from aetool.runtime.model_proto import BOOL, INT64, RANGES, Node, Tensor
from aetool.runtime.shapes import (
    Content,
    Inputs,
    Rows,
    Shape,
    Side,
    added,
    given,
    integers,
    product,
    quotient,
    rows,
    whole,
)

MAX_NUMBERS = 1024
"""In a content that is kept."""
_MOST_TIMES = 1 << 31
"""A multiple of the number of rows, below 2**31, stays an int64."""
_Function = Callable[..., Any]


class _UnknownError(ValueError):
    """A number that cannot be followed."""


def exactly(numbers: Iterable[Side], shape: Shape) -> Content:
    """An array of integers; one by one, since numpy would make an array of a tuple."""
    flat = np.fromiter(numbers, object)
    return flat.reshape([whole(side) for side in shape])


def content_of_node(node: Node, inputs: Inputs, shape: Shape, kind: int) -> Content | None:
    """The integers of the first output, of the shape and type that its rules give; None if nobody knows."""
    if kind not in RANGES or any(isinstance(side, Rows) or side < 0 for side in shape):
        return None
    if whole(product(shape)) > MAX_NUMBERS:
        return None
    function = _FUNCTIONS.get(node.operator)
    contents = [None if value is None else value.content for value in inputs]
    if function is None or any(
        content is None and value is not None and node.operator not in _OF_SHAPES
        for content, value in zip(contents, inputs, strict=True)
    ):
        return None
    try:
        result = function(node, inputs, shape, *contents)
    except _UnknownError:
        return None
    found = result if isinstance(result, np.ndarray) else exactly([result], ())
    if found.shape != shape:
        raise ValueError("its numbers are not of the shape that they should have")
    return found if all(_held(side, kind) for side in found.flat) else None


def _held(side: Side, kind: int) -> bool:
    """Whether the type can hold it."""
    if isinstance(side, Rows):
        return kind == INT64 and 0 < side.times < _MOST_TIMES
    low, high = RANGES[kind]
    return low <= side <= high


def _shape(node: Node, inputs: Inputs, shape: Shape, *_: Any) -> Content:
    sides = given(inputs, 0).shape
    return exactly(sides[node.attributes.get("start", 0) : node.attributes.get("end", len(sides))], shape)


def _size(node: Node, inputs: Inputs, shape: Shape, *_: Any) -> Content:
    return exactly([product(given(inputs, 0).shape)], ())


def _in_its_new_shape(node: Node, inputs: Inputs, shape: Shape, x: Content, *_: Any) -> Content:
    return x.reshape([whole(side) for side in shape])


def _cast(node: Node, inputs: Inputs, shape: Shape, x: Content) -> Any:
    return _NONZERO(x) if node.attributes["to"] == BOOL else x


def _sliced(node: Node, inputs: Inputs, shape: Shape, x: Content, *_: Any) -> Content:
    starts, ends = integers(inputs, 1, node, "starts") or [], integers(inputs, 2, node, "ends") or []
    axes = integers(inputs, 3, node, "axes") or list(range(len(starts)))
    steps = integers(inputs, 4, node, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _gathered(node: Node, inputs: Inputs, shape: Shape, x: Content, indices: Content) -> Any:
    places = np.array([whole(side) for side in indices.flat], np.int64).reshape(indices.shape)
    return np.take(x, places, axis=node.attributes.get("axis", 0))


def _filled(node: Node, inputs: Inputs, shape: Shape, *_: Any) -> Content:
    value = node.attributes.get("value")
    numbers = value.exact(1) if isinstance(value, Tensor) else None
    if not numbers:
        raise _UnknownError
    return exactly(numbers * whole(product(shape)), shape)


def _range(node: Node, inputs: Inputs, shape: Shape, *bounds: Content) -> Content:
    return exactly(range(*[whole(bound.item()) for bound in bounds]), shape)


def _each(function: Callable[..., Side], inputs: int) -> _Function:
    apply = np.frompyfunc(function, inputs, 1)
    return lambda node, values, shape, *contents: apply(*contents)


def _plus(a: Side, b: Side) -> Side:
    if isinstance(a, Rows) != isinstance(b, Rows) and 0 not in (a, b):
        raise _UnknownError
    return added([a, b])


def _times(a: Side, b: Side) -> Side:
    if isinstance(a, Rows):
        if isinstance(b, Rows):
            raise _UnknownError
        return rows(a.times * b)
    return rows(a * b.times) if isinstance(b, Rows) else a * b


def _over(a: Side, b: Side) -> Side:
    """Towards zero, as in C; multiples of the rows where nothing is left over."""
    if isinstance(b, Rows) or b == 0:
        raise _UnknownError
    if isinstance(a, Rows):
        if b < 0 or a.times % b:
            raise _UnknownError
        return quotient(a, b)
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _compared(function: Callable[[int, int], bool]) -> Callable[[Side, Side], Side]:
    """Numbers of rows are not below zero: all that is known of them."""

    def apply(a: Side, b: Side) -> Side:
        if isinstance(a, Rows):
            if isinstance(b, Rows) or b >= 0:
                raise _UnknownError
            return int(function(1, -1))
        if isinstance(b, Rows):
            if a >= 0:
                raise _UnknownError
            return int(function(-1, 1))
        return int(function(a, b))

    return apply


def _known(function: Callable[..., int]) -> Callable[..., Side]:
    """For integers that are the same for every batch."""

    def apply(*sides: Side) -> Side:
        if any(isinstance(side, Rows) for side in sides):
            raise _UnknownError
        return function(*sides)

    return apply


_NONZERO = np.frompyfunc(_known(lambda side: int(side != 0)), 1, 1)
_OF_SHAPES = ("Shape", "Size")
_FUNCTIONS: dict[str, _Function] = {
    "Shape": _shape,
    "Size": _size,
    **dict.fromkeys(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"), _in_its_new_shape),
    "Cast": _cast,
    "Add": _each(_plus, 2),
    "Sub": _each(lambda a, b: a if b == 0 else _known(lambda x, y: x - y)(a, b), 2),
    "Mul": _each(_times, 2),
    "Div": _each(_over, 2),
    "Equal": _each(_compared(lambda a, b: a == b), 2),
    "Greater": _each(_compared(lambda a, b: a > b), 2),
    "Less": _each(_compared(lambda a, b: a < b), 2),
    "Not": _each(lambda a: 1 - a, 1),
    "And": _each(min, 2),
    "Or": _each(max, 2),
    "Where": _each(lambda condition, a, b: a if condition else b, 3),
    "Range": _range,
    "Expand": lambda node, inputs, shape, x, *_: np.broadcast_to(x, shape),
    "Tile": lambda node, inputs, shape, x, repeats: np.tile(x, [whole(side) for side in repeats]),
    "Concat": lambda node, inputs, shape, *contents: np.concatenate(contents, axis=node.attributes["axis"]),
    "Transpose": lambda node, inputs, shape, x: np.transpose(x, node.attributes.get("perm")),
    "Slice": _sliced,
    "Gather": _gathered,
    "ConstantOfShape": _filled,
}
