"""Rules for nodes that move numbers or sum them; none may mix rows."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.core._operands import GraphValue, Operands
from aetool.core.constants import widened
from aetool.core.program import DENSE, Joined, Operand, Operation, Step
from aetool.onnx_check.model import BOOL, FLOAT, INT64, Node

_REDUCING = {
    "ReduceSum": Operation.SUM,
    "ReduceMean": Operation.SUM,
    "ReduceSumSquare": Operation.SUM_OF_SQUARES,
    "ReduceMax": Operation.MAX,
}


def _shape_axis(operands: Operands, node: Node, axis: int, rank: int) -> int:
    """Return an axis of a row from one of all rows."""
    axis = axis + rank + 1 if axis < 0 else axis
    if not 1 <= axis <= rank:
        raise operands.lacks(node, "rows would be mixed")
    return axis - 1


def _gather(operands: Operands, node: Node) -> GraphValue:
    value = operands.given(node, 0)
    if value.constant is not None:
        return _row(operands, node, value)
    indexes = operands.fixed(node, 1)
    if value.constant is not None or value.kind not in (FLOAT, BOOL) or indexes.dtype.kind != "i":
        raise operands.lacks(node)
    axis = _shape_axis(operands, node, node.attributes.get("axis", 0), len(value.shape))
    side = value.shape[axis]
    if bool(((indexes < -side) | (indexes >= side)).any()) or not indexes.size:
        raise operands.lacks(node, "indexes beyond the row")
    return operands.gathered(value, np.arange(value.size).reshape(value.shape).take(indexes, axis))


def _row(operands: Operands, node: Node, table: GraphValue) -> GraphValue:
    """Return the row of a constant matrix that each row of the batch names by its ArgMax."""
    which, matrix = operands.given(node, 1), table.constant
    chosen = which.step is not None and which.step.operation is Operation.ARG_MAX
    if matrix is None or matrix.ndim != 2 or table.kind != FLOAT or node.attributes.get("axis", 0) != 0:
        raise operands.lacks(node, "a constant matrix of float32 is expected")
    if not chosen or which.shape != () or which.step is None or which.step.m > len(matrix):
        raise operands.lacks(node, "an index that is no ArgMax of as many numbers")
    weights, factor = matrix.T, 1.0
    operation = Operation.COLUMN
    product = which.step.reads[0]
    if isinstance(product, Step) and product.operation in DENSE and product.weights is not None:
        wide = widened(product.weights) if product.operation is Operation.DENSE_BF16 else product.weights
        if (found := _factor(wide, weights)) is not None:  # the same numbers twice: one copy is enough
            weights, factor = product.weights, found
            operation = Operation.COLUMN if product.operation is Operation.DENSE else Operation.COLUMN_BF16
    step = Step(operation, [which.step], matrix.shape[1], len(matrix), alpha=factor, weights=weights)
    return operands.step(step, (matrix.shape[1],))


def _factor(weights: NDArray[Any], wanted: NDArray[Any]) -> float | None:
    """Return what the first rows of `weights` are multiplied by to give exactly `wanted`; None if nothing is."""
    if len(weights) < len(wanted) or weights.shape[1] != wanted.shape[1]:
        return None
    factors = (1.0, 0.5)  # likeness to a prototype c is x c - c c / 2, or twice that
    first = weights[: len(wanted)]
    return next((factor for factor in factors if np.array_equal(np.float32(factor) * first, wanted)), None)


def _reshaped(operands: Operands, node: Node) -> GraphValue:
    value = operands.given(node, 0)
    if value.constant is not None:
        raise operands.lacks(node, "a constant")
    rank = len(value.shape)
    if node.operator == "Flatten":
        if node.attributes.get("axis", 1) != 1:
            raise operands.lacks(node, "rows would be mixed")
        shape: tuple[int, ...] = (value.size,)
    elif node.operator == "Reshape":
        shape = _reshape(operands, node, value)
    elif node.operator == "Unsqueeze":
        # In a new shape with one more axis for each, of which the first stays the batch.
        named = node.attributes.get("axes") or operands.fixed(node, 1).ravel().tolist()
        whole = rank + 1 + len(named)
        axes = {axis + whole if axis < 0 else axis for axis in named}
        sides = iter(value.shape)
        if len(axes) != len(named) or not all(0 < axis < whole for axis in axes):
            raise operands.lacks(node, "rows would be mixed")
        shape = tuple(1 if axis in axes else next(sides) for axis in range(1, whole))
    else:
        kept = {_shape_axis(operands, node, axis, rank) for axis in operands.axes(node, rank + 1)}
        if any(value.shape[axis] != 1 for axis in kept):
            raise operands.lacks(node, "a side that is not 1")
        shape = tuple(side for axis, side in enumerate(value.shape) if axis not in kept)
    return GraphValue(shape, value.kind, value.step)


def _reshape(operands: Operands, node: Node, value: GraphValue) -> tuple[int, ...]:
    wanted = operands.fixed(node, 1).ravel().tolist()
    copied = not node.attributes.get("allowzero", 0)
    first, rest = wanted[0] if wanted else 1, wanted[1:]
    sides = [
        value.shape[index] if side == 0 and copied and index < len(value.shape) else side
        for index, side in enumerate(rest)
    ]
    known = math.prod(side for side in sides if side != -1)
    if first == 0 and copied and sides.count(-1) == 1 and known > 0:
        sides = [value.size // known if side == -1 else side for side in sides]
    if first not in ((-1, 0) if copied else (-1,)) or min(sides, default=1) < 1 or math.prod(sides) != value.size:
        raise operands.lacks(node, "rows would be mixed")
    return tuple(sides)


def _concat(operands: Operands, node: Node) -> GraphValue:
    values = [operands.given(node, index) for index in range(len(node.inputs))]
    if any(value.constant is not None or value.kind != FLOAT for value in values):
        raise operands.lacks(node)
    rank = len(values[0].shape)
    axis = _shape_axis(operands, node, node.attributes.get("axis", 0), rank)
    others = {value.shape[:axis] + value.shape[axis + 1 :] for value in values}
    if len(others) != 1 or any(len(value.shape) != rank for value in values):
        raise operands.lacks(node, "shapes that do not fit")
    sizes = [value.size for value in values]
    joined = operands.step(Joined([value.step for value in values], sizes), (sum(sizes),))
    starts = np.cumsum([0, *sizes[:-1]])
    parts = [
        start + np.arange(value.size).reshape(value.shape) for start, value in zip(starts, values, strict=True)
    ]
    places = np.concatenate(parts, axis=axis)
    if bool((places.ravel() == np.arange(places.size)).all()):
        return GraphValue(places.shape, FLOAT, joined.step)
    return operands.gathered(joined, places)


def _keeps_sides(operands: Operands, node: Node) -> bool:
    keeps = node.attributes.get("keepdims", 1)
    if keeps not in (0, 1):
        raise operands.lacks(node, "keepdims is 0 or 1")
    return bool(keeps)


def _reduction(operands: Operands, node: Node) -> GraphValue:
    value = operands.numbers(node, 0)
    rank = len(value.shape)
    axes = [_shape_axis(operands, node, axis, rank) for axis in operands.axes(node, rank + 1)]
    if axes != list(range(rank - len(axes), rank)) or not axes:
        raise operands.lacks(node, "a sum over other than the last sides")
    length = math.prod(value.shape[axes[0] :])
    rest = value.shape[: axes[0]]
    shape = (*rest, *[1] * len(axes)) if _keeps_sides(operands, node) else rest
    operation: Operation = _REDUCING[node.operator]
    summed: Operand = value.step
    if operation is Operation.SUM and value.step is not None and value.step.operation is Operation.MULTIPLY:
        one, other = value.step.reads
        if one is other and not isinstance(one, np.ndarray):  # the same sum in one pass
            operation, summed = Operation.SUM_OF_SQUARES, one
    step = Step(operation, [summed], value.size // length, length)
    found = operands.step(step, shape)
    if node.operator == "ReduceMean":
        count = np.full(1, length, np.float32)
        return operands.step(Step(Operation.DIVIDE, [found.step, count], found.size, 1), shape)
    return found


def _arg_max(operands: Operands, node: Node) -> GraphValue:
    value = operands.numbers(node, 0)
    rank = len(value.shape)
    axis = _shape_axis(operands, node, node.attributes.get("axis", 0), rank)
    if axis != rank - 1 or node.attributes.get("select_last_index", 0):
        raise operands.lacks(node, "another than the last side")
    rest = value.shape[:-1]
    shape = (*rest, 1) if _keeps_sides(operands, node) else rest
    step = Step(Operation.ARG_MAX, [value.step], math.prod(rest), value.shape[-1])
    return operands.step(step, shape, INT64)


SHAPE_RULES: dict[str, Callable[[Operands, Node], GraphValue]] = {
    "Gather": _gather,
    "Concat": _concat,
    "ArgMax": _arg_max,
    **dict.fromkeys(_REDUCING, _reduction),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshaped),
}
"""Operator -> what makes a value of its node."""
