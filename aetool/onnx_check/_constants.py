"""Constant folding of small values that sizes are computed from.

Numbers are Python's integers, which neither round nor wrap, in arrays of objects; in float32, which exporters
compute sizes in too, fractions. An operator that is not here, and a result that its type cannot hold exactly, are
unknown. That is safe: a size made of them is refused.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from aetool.onnx_check._shape_inputs import (
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
from aetool.onnx_check.model import BOOL, FLOAT, INT32, INT64, RANGES, Node, OnnxTensor

_FEW = 16
_MAX_NUMBERS = {INT64: 1024, INT32: 1024, BOOL: 1024, FLOAT: _FEW}
"""Largest content that is kept, by its type; in float32 there are as many sizes as axes, and no weights."""
_FLOAT_RANGE = 2.0**-100, 2.0**100
"""Range far from numbers that are flushed to zero, and from infinity."""
_MOST_TIMES = 1 << 31
"""Largest multiple of the number of rows: below 2**31, it stays an int64."""
_COMPARED = 1 << 31
"""Largest integers that onnxruntime 1.31 compares correctly, in 32 bits, for minimum and maximum."""
_SUMMED = 1 << 53
"""Largest integers that onnxruntime reduces exactly: it takes float64."""
_Function = Callable[..., Any]


class _UnknownError(ValueError):
    """Number that cannot be followed."""


def exactly(numbers: Iterable[Side], shape: Shape) -> Content:
    """Make an array of integers, one by one: numpy would make an array of a tuple."""
    flat = np.fromiter(numbers, object)
    return flat.reshape([whole(side) for side in shape])


def content_of_node(node: Node, inputs: Inputs, shape: Shape, kind: int) -> Content | None:
    """Return the numbers of the first output, of the shape and type that its rules give; None if unknown."""
    if kind not in _MAX_NUMBERS or any(isinstance(side, Rows) or side < 0 for side in shape):
        return None
    if whole(product(shape)) > _MAX_NUMBERS[kind]:
        return None
    function = _FUNCTIONS.get(node.operator)
    contents = [None if value is None else value.content for value in inputs]
    if function is None or any(
        content is None and value is not None and node.operator not in _OF_SHAPES
        for content, value in zip(contents, inputs, strict=True)
    ):
        return None
    try:
        result = function(node, inputs, shape, *map(_in_fractions, contents))
    except _UnknownError:
        return None
    found = result if isinstance(result, np.ndarray) else exactly([result], ())
    if found.shape != shape:
        raise ValueError("its numbers are not of the shape that they should have")
    return found if all(_held(number, kind) for number in found.flat) else None


def content_of_constant(tensor: OnnxTensor) -> Content | None:
    """Return the numbers of a constant, where they are few and of a type that sizes are computed in."""
    kind = tensor.data_type
    if math.prod(tensor.dims) > _MAX_NUMBERS.get(kind, -1):
        return None
    if kind == FLOAT:
        numbers = tensor.numbers()
        return None if numbers is None else content_of_list(numbers.tolist(), tensor.dims, kind)
    return content_of_list(tensor.exact(), tensor.dims, kind)


def content_of_list(numbers: Sequence[Any] | None, shape: Shape, kind: int) -> Content | None:
    """Return integers or floats as content; None if unknown."""
    if numbers is None or len(numbers) > _MAX_NUMBERS[kind]:
        return None
    if kind != FLOAT:
        return exactly(numbers, shape) if all(_held(number, kind) for number in numbers) else None
    # Most are the weights of a small layer: no fractions are made of what no size is computed from.
    low, high = _FLOAT_RANGE
    if not all(number == 0 or low < abs(number) < high for number in numbers):
        return None
    return np.array(numbers, np.float64).reshape([whole(side) for side in shape])


def _in_fractions(content: Content | None) -> Content | None:
    if content is None or content.dtype == object:
        return content
    fractions: list[Any] = [Fraction(number) for number in content.ravel().tolist()]
    return exactly(fractions, content.shape)


def _held(number: Side | Fraction, kind: int) -> bool:
    """Decide whether the type can hold the number exactly."""
    if isinstance(number, Rows):
        return kind == INT64 and 0 < number.times < _MOST_TIMES
    if isinstance(number, Fraction):
        low, high = _FLOAT_RANGE
        near = number == 0 or low < abs(number) < high
        return kind == FLOAT and near and Fraction(float(np.float32(float(number)))) == number
    return kind in RANGES and RANGES[kind][0] <= number <= RANGES[kind][1]


def _shape(node: Node, inputs: Inputs, shape: Shape, *_: Any) -> Content:
    sides = given(inputs, 0).shape
    return exactly(sides[node.attributes.get("start", 0) : node.attributes.get("end", len(sides))], shape)


def _size(node: Node, inputs: Inputs, shape: Shape, *_: Any) -> Content:
    return exactly([product(given(inputs, 0).shape)], ())


def _in_its_new_shape(node: Node, inputs: Inputs, shape: Shape, x: Content, *_: Any) -> Content:
    return x.reshape([whole(side) for side in shape])


def _cast(node: Node, inputs: Inputs, shape: Shape, x: Content) -> Any:
    return _CAST[node.attributes["to"]](x)


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
    content = content_of_constant(value) if isinstance(value, OnnxTensor) else None
    if content is None:
        raise _UnknownError
    return exactly([content.item()] * whole(product(shape)), shape)


def _range(node: Node, inputs: Inputs, shape: Shape, *bounds: Content) -> Content:
    kind = type(bounds[0].item())
    return exactly(map(kind, range(*[int(whole(bound.item())) for bound in bounds])), shape)


def _reduced(function: Callable[[Any, Any], Any], most: int, largest: Callable[[Iterable[int]], int]) -> _Function:
    """Reduce all numbers of a value to one: with one result, the axes do not matter.

    Args:
        function: combines two numbers.
        most: bound below which onnxruntime is exact.
        largest: bound of what a part of the numbers may come to.
    """

    def apply(node: Node, inputs: Inputs, shape: Shape, x: Content, *_: Content) -> Content:
        # Integers alone: with floats it counts which are taken together first.
        if whole(product(shape)) != 1 or not 0 < x.size <= _FEW or any(isinstance(n, Fraction) for n in x.flat):
            raise _UnknownError
        if largest(map(_bound, x.flat)) > most:
            raise _UnknownError
        return exactly([functools.reduce(function, x.flat)], shape)

    return apply


def _bound(side: Any) -> Any:
    """Return a bound on a number, whatever its sign; there are fewer than 2**31 rows."""
    return side.times << 31 if isinstance(side, Rows) else abs(side) + 1


def _clipped(node: Node, inputs: Inputs, shape: Shape, x: Content, *bounds: Content | None) -> Any:
    if "min" in node.attributes or "max" in node.attributes:
        raise _UnknownError
    found: Any = x
    for function, bound in zip((_LARGER, _SMALLER), bounds, strict=False):
        found = found if bound is None else function(found, bound)
    return found


def _each(function: Callable[..., Any], inputs: int) -> _Function:
    apply = np.frompyfunc(function, inputs, 1)

    def found(node: Node, values: Inputs, shape: Shape, *contents: Content) -> Any:
        if len(contents) != inputs:  # Min and Max take any number
            raise _UnknownError
        return apply(*contents)

    return found


def _plus(a: Side, b: Side) -> Side:
    if isinstance(a, Rows) != isinstance(b, Rows) and 0 not in (a, b):
        raise _UnknownError
    return added([a, b])


def _minus(a: Side, b: Side) -> Side:
    if isinstance(a, Rows) and isinstance(b, Rows):
        return rows(a.times - b.times)
    return a if b == 0 else _known(lambda x, y: x - y)(a, b)


def _times(a: Side, b: Side) -> Side:
    if isinstance(a, Rows):
        if isinstance(b, Rows):
            raise _UnknownError
        return rows(a.times * b)
    return rows(a * b.times) if isinstance(b, Rows) else a * b


def _over(a: Side | Fraction, b: Side) -> Side | Fraction:
    """Divide towards zero, as in C; multiples of the rows only without remainder; fractions as they are."""
    if isinstance(b, Rows) or b == 0:
        raise _UnknownError
    if isinstance(a, Fraction):
        return a / b
    if isinstance(a, Rows):
        if b < 0 or a.times % b:
            raise _UnknownError
        return quotient(a, b)
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _one_of(*, larger: bool) -> Callable[[Any, Any], Any]:
    """Return a function for the larger or the smaller; a number of rows is only known not to be below zero."""
    choose: Any = max if larger else min

    def apply(a: Any, b: Any) -> Any:
        if max(_bound(a), _bound(b)) > _COMPARED:
            raise _UnknownError
        if isinstance(a, Rows) == isinstance(b, Rows):
            return choose(a, b)
        many, number = (a, b) if isinstance(a, Rows) else (b, a)
        if number > 0:
            raise _UnknownError
        return many if larger else number

    return apply


def _modulo(node: Node, inputs: Inputs, shape: Shape, a: Content, b: Content) -> Any:
    """Return the remainder with the sign of `b`, as Python does."""
    if node.attributes.get("fmod") or any(side == 0 for side in b.flat):
        raise _UnknownError
    return _MODULO(a, b)


def _compared(function: Callable[[int, int], bool]) -> Callable[[Side, Side], Side]:
    """Return a comparison; a number of rows is only known not to be below zero."""

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


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function for numbers that are the same for every batch."""

    def apply(*sides: Any) -> Any:
        if any(isinstance(side, Rows) for side in sides):
            raise _UnknownError
        return function(*sides)

    return apply


_NONZERO = np.frompyfunc(_known(lambda side: int(side != 0)), 1, 1)
_INTEGER = np.frompyfunc(lambda side: int(side) if isinstance(side, Fraction) else side, 1, 1)
_CAST = {
    BOOL: _NONZERO,
    FLOAT: np.frompyfunc(_known(Fraction), 1, 1),
    **dict.fromkeys((INT32, INT64), _INTEGER),  # towards zero
}
_MODULO = np.frompyfunc(_known(lambda a, b: a % b), 2, 1)
_LARGER, _SMALLER = (np.frompyfunc(_one_of(larger=larger), 2, 1) for larger in (True, False))
_OF_SHAPES = ("Shape", "Size")
_FUNCTIONS: dict[str, _Function] = {
    "Shape": _shape,
    "Size": _size,
    **dict.fromkeys(("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"), _in_its_new_shape),
    "Cast": _cast,
    "Add": _each(_plus, 2),
    "Sub": _each(_minus, 2),
    "Mul": _each(_times, 2),
    "Div": _each(_over, 2),
    "Mod": _modulo,
    "Neg": _each(_known(lambda a: -a), 1),
    "Abs": _each(lambda a: a if isinstance(a, Rows) else abs(a), 1),
    "Floor": _each(_known(lambda a: Fraction(math.floor(a))), 1),
    "Ceil": _each(_known(lambda a: Fraction(math.ceil(a))), 1),
    "Round": _each(_known(lambda a: Fraction(round(a))), 1),  # halves to even numbers, both
    "Max": _each(_one_of(larger=True), 2),
    "Min": _each(_one_of(larger=False), 2),
    "Clip": _clipped,
    "ReduceMax": _reduced(_one_of(larger=True), _COMPARED, max),
    "ReduceMin": _reduced(_one_of(larger=False), _COMPARED, max),
    "ReduceProd": _reduced(_times, _SUMMED, math.prod),
    "ReduceSum": _reduced(_plus, _SUMMED, sum),
    "Equal": _each(_compared(lambda a, b: a == b), 2),
    "Greater": _each(_compared(lambda a, b: a > b), 2),
    "Less": _each(_compared(lambda a, b: a < b), 2),
    "GreaterOrEqual": _each(_compared(lambda a, b: a >= b), 2),
    "LessOrEqual": _each(_compared(lambda a, b: a <= b), 2),
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
