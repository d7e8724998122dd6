"""What a shape rule reads: the shapes of a node's inputs, and the numbers of those that sizes are taken from."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.model_proto import Node

Shape = tuple[int, ...]


class Value(NamedTuple):
    """What is known of a value between nodes."""

    shape: Shape
    content: NDArray[Any] | None = None
    """Its numbers, where they follow from constants and shapes, and are few."""


Inputs = Sequence[Value | None]
Rule = Callable[[Node, Inputs], list[Shape]]


def shape_of(inputs: Inputs, index: int) -> Shape:
    """Of an input that must be there."""
    value = inputs[index]
    if value is None:
        raise ValueError(f"input {index} is missing")
    return value.shape


def content_of(inputs: Inputs, index: int) -> NDArray[Any] | None:
    """The numbers of an input that is left out or known.

    Raises:
        ValueError: they depend on the rows, so that the size of the result does.
    """
    value = inputs[index] if index < len(inputs) else None
    if value is not None and value.content is None:
        raise ValueError(f"the size of its output is computed from data (input {index})")
    return None if value is None else value.content


def integers(inputs: Inputs, index: int, node: Node, attribute: str) -> list[int] | None:
    """A list of integers given as an input, or in older operator sets as an attribute."""
    found = content_of(inputs, index) if index >= 0 else None
    if found is not None:
        return [int(number) for number in np.atleast_1d(found).ravel()]
    listed = node.attributes.get(attribute)
    return [listed] if isinstance(listed, int) else listed


def axis_of(axis: int, rank: int) -> int:
    """A negative axis counts from the end."""
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} of {rank}")
    return axis % max(rank, 1)


def broadcast(*shapes: Shape) -> Shape:
    """NumPy's rule."""
    rank = max(map(len, shapes), default=0)
    result = []
    for sides in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        others = set(sides) - {1}
        if len(others) > 1:
            raise ValueError(f"shapes {shapes} do not fit together")
        result.append(others.pop() if others else 1)
    return tuple(result)
