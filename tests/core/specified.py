"""docs/core.md written again in numpy, a rounding at a time, and the compiled core to compare it with."""

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.core.program import Operation, Program

Floats = NDArray[np.float32]
F = np.float32


def horner(x: Floats, *coefficients: float) -> Floats:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + F(coefficient)
    return total


def reduced(a: Floats, rest: Floats) -> tuple[NDArray[np.int32], Floats]:
    shifted = a * F(1.44269504) + F(12582912)
    whole = shifted - F(12582912)
    r = ((a - whole * F(0.693359375)) - whole * F(-2.12194440e-4)) + rest
    return np.where(np.isnan(whole), F(0), whole).astype(np.int32), r  # what k is for NaN changes no result


def exp_minus_1(r: Floats) -> Floats:
    p = horner(r, 1.39504911e-3, 8.36888935e-3, 4.16662058e-2, 1.66665188e-1, 5.0e-1)
    return p * (r * r) + r


def power(k: NDArray[np.int32]) -> Floats:
    return ((k + 127) << 23).astype(np.int32).view(np.float32)


def scaled(v: Floats, k: NDArray[np.int32]) -> Floats:
    half = np.trunc(k / 2).astype(np.int32)
    return v * power(half) * power(k - half)


def absolute(x: Floats) -> Floats:
    return np.where(x < 0, -x, x)


def largest(a: Floats, least: float) -> Floats:
    return np.where(a < F(least), F(least), a)


ZERO = np.zeros((), np.float32)


def sigmoid(x: Floats) -> Floats:
    k, r = reduced(largest(-absolute(x), -105), ZERO)
    e = F(1) + exp_minus_1(r)
    d = F(1) + scaled(e, k)
    return np.where(x >= 0, F(1) / d, scaled(e / d, k))


def silu(x: Floats) -> Floats:
    k, r = reduced(largest(-absolute(x), -111), ZERO)
    e = F(1) + exp_minus_1(r)
    d = F(1) + scaled(e, k)
    return np.where(x < F(-110), x * F(0), np.where(x >= 0, x / d, scaled(x * e / d, k)))


def elu(x: Floats, alpha: np.float32) -> Floats:
    k, r = reduced(largest(np.where(x < 0, x, F(0)), -40), ZERO)
    s = power(k)
    return np.where(x < 0, alpha * (exp_minus_1(r) * s + (s - F(1))), x)


def tanh(x: Floats) -> Floats:
    size, q = absolute(x), x * x
    k, r = reduced(largest(F(-2) * size, -40), ZERO)
    t = scaled(F(1) + exp_minus_1(r), k)
    large = (F(1) - t) / (F(1) + t)
    p = horner(q, -5.54312261e-3, 2.04966461e-2, -5.36971387e-2, 1.33309503e-1, -3.33332647e-1)
    return np.where(size > F(0.625), np.where(x < 0, -large, large), x + x * (q * p))


Q = (-7.19821401e-05, -6.15426834e-05, 0.000692214468, -0.000303441077, -0.00500394683, 0.0179402269)
Q += (-0.0321973488, 0.0285999682, 0.013999607, -0.0967034698, 0.4720532)


def gelu(x: Floats) -> Floats:
    size = absolute(x)
    z = np.where(size < 15, size, F(15))
    high = (z.view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32)
    low = z - high
    k, r = reduced(F(-0.5) * (high * high), F(-0.5) * (low * (z + high)))
    share = x * (horner((z - F(4)) / (z + F(4)), *Q) / (z + F(1)))
    beyond = scaled(share + share * exp_minus_1(r), k)
    return np.where(size > 15, np.where(x > 0, x, x * F(0)), np.where(x >= 0, x - beyond, beyond))


def sums(values: Floats) -> Floats:
    """Sum over the last dimension."""
    lanes = np.zeros((*values.shape[:-1], 16), np.float32)
    for i in range(values.shape[-1]):
        lanes[..., i % 16] += values[..., i]
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def arg_max(values: Floats) -> Floats:
    """Index of the largest number of the last dimension."""
    flat = values.reshape(-1, values.shape[-1])
    best = np.zeros(len(flat), np.int64)
    rows = np.arange(len(flat))
    for i in range(1, flat.shape[1]):
        best = np.where(flat[:, i] > flat[rows, best], i, best)
    return best.astype(np.float32).reshape(values.shape[:-1])


def maximum_of(values: Floats) -> Floats:
    """Largest number of the last dimension; NaN where one is."""
    found = values[..., 0]
    for i in range(1, values.shape[-1]):
        found = np.where((found >= values[..., i]) | np.isnan(found), found, values[..., i])
    return found + F(0)


def column_of(x: Floats, weights: Floats) -> Floats:
    """Column x of (n, m); 0 where there is none."""
    there = (x > 0) & (x < weights.shape[1])
    return weights.T[np.where(there, x, F(0)).astype(np.int64)]


def dense(x: Floats, start: Floats, weights: Floats) -> Floats:
    total = np.array(start)
    for i in range(weights.shape[0]):
        total = total + x[:, i, None] * weights[i]
    return total


def weights_of(program: Program, operation: int, n: int, m: int, filled: int, offset: int) -> Floats:
    """Return the (n, m) weights of a dense step from where the page says that they lie."""
    is_float = operation in (Operation.DENSE, Operation.COLUMN)
    source = program.floats if is_float else program.halves
    j = np.arange(m)
    f = j // 64 * 64
    width, k = np.minimum(64, filled - f), j - f
    if not is_float:
        group = k // 32 * 32
        k = np.where(group + 32 <= width, group + k % 16 * 2 + k % 32 // 16, k)
    found = source[offset + n * f + np.arange(n)[:, None] * width + k]
    if is_float:
        return found
    return (found.astype(np.uint32) << 16).view(np.float32)


UNARY: dict[int, Callable[[Floats, np.float32], Floats]] = {
    Operation.LEAKY_RELU: lambda x, alpha: np.where(x < 0, alpha * x, x),
    Operation.RELU: lambda x, _: np.where(x < 0, F(0), x),
    Operation.ELU: elu,
    Operation.GELU: lambda x, _: gelu(x),
    Operation.SILU: lambda x, _: silu(x),
    Operation.TANH: lambda x, _: tanh(x),
    Operation.SIGMOID: lambda x, _: sigmoid(x),
    Operation.ABS: lambda x, _: absolute(x),
    Operation.NEGATE: lambda x, _: -x,
    Operation.SQRT: lambda x, _: np.sqrt(x),
    Operation.IS_NAN: lambda x, _: np.isnan(x).astype(np.float32),
    Operation.NOT: lambda x, _: (x == 0).astype(np.float32),
}
BINARY: dict[int, Callable[[Floats, Floats], Floats]] = {
    Operation.ADD: lambda x, y: x + y,
    Operation.SUBTRACT: lambda x, y: x - y,
    Operation.MULTIPLY: lambda x, y: x * y,
    Operation.DIVIDE: lambda x, y: x / y,
    Operation.EQUAL: lambda x, y: (x == y).astype(np.float32),
    Operation.LESS_OR_EQUAL: lambda x, y: (x <= y).astype(np.float32),
}


def specified(program: Program, rows: Floats, second: Floats | None = None) -> list[Floats]:
    """Return what a program's outputs must be for (rows, n), and for a second input if it reads one."""
    count = len(rows)
    constants = np.broadcast_to(program.floats, (count, program.floats.size))
    outputs = [np.zeros((count, size), np.float32) for size in program.sizes]
    spaces = [np.zeros((count, program.work), np.float32), rows, constants, *outputs]
    if second is not None:
        spaces += [np.zeros((0, 0), np.float32)] * (11 - len(spaces)) + [second]
    indexes = np.frombuffer(program.indexes, np.int32)

    def at(place: int, size: int) -> Floats:
        start = place & ((1 << 27) - 1)
        return spaces[place >> 27][:, start : start + size]

    with np.errstate(all="ignore"):
        for operation, out, a, b, c, n, m, offset, alpha in struct.iter_unpack("=8if", program.steps):
            size = n
            if operation == Operation.COPY:
                found = at(a, n).copy()
            elif operation in (Operation.DENSE, Operation.DENSE_BF16):
                found, size = dense(at(a, n), at(c, m), weights_of(program, operation, n, m, b, offset)), m
            elif operation in UNARY:
                found = UNARY[operation](at(a, n), F(alpha))
            elif operation in BINARY:
                found = BINARY[operation](at(a, n), at(b, m))
            elif operation == Operation.SELECT:
                found = np.where(at(c, n) != 0, at(a, n), at(b, n))
            elif operation == Operation.GATHER:
                found = at(a, m)[:, indexes[offset : offset + n]]
            elif operation in (Operation.COLUMN, Operation.COLUMN_BF16):
                weights = weights_of(program, operation, c, m, b, offset)[:n]
                found = F(alpha) * column_of(at(a, 1)[:, 0], weights)
            elif operation == Operation.MAX:
                found = maximum_of(at(a, n * m).reshape(count, n, m))
            else:
                groups = at(a, n * m).reshape(count, n, m)
                squares = groups * groups
                found = (
                    arg_max(groups)
                    if operation == Operation.ARG_MAX
                    else sums(squares if operation == Operation.SUM_OF_SQUARES else groups)
                )
            at(out, size)[...] = found
    return outputs


def compiled(module: Any, kind: str, program: Program, rows: Floats, second: Floats | None = None) -> list[Floats]:
    """Return a program's outputs, computed by an extension module of the core."""
    outputs = [np.zeros((len(rows), size), np.float32) for size in program.sizes]
    plan_of(module, kind, program).run(rows, tuple(outputs), second)
    return outputs


def plan_of(module: Any, kind: str, program: Program) -> Any:
    return module.Plan(
        kind,
        program.steps,
        program.floats.data,
        program.halves.data,
        program.indexes,
        math.prod(program.row),
        program.sizes,
        program.work,
        program.second,
    )


def bits(values: Floats) -> NDArray[np.uint32]:
    """Return the bits of float32, those of each NaN the same."""
    return np.where(np.isnan(values), F(np.nan), values).astype(np.float32).view(np.uint32)


def same_bits(found: Sequence[Floats], expected: Sequence[Floats]) -> bool:
    return len(found) == len(expected) and all(
        np.array_equal(bits(one), bits(other)) for one, other in zip(found, expected, strict=True)
    )
