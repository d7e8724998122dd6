"""Inputs of shape rules: the shapes of a node's inputs, and the numbers of those that sizes are taken from.

Every size is an exact integer, or an exact multiple of the number of rows in a batch, whatever that is: what holds
here holds for every batch. Nothing is rounded, guessed or tried for some numbers of rows.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from aetool.onnx_check.model import BOOL, FLOAT, INT32, INT64, UINT8, Node, OnnxTensor


class Rows(NamedTuple):
    """Multiple of the number of rows."""

    times: int


Side = int | Rows
Shape = tuple[Side, ...]
Content = NDArray[Any]
"""Exact integers, as Side, or for float32 fractions, or floats as a file has them, in the shape of their value."""


class Value(NamedTuple):
    """Known properties of a value between nodes."""

    shape: Shape
    kind: int = 0
    """TensorProto.DataType; 0 where it is not followed."""
    content: Content | None = None
    """Its numbers, where they follow from constants and shapes alone, and are few."""


Inputs = Sequence[Value | None]
Rule = Callable[[Node, Inputs], list[Shape]]


def rows(times: int) -> Side:
    """Return `times` times the number of rows."""
    return Rows(times) if times else 0


def whole(side: Side) -> int:
    """Return a size that must be the same for every batch.

    Raises:
        ValueError: it is not.
    """
    if isinstance(side, Rows):
        raise ValueError("the size of its output depends on the number of rows in another way than by a factor")
    return side


def product(sides: Iterable[Side]) -> Side:
    """Return the number of elements.

    Raises:
        ValueError: more than the number of rows times something.
    """
    number, depends = 1, 0
    for side in sides:
        depends += isinstance(side, Rows)
        number *= side.times if isinstance(side, Rows) else side
    if depends > 1 and number:
        raise ValueError("its output grows faster than the number of rows")
    return rows(number) if depends else number


def quotient(a: Side, b: Side) -> Side:
    """Divide exactly.

    Raises:
        ValueError: there is a remainder.
    """
    if isinstance(b, Rows):
        a, b = (a.times, b.times) if isinstance(a, Rows) else (a, 0)
    number = a.times if isinstance(a, Rows) else a
    if b == 0 or number % b:
        raise ValueError(f"{number} cannot be divided by {b}")
    return rows(number // b) if isinstance(a, Rows) else number // b


def added(sides: Sequence[Side]) -> Side:
    """Return the sum of sides that all depend on the rows, or that none does."""
    if any(isinstance(side, Rows) for side in sides):
        return rows(
            sum(side.times if isinstance(side, Rows) else 0 if side == 0 else whole(Rows(1)) for side in sides)
        )
    return sum(map(whole, sides))


def in_one_row(shape: Iterable[Side]) -> int:
    """Count a value's numbers where there is one row: for n rows, at most n times as many."""
    return math.prod(side.times if isinstance(side, Rows) else side for side in shape)


def given(inputs: Inputs, index: int) -> Value:
    """Return an input that must be there."""
    value = inputs[index]
    if value is None:
        raise ValueError(f"input {index} is missing")
    return value


def shape_of(inputs: Inputs, index: int) -> Shape:
    """Return the shape of an input that must be there."""
    return given(inputs, index).shape


def content_of(inputs: Inputs, index: int) -> Content | None:
    """Return the integers of an input that is left out or known.

    Raises:
        ValueError: they depend on the rows, so that the size of the result does.
    """
    value = inputs[index] if index < len(inputs) else None
    if value is not None and (value.content is None or value.kind == FLOAT):
        raise ValueError(f"the size of its output is computed from data (input {index})")
    return None if value is None else value.content


def sizes(inputs: Inputs, index: int, node: Node, attribute: str) -> list[Side] | None:
    """Return sizes given as an input, or in older operator sets as an attribute; None if neither.

    Raises:
        ValueError: both are given, or one that is not known.
    """
    found = content_of(inputs, index) if index >= 0 else None
    listed: Any = node.attributes.get(attribute)
    if found is None:
        return [listed] if isinstance(listed, int) else listed
    if listed is not None:
        raise ValueError(f"{attribute} is given twice")
    return list(found.ravel())


def integers(inputs: Inputs, index: int, node: Node, attribute: str) -> list[int] | None:
    """Return `sizes` that are the same for every batch."""
    found = sizes(inputs, index, node, attribute)
    return None if found is None else [whole(side) for side in found]


def flag(node: Node, name: str, default: int = 0) -> bool:
    """Return an attribute that is 0 or 1: operators do not agree on what other numbers mean."""
    value = node.attributes.get(name, default)
    if value not in (0, 1):
        raise ValueError(f"{name} {value}, expected 0 or 1")
    return bool(value)


def axis_of(axis: int, rank: int) -> int:
    """Return an axis from 0 on; a negative one counts from the end."""
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} of {rank}")
    return axis % max(rank, 1)


def axes_of(axes: Sequence[int], rank: int) -> list[int]:
    """Return all axes from 0 on, none twice."""
    found = [axis_of(axis, rank) for axis in axes]
    if len(set(found)) != len(found):
        raise ValueError(f"axes {list(axes)} of {rank}")
    return found


def broadcast(*shapes: Shape) -> Shape:
    """Broadcast shapes by NumPy's rule."""
    if shapes and all(shape == shapes[0] for shape in shapes):  # nearly always
        return shapes[0]
    rank = max(map(len, shapes), default=0)
    result: list[Side] = []
    for sides in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        others = set(sides) - {1}
        if len(others) > 1:
            raise ValueError(f"shapes {[stated(shape) for shape in shapes]} do not fit together")
        result.append(others.pop() if others else 1)
    return tuple(result)


def stated(shape: Shape) -> list[int | str]:
    """Return a shape for messages."""
    return [f"{side.times} x rows" if isinstance(side, Rows) else side for side in shape]


# The types of an operator's outputs, as far as something depends on them: a size, or whether it may divide.

UNKNOWN = 0
_Rule = Callable[[Node, Inputs], int]


def types_of_outputs(node: Node, inputs: Inputs, count: int) -> list[int]:
    """Return the TensorProto.DataType of each of `count` outputs; UNKNOWN is always right."""
    first = _FIRST.get(node.operator, _LIKE_THE_FIRST)(node, inputs)
    if node.operator == "Split":
        return [first] * count
    return [first] if count == 1 else [first, *_OTHERS.get(node.operator, ()), *[UNKNOWN] * count][:count]


def _like(place: int) -> _Rule:
    def rule(node: Node, inputs: Inputs) -> int:
        value = inputs[place] if place < len(inputs) else None
        return UNKNOWN if value is None else value.kind

    return rule


def _always(kind: int) -> _Rule:
    return lambda node, inputs: kind


def _attribute(name: str) -> _Rule:
    def rule(node: Node, inputs: Inputs) -> int:
        kind = node.attributes.get(name, UNKNOWN)
        return kind if isinstance(kind, int) else UNKNOWN

    return rule


def _filled(node: Node, inputs: Inputs) -> int:
    value = node.attributes.get("value")
    return value.data_type if isinstance(value, OnnxTensor) else FLOAT


_TRUTH = "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Xor"
_ELSEWHERE = """
QuantizeLinear com.microsoft.QuantizeLinear com.microsoft.QGemm DequantizeLinear com.microsoft.DequantizeLinear
QLinearConv QLinearMatMul com.microsoft.QLinearAdd com.microsoft.QLinearMul
com.microsoft.QLinearLeakyRelu com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax EyeLike
"""
_FLOATS = """
com.microsoft.MatMulIntegerToFloat com.microsoft.DynamicQuantizeMatMul ai.onnx.ml.Scaler ai.onnx.ml.Normalizer
"""
_LIKE_THE_FIRST = _like(0)
_OTHERS = {"TopK": (INT64,), "DynamicQuantizeLinear": (FLOAT, UINT8)}
_FIRST: dict[str, _Rule] = {
    **dict.fromkeys(_TRUTH.split(), _always(BOOL)),
    **dict.fromkeys(_ELSEWHERE.split(), _always(UNKNOWN)),
    **dict.fromkeys(_FLOATS.split(), _always(FLOAT)),
    **dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin"), _always(INT64)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), _always(INT32)),
    **dict.fromkeys(("DequantizeLinear", "CastLike", "Where"), _like(1)),
    "DynamicQuantizeLinear": _always(UINT8),
    "Cast": _attribute("to"),
    "ConstantOfShape": _filled,
    "OneHot": _like(2),
}
"""Type of the first output; where an operator is not here, its type is that of its first input."""
