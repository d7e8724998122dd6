"""Steps of the core in numpy, many rows at once: the same bits, slowly.

What activations give in float is rounded from float64 here, where core.c has polynomials.
"""

from collections.abc import Callable, Iterable, Mapping
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.core.constants import widened
from aetool.core.integers import dequantized, in_float, quantized, summed
from aetool.core.program import IntegerLayer, Joined, Operand, Operation, Step

Values = dict[int, NDArray[Any]]
"""Identity of a step -> what it gives, (rows, numbers)."""

_LANES = 16
ZERO_AT = 129
"""The m of DEQUANTIZE where integer 0 stands for 0.0: it is 1 or more."""


def activation(step: Step) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """Return what a step makes of each number, in float64; None if it is no activation."""
    alpha = step.alpha
    functions: dict[Operation, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        Operation.LEAKY_RELU: lambda x: np.where(x < 0, alpha * x, x),
        Operation.RELU: lambda x: np.maximum(x, 0),
        Operation.ELU: lambda x: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
        Operation.GELU: lambda x: x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))),
        Operation.SILU: lambda x: x / (1 + np.exp(-x)),
        Operation.TANH: np.tanh,
        Operation.SIGMOID: lambda x: 1 / (1 + np.exp(-x)),
    }
    return functions.get(step.operation)


def run(steps: Iterable[Step], rows: NDArray[np.float32], known: Values | None = None) -> Values:
    """Return what every step gives for flat `rows`, (rows, numbers); what is `known` is not computed again."""
    values: Values = dict(known or {})

    def read(operand: Operand) -> NDArray[Any]:
        if operand is None:
            return rows
        return values[id(operand)] if isinstance(operand, Step) else np.asarray(operand)

    with np.errstate(all="ignore"):
        for step in steps:
            if id(step) not in values:
                found = _of(step, [read(operand) for operand in step.reads])
                values[id(step)] = np.broadcast_to(found, (len(rows), found.shape[-1]))
    return values


def _of(step: Step, reads: list[NDArray[Any]]) -> NDArray[Any]:
    if isinstance(step, IntegerLayer):
        assert step.weights is not None
        sums = summed(reads[0], step.weights, step.bias)
        return step.how.apply(sums) if step.how else in_float(sums, reads[1], reads[2])
    if isinstance(step, Joined):
        return np.concatenate(reads, axis=1)
    if (function := activation(step)) is not None:
        return function(reads[0].astype(np.float64)).astype(np.float32)
    return np.atleast_2d(_RULES[step.operation](step, *reads))


def _dense(values: NDArray[np.float32], begins: NDArray[np.float32], weights: NDArray[Any]) -> NDArray[np.float32]:
    matrix = widened(weights) if weights.dtype == np.uint16 else weights
    sums = np.broadcast_to(begins, (len(values), matrix.shape[1])).astype(np.float32)
    for i, row in enumerate(matrix):
        sums += values[:, i : i + 1] * row
    return sums


def _summed(values: NDArray[np.float32], *, squares: bool) -> NDArray[np.float32]:
    """Return sums of the last side in the order of core.c: 16 lanes, added in halves."""
    terms = values * values if squares else values
    lanes = np.zeros((*terms.shape[:2], _LANES), np.float32)
    for start in range(0, terms.shape[2], _LANES):
        part = terms[:, :, start : start + _LANES]
        lanes[:, :, : part.shape[2]] += part
    half = _LANES // 2
    while half:
        lanes = lanes[:, :, :half] + lanes[:, :, half : 2 * half]
        half //= 2
    total: NDArray[np.float32] = lanes[:, :, 0]
    return total


def _column(step: Step, which: NDArray[Any]) -> NDArray[Any]:
    assert step.weights is not None
    matrix = widened(step.weights) if step.weights.dtype == np.uint16 else step.weights
    found: NDArray[np.float32] = np.float32(step.alpha) * matrix[: step.n].T[which[:, 0].astype(int)]
    return found


def _grouped(step: Step, values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), step.n, step.m)


_RULES: Mapping[Operation, Callable[..., NDArray[Any]]] = {
    Operation.COPY: lambda step, x: x,
    Operation.DENSE: lambda step, x, begins: _dense(x, begins, step.weights),
    Operation.DENSE_BF16: lambda step, x, begins: _dense(x, begins, step.weights),
    Operation.ABS: lambda step, x: np.abs(x),
    Operation.NEGATE: lambda step, x: -x,
    Operation.SQRT: lambda step, x: np.sqrt(x),
    Operation.IS_NAN: lambda step, x: np.isnan(x).astype(np.float32),
    Operation.NOT: lambda step, x: (x == 0).astype(np.float32),
    Operation.ADD: lambda step, x, y: x + y,
    Operation.SUBTRACT: lambda step, x, y: x - y,
    Operation.MULTIPLY: lambda step, x, y: x * y,
    Operation.DIVIDE: lambda step, x, y: x / y,
    Operation.EQUAL: lambda step, x, y: (x == y).astype(np.float32),
    Operation.LESS_OR_EQUAL: lambda step, x, y: (x <= y).astype(np.float32),
    Operation.SELECT: lambda step, x, y, which: np.choose(which != 0, (y, x)),
    Operation.GATHER: lambda step, x: x[:, step.weights],
    Operation.SUM: lambda step, x: _summed(_grouped(step, x), squares=False),
    Operation.SUM_OF_SQUARES: lambda step, x: _summed(_grouped(step, x), squares=True),
    Operation.ARG_MAX: lambda step, x: _grouped(step, x).argmax(axis=2).astype(np.float32),
    Operation.MAX: lambda step, x: _grouped(step, x).max(axis=2),
    Operation.COLUMN: _column,
    Operation.COLUMN_BF16: _column,
    Operation.QUANTIZE: lambda step, x, centre, gain: quantized(x, centre, gain),
    Operation.DEQUANTIZE: lambda step, x: dequantized(x, step.m - ZERO_AT, step.alpha),
}
