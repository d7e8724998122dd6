"""From steps in float32 to steps whose dense layers are integers, calibrated by rows.

Columns have their own range before the first layer: scaled into its weights, columns of other sizes would share
one. What is around the layers stays in float32: filling in of missing values, one-hot codes, and the comparison of
the row with its reconstruction and the prototypes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.core.constants import widened
from aetool.core.integers import HIGHEST, LOWEST, Floats, Multiplier, Requantisation, summed
from aetool.core.program import IntegerLayer, Operand, Operation, Output, Step, needed_steps
from aetool.core.reference import ZERO_AT, Values, activation, run
from aetool.core.translate import UnsupportedError

LARGEST_BIAS = 2**30
MOST_INPUTS = 1 << 16
"""Inputs of a layer, at most: more could overflow an int32."""
_BENT = (Operation.RELU, Operation.LEAKY_RELU)


class Integers(NamedTuple):
    """Steps whose dense layers are integers."""

    results: dict[Output, Operand]
    steps: list[Step]


class _Held(NamedTuple):
    """int8 that stand for numbers of the network in float."""

    step: Step
    scale: NDArray[np.float64]
    """Of one step, or of each number."""
    zero: NDArray[np.float64]
    """(number - zero) / scale is the integer; in numbers."""


class _Maker:
    def __init__(self, steps: Sequence[Step], rows: Floats, room: float) -> None:
        self.rows, self.room = rows, room
        self.floats = run(steps, rows)
        self.readers: dict[int, list[Step]] = {}
        for step in steps:
            for operand in step.reads:
                if isinstance(operand, Step):
                    self.readers.setdefault(id(operand), []).append(step)
        self.made: list[Step] = []
        self.values: Values = {}
        self.now: dict[int, Operand] = {}
        """Step in float -> what stands in its place, in float."""
        self.held: dict[Any, _Held] = {}

    def add(self, step: Step) -> Step:
        self.made.append(step)
        self.values = run([step], self.rows, self.values)
        return step

    def of(self, operand: Operand) -> Operand:
        """Return an operand in float in the new steps; int8 become numbers again where they are read as such."""
        if not isinstance(operand, Step):
            return operand
        if id(operand) not in self.now:
            held = self.held[id(operand)]
            zero = round(-float(held.zero) / float(held.scale))
            step = Step(Operation.DEQUANTIZE, [held.step], operand.size, zero + ZERO_AT, alpha=float(held.scale))
            self.now[id(operand)] = self.add(step)
        return self.now[id(operand)]

    def value(self, operand: Operand) -> NDArray[Any]:
        if isinstance(operand, np.ndarray):
            return operand
        return self.floats[id(operand)] if isinstance(operand, Step) else self.rows

    def integers(self, operand: Operand, weights: NDArray[np.float64]) -> _Held:
        """Return int8 of what a layer reads, each column in its own range."""
        key = id(operand) if isinstance(operand, Step) else None
        if key not in self.held:
            low, high = _ranges(self.value(operand))
            centre, half = (low + high) / 2, (high - low) / 2 * self.room
            weight = np.abs(weights).max(axis=1)
            usual = np.median((half * weight)[half > 0]) if (half > 0).any() else 1.0
            half = np.where(half > 0, half, usual / np.where(weight > 0, weight, 1.0))
            gain = (127 / half).astype(np.float32)
            middle = centre.astype(np.float32)
            step = self.add(Step(Operation.QUANTIZE, [self.of(operand), middle, gain], len(gain)))
            self.held[key] = _Held(step, 1 / gain.astype(np.float64), middle.astype(np.float64))
        return self.held[key]

    def layer(self, step: Step) -> None:
        """Put a dense layer into integers; into int8 where an activation or another layer follows."""
        weights = _weights(step)
        held, begins = self.integers(step.reads[0], weights), step.reads[1]
        bend = self._follower(step)
        inner = isinstance(begins, np.ndarray) and (bend is not None or self._reaches_a_layer(step))
        added = begins.astype(np.float64) if inner and isinstance(begins, np.ndarray) else np.zeros(step.m)
        scaled = weights * np.broadcast_to(held.scale, step.n)[:, None]  # (inputs, outputs)
        offset = np.broadcast_to(held.zero, step.n) @ weights + added  # what integers 0 stand for
        scale = np.abs(scaled).max(axis=0) / 127
        scale = np.maximum(np.where(scale > 0, scale, 1e-30), np.abs(offset) / (LARGEST_BIAS / 2))
        matrix = np.ascontiguousarray(np.clip(np.rint(scaled / scale), -127, 127).astype(np.int8).T)
        # What rounding shifts on average is taken off again.
        sums = summed(self.values[id(held.step)], matrix, np.zeros(step.m, np.int32)) * scale
        wanted = self.floats[id(step)].astype(np.float64) - (0.0 if inner else self.value(begins))
        good = np.isfinite(wanted).all(axis=1)
        offset = (wanted[good] - sums[good]).mean(axis=0) if good.any() else offset
        bias = np.clip(np.rint(offset / scale), -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32)
        if not inner:
            reads: list[Operand] = [held.step, scale.astype(np.float32), self.of(begins)]
            self.now[id(step)] = self.add(IntegerLayer(reads, matrix, bias))
            return
        how, out_scale, zero = self._requantisation(step, bend, scale)
        made = self.add(IntegerLayer([held.step], matrix, bias, how))
        self.held[id(bend or step)] = _Held(made, np.asarray(out_scale), np.asarray(-zero * out_scale))

    def _requantisation(
        self, step: Step, bend: Step | None, scale: NDArray[np.float64]
    ) -> tuple[Requantisation, float, int]:
        low, high = (self.room * end for end in _range(self.floats[id(bend or step)]))
        out_scale = float(np.float32((high - low) / 255)) or 1.0
        zero = int(np.clip(np.rint(LOWEST - low / out_scale), LOWEST, HIGHEST))
        if bend is None or bend.operation in _BENT:
            slope = None
            if bend is not None:
                slope = Multiplier.of(np.asarray(bend.alpha if bend.operation is Operation.LEAKY_RELU else 0.0))
            return Requantisation(Multiplier.of(scale / out_scale), zero, slope, None), out_scale, zero
        function = activation(bend)
        assert function is not None
        low, high = (self.room * end for end in _range(self.floats[id(step)]))
        before = float(np.float32((high - low) / 255)) or 1.0
        middle = int(np.clip(np.rint(LOWEST - low / before), LOWEST, HIGHEST))
        steps = np.arange(LOWEST, HIGHEST + 1, dtype=np.float64) - middle
        after = function(steps * before) / out_scale + zero
        table = np.clip(np.rint(after), LOWEST, HIGHEST).astype(np.int8)
        return Requantisation(Multiplier.of(scale / before), middle, None, table), out_scale, zero

    def _follower(self, step: Step) -> Step | None:
        """Return the activation that alone reads a layer's numbers."""
        readers = self.readers.get(id(step), [])
        return readers[0] if len(readers) == 1 and activation(readers[0]) is not None else None

    def is_compared(self, step: Step) -> bool:
        """Return True if a layer's numbers are only compared to find the nearest prototype; rounding would confuse
        them."""
        readers = self.readers.get(id(step), [])
        return bool(readers) and all(one.operation in (Operation.MAX, Operation.ARG_MAX) for one in readers)

    def _reaches_a_layer(self, step: Step) -> bool:
        return any(
            reader.operation in (Operation.DENSE, Operation.DENSE_BF16) and reader.reads[0] is step
            for reader in self.readers.get(id(step), [])
        )


def to_integers(
    results: Mapping[Output, Operand], steps: Sequence[Step], rows: Floats, room: float = 2.0
) -> Integers:
    """Return the steps with their dense layers in integers.

    Args:
        results: output -> what gives it, in float.
        steps: in an order in which they can run.
        rows: flat rows to calibrate with, (rows, numbers).
        room: width of what integers cover, relative to what the rows cover.

    Raises:
        UnsupportedError: a layer has too many inputs.
    """
    needed = needed_steps(results.values(), steps)
    maker = _Maker(needed, rows, room)
    for step in needed:
        if id(step) in maker.held:
            continue
        if step.operation in (Operation.DENSE, Operation.DENSE_BF16) and not maker.is_compared(step):
            if step.n > MOST_INPUTS:
                raise UnsupportedError(f"a layer of {step.n:,} inputs, int8 takes {MOST_INPUTS:,}")
            maker.layer(step)
        else:
            maker.now[id(step)] = maker.add(_with(step, [maker.of(operand) for operand in step.reads]))
    return Integers({output: maker.of(operand) for output, operand in results.items()}, maker.made)


def _with(step: Step, reads: Sequence[Operand]) -> Step:
    """Return a step that reads something else."""
    made = object.__new__(type(step))
    Step.__init__(made, step.operation, reads, step.n, step.m, alpha=step.alpha, weights=step.weights)
    return made


def _weights(step: Step) -> NDArray[np.float64]:
    """Return the weights of a dense layer, (inputs, outputs)."""
    assert step.weights is not None
    if step.weights.dtype == np.uint16:
        return widened(step.weights).astype(np.float64)
    return step.weights.astype(np.float64)


def _ranges(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest of each column's finite numbers."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=0).astype(np.float64)
    high = np.where(finite, values, -np.inf).max(axis=0).astype(np.float64)
    there = finite.any(axis=0)
    return np.where(there, low, 0.0), np.where(there, high, 0.0)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    low, high = _ranges(values.reshape(-1, 1))
    return min(0.0, float(low[0])), max(0.0, float(high[0]))
