"""Dense layers in integers, as integers.c computes them bit for bit: the specification of its arithmetic.

Weights and activations are int8, sums int32; a sum becomes the next layer's int8 by one multiplication and one
shift to the right. Float32 is left for what is around the layers: the row, and its comparison with what comes out.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Int8s = NDArray[np.int8]
Int32s = NDArray[np.int32]

LOWEST, HIGHEST = -128, 127
LIMIT = 1 << 24
"""Sums that were multiplied are kept within it, so that the slope of what is below 0 cannot overflow."""


class Multiplier(NamedTuple):
    """Factors as integers: x * factor is (x * value + 2**(shift - 1)) >> shift."""

    value: Int32s
    """(outputs,), 0 to 2**31 - 1."""
    shift: int
    """1 to 62, the same for all."""

    @classmethod
    def of(cls, factors: NDArray[np.float64]) -> "Multiplier":
        """Return the nearest multipliers: 31 bits for the largest factor, and its shift for all."""
        largest = float(np.max(factors, initial=0.0))
        if largest == 0:
            return cls(np.zeros(factors.shape, np.int32), 1)
        _, exponent = np.frexp(largest)
        shift = int(np.clip(31 - int(exponent), 1, 62))
        values = np.rint(factors * 2.0**shift)
        return cls(np.clip(values, 0, 2**31 - 1).astype(np.int32), shift)

    def apply(self, sums: NDArray[Any]) -> NDArray[np.int64]:
        """Return the sums, multiplied, rounded, within LIMIT."""
        products = sums.astype(np.int64) * self.value.astype(np.int64) + (np.int64(1) << np.int64(self.shift - 1))
        limited: NDArray[np.int64] = np.clip(products >> np.int64(self.shift), -LIMIT, LIMIT)
        return limited


class Requantisation(NamedTuple):
    """What a layer's sums go through to be the next one's int8."""

    multiplier: Multiplier
    zero: int
    """The integer that stands for 0.0."""
    slope: Multiplier | None
    """For what is below 0: of LeakyReLU, and 0 for ReLU; None where nothing bends."""
    table: Int8s | None
    """(256,) what each int8 becomes, for other activations."""

    def apply(self, sums: Int32s) -> Int8s:
        """Return int8 of sums, (rows, outputs)."""
        found = self.multiplier.apply(sums)
        if self.slope is not None:
            found = np.where(found < 0, self.slope.apply(found), found)
        found = np.clip(found + self.zero, LOWEST, HIGHEST)
        return found.astype(np.int8) if self.table is None else self.table[found - LOWEST]


def quantized(values: Floats, centre: Floats, gain: Floats) -> Int8s:
    """Return (values - centre) * gain as the nearest integers from -127 to 127; NaN becomes -127."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values - centre) * gain
    inside = np.where(scaled > -127, np.minimum(scaled, np.float32(127)), np.float32(-127))
    return np.rint(inside).astype(np.int8)


def summed(values: Int8s, weights: Int8s, bias: Int32s) -> Int32s:
    """Return bias + values @ weights.T, for (rows, inputs) and (outputs, inputs); it stays within int32."""
    return values.astype(np.int32) @ weights.astype(np.int32).T + bias


def in_float(sums: Int32s, scale: Floats, begins: Floats) -> Floats:
    """Return begins + sums * scale, each operation rounded to float32."""
    return begins + sums.astype(np.float32) * scale


def dequantized(values: Int8s, zero: int, scale: float) -> Floats:
    """Return what int8 stand for."""
    return (values.astype(np.int32) - zero).astype(np.float32) * np.float32(scale)
