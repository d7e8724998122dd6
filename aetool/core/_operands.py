"""Values of a graph on its way into a program of the core: rows, constants, and what nodes read of them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.core.constants import widened
from aetool.core.program import MAX_NUMBERS, Operand, Operation, Step
from aetool.onnx_check.model import BFLOAT16, BITS, FLOAT, Node, OnnxTensor


class UnsupportedError(ValueError):
    """A graph that the core does not run; the message names the node."""


class GraphValue:
    """A value of the graph: a constant, or numbers of each row."""

    __slots__ = ("constant", "halves", "kind", "shape", "step")

    def __init__(
        self,
        shape: tuple[int, ...],
        kind: int = FLOAT,
        step: Step | None = None,
        constant: NDArray[Any] | None = None,
        halves: NDArray[np.uint16] | None = None,
    ) -> None:
        """Keep them."""
        self.shape = shape
        """Shape of one row, or of the constant."""
        self.kind = kind
        """TensorProto.DataType."""
        self.step = step
        """What gives the numbers; None for the input, and for constants."""
        self.constant = constant
        self.halves = halves
        """The constant in bfloat16."""

    @property
    def size(self) -> int:
        """Numbers of one row, or of the constant."""
        return math.prod(self.shape)


class Unfinished:
    """x * (1 + erf(x / sqrt 2)) / 2 on its way: GELU as exporters write it, an operator at a time."""

    __slots__ = ("factor", "of", "stage")

    def __init__(self, of: GraphValue, stage: str, factor: float = 1.0) -> None:
        """Keep x, how far it is, and the product of the numbers that it was multiplied by."""
        self.of, self.stage, self.factor = of, stage, factor


def constant_of(tensor: OnnxTensor) -> GraphValue:
    """Return a constant; one of bfloat16 keeps its halves."""
    if tensor.data_type in BITS and tensor.count() != math.prod(tensor.dims):
        raise UnsupportedError(f"constant {tensor.name!r} has other than {math.prod(tensor.dims):,} numbers")
    if tensor.data_type == BFLOAT16:
        raw = tensor.raw
        parts = (
            [np.frombuffer(raw, "<u2")] if raw is not None else [part.astype("<u2") for part in tensor.integers()]
        )
        halves = np.concatenate([np.empty(0, np.uint16), *parts]).reshape(tensor.dims)
        return GraphValue(tensor.dims, BFLOAT16, constant=widened(halves), halves=halves)
    numbers = tensor.numbers()
    found = np.zeros(0) if numbers is None else numbers
    if found.size != math.prod(tensor.dims):
        raise UnsupportedError(f"constant {tensor.name!r} is of type {tensor.data_type}")
    return GraphValue(tensor.dims, tensor.data_type, constant=found.reshape(tensor.dims))


class Operands:
    """The values of a graph by name, and the steps so far."""

    def __init__(self) -> None:
        """Begin with none."""
        self.values: dict[str, GraphValue | Unfinished] = {}
        self.steps: list[Step] = []
        self._reads: dict[tuple[int, tuple[int, ...]], NDArray[np.float32]] = {}
        """Constants as float32, spread to the shape of a row: each once."""
        self._kept: list[Any] = []

    def require_small(self) -> None:
        """Refuse what would take more memory than a place can name, before any is taken."""
        numbers = sum(step.size for step in self.steps) * 2
        numbers += sum(step.weights.size + 64 * step.n for step in self.steps if step.weights is not None)
        if numbers >= MAX_NUMBERS:
            raise UnsupportedError(f"it has about {numbers:,} numbers, the core takes {MAX_NUMBERS:,}")

    def lacks(self, node: Node, what: str = "") -> UnsupportedError:
        """Return the error that names a node."""
        return UnsupportedError(f"{node.title}{': ' if what else ''}{what}")

    def given(self, node: Node, index: int) -> GraphValue:
        """Return an input of a node."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        value = self.values.get(name)
        if not isinstance(value, GraphValue):
            raise self.lacks(node)
        return value

    def numbers(self, node: Node, index: int) -> GraphValue:
        """Return an input that holds numbers of each row."""
        value = self.given(node, index)
        if value.constant is not None or value.kind != FLOAT:
            raise self.lacks(node, "rows of float32 are expected")
        return value

    def fixed(self, node: Node, index: int) -> NDArray[Any]:
        """Return an input that is a constant."""
        value = self.given(node, index)
        if value.constant is None:
            raise self.lacks(node, "a constant is expected")
        return value.constant

    def axes(self, node: Node, rank: int) -> list[int]:
        """Return the axes that a node names, in its attribute or its second input, counted from 0."""
        named = node.attributes.get("axes")
        if named is None and len(node.inputs) > 1 and node.inputs[1]:
            named = self.fixed(node, 1).ravel().tolist()
        if named is None:
            raise self.lacks(node, "no axes are named")
        return sorted(axis + rank if axis < 0 else axis for axis in named)

    def read(self, node: Node, value: GraphValue, shape: tuple[int, ...]) -> Operand:
        """Return `value` as an operand of numbers of `shape`, or of one number."""
        if value.constant is None:
            if value.shape == shape or (value.size == 1 and len(value.shape) == len(shape)):
                return value.step
            if len(value.shape) != len(shape) or self._broadcast(node, value.shape, shape) != shape:
                raise self.lacks(node, "shapes that do not fit")
            places = np.broadcast_to(np.arange(value.size).reshape(value.shape), shape)
            return self.gathered(value, places).step
        constant = value.constant
        if constant.ndim == len(shape) + 1 and constant.shape[0] == 1:
            constant = constant[0]
        if constant.ndim > len(shape):
            raise self.lacks(node, "a constant that differs from row to row")
        if self._broadcast(node, constant.shape, shape) != shape:
            raise self.lacks(node, "shapes that do not fit")
        key = id(value.constant), () if constant.size == 1 else shape
        if key not in self._reads:
            self._kept.append(value.constant)
            spread = constant.reshape(1) if constant.size == 1 else np.broadcast_to(constant, shape).ravel()
            self._reads[key] = np.ascontiguousarray(spread, np.float32)
        return self._reads[key]

    def wide(self, node: Node, value: GraphValue, shape: tuple[int, ...]) -> Operand:
        """Return `value` as an operand of as many numbers as `shape` has."""
        found = self.read(node, value, shape)
        size = math.prod(shape)
        if isinstance(found, np.ndarray):
            return found if found.size == size else np.repeat(found, size)
        if value.size == 1 and size != 1:
            return self.gathered(value, np.zeros(size, np.int64)).step
        return found

    def step(self, step: Step, shape: tuple[int, ...], kind: int = FLOAT) -> GraphValue:
        """Add a step, and return what it gives."""
        self.steps.append(step)
        return GraphValue(shape, kind, step)

    def gathered(self, value: GraphValue, places: NDArray[Any]) -> GraphValue:
        """Return the numbers of `value` at some places, in the shape of these."""
        indexes = np.asarray(places, np.int32)
        step = Step(Operation.GATHER, [value.step], indexes.size, value.size, weights=indexes.ravel())
        return self.step(step, indexes.shape, value.kind)

    def map(self, operation: Operation, value: GraphValue, kind: int = FLOAT, alpha: float = 0.0) -> GraphValue:
        """Return a function of each number of `value`."""
        return self.step(Step(operation, [value.step], value.size, alpha=alpha), value.shape, kind)

    def common_shape(self, node: Node, a: GraphValue, b: GraphValue) -> tuple[int, ...]:
        """Return the shape of a row of what is computed from the numbers of two values."""
        rows = [value.shape for value in (a, b) if value.constant is None]
        if len({len(shape) for shape in rows}) != 1:
            raise self.lacks(node, "shapes that do not fit")
        shapes = [
            value.shape[1:] if value.constant is not None and len(value.shape) > len(rows[0]) else value.shape
            for value in (a, b)
        ]
        shape = self._broadcast(node, *shapes)
        if len(shape) != len(rows[0]):
            raise self.lacks(node, "shapes that do not fit")
        if math.prod(shape) >= MAX_NUMBERS:
            raise self.lacks(node, "too many numbers")
        return shape

    def _broadcast(self, node: Node, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        try:
            return np.broadcast_shapes(*shapes)
        except ValueError:
            raise self.lacks(node, "shapes that do not fit") from None
