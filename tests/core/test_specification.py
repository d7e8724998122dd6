"""The compiled core gives the bits that docs/core.md asks for, in every kind of vectors."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from specified import compiled, same_bits, specified

from aetool.core.program import Joined, Operation, Output, Program, Second, Step, lay_out

core: Any = pytest.importorskip("aetool.core._native", reason="the core is not compiled here")
KINDS = core.variants()
LONG = os.environ.get("AETOOL_LONG") == "1"
ODD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-40, 1.1754942e-38, 3.4e38, -3.4e38, 1.0, -1.0, 0.625, 15.0]
ODD += [-104.0, -87.5, -110.0, -111.5, -15.0, 88.8, 16777217.0]
UNARY = range(Operation.LEAKY_RELU, Operation.ADD)
BINARY = range(Operation.ADD, Operation.SELECT)


def numbers(random: np.random.Generator, shape: tuple[int, ...], odd: float) -> Any:
    """Return float32 of many sizes, some of them odd."""
    found = random.normal(size=shape) * np.exp(random.normal(size=shape) * random.choice([0.1, 2.0, 20.0]))
    with np.errstate(over="ignore"):
        return np.where(random.random(shape) < odd, random.choice(ODD, shape), found).astype(np.float32)


LOADED = [Operation(number) for number in range(Operation.COLUMN_BF16 + 1) if number not in range(26, 30)]
"""Operations that a loaded plan may have."""


class Growing:
    """A program that grows by steps chosen at random."""

    def __init__(self, random: np.random.Generator, size: int, odd: float) -> None:
        self.random, self.odd = random, odd
        self.steps: list[Step] = []
        self.values: list[tuple[Step | Second | None, int]] = [(None, size)]
        self.second = int(random.integers(1, 101)) if random.random() < 0.3 else 0
        if self.second:
            self.values.append((Second(self.second), self.second))

    def any(self, size: int | None = None) -> tuple[Any, int]:
        """Return an operand and its size; a constant where nothing has that size, or by chance."""
        fitting = [value for value in self.values[-4:] if size in (None, value[1])]
        if fitting and (size is None or self.random.random() < 0.8):
            return fitting[self.random.integers(len(fitting))]
        assert size is not None
        return numbers(self.random, (size,), self.odd), size

    def weights(self, n: int, m: int, halves: bool) -> np.ndarray[Any, np.dtype[Any]]:
        found = numbers(self.random, (n, m), self.odd / 10) / np.float32(np.sqrt(n))
        return (found.view(np.uint32) >> 16).astype(np.uint16) if halves else found

    def grow(self, operation: Operation) -> None:
        random = self.random
        source, size = self.any()
        if operation is Operation.COPY:
            other, more = self.any()
            step: Step = Joined([source, other], [size, more])
        elif operation in (Operation.DENSE, Operation.DENSE_BF16):
            m = int(random.integers(1, 201))
            weights = self.weights(size, m, operation is Operation.DENSE_BF16)
            step = Step(operation, [source, self.any(m)[0]], size, m, weights=weights)
        elif operation in UNARY:
            step = Step(operation, [source], size, alpha=float(np.float32(random.normal())))
        elif operation in BINARY:
            many = int(random.choice([1, size]))
            step = Step(operation, [source, self.any(many)[0]], size, many)
        elif operation is Operation.SELECT:
            step = Step(operation, [source, self.any(size)[0], self.any(size)[0]], size)
        elif operation in (Operation.COLUMN, Operation.COLUMN_BF16):
            m, inputs = int(random.integers(1, 201)), size + int(random.integers(0, 5))
            which = Step(Operation.ARG_MAX, [self.any(m)[0]], 1, m)
            index = which if random.random() < 0.7 else self.any(1)[0]
            self.steps += [which] if index is which else []
            weights = self.weights(inputs, m, operation is Operation.COLUMN_BF16)
            step = Step(operation, [index], size, m, alpha=float(np.float32(random.normal())), weights=weights)
        elif operation is Operation.GATHER:
            indexes = random.integers(0, size, int(random.integers(1, 201))).astype(np.int32)
            step = Step(operation, [source], indexes.size, size, weights=indexes)
        else:
            length = int(random.choice([d for d in range(1, size + 1) if size % d == 0]))
            step = Step(operation, [source], size // length, length)
        self.steps.append(step)
        self.values.append((step, step.size))

    def program(self, narrowest: int) -> Program:
        given = [value for value in self.values if not isinstance(value[0], Second)]
        chosen = [value for value in given if self.random.random() < 0.4][-7:] + given[-1:]
        results = {Output(f"output {i}", (size,), False): step for i, (step, size) in enumerate(chosen)}
        return lay_out(results, self.steps, (self.values[0][1],), narrowest=narrowest)


@settings(max_examples=2000 if LONG else 60, deadline=None, derandomize=not LONG)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 200),
    st.lists(st.sampled_from(LOADED), min_size=1, max_size=12),
    st.sampled_from([1, 2, 3, 4, 7, 8, 9, 20]),
    st.sampled_from([4, 16]),
    st.sampled_from([0.0, 0.0, 0.02, 0.5]),
)
def test_random_programs_give_the_bits_of_the_page(seed, size, operations, rows, narrowest, odd):
    random = np.random.default_rng(seed)
    growing = Growing(random, size, odd)
    for operation in operations:
        growing.grow(operation)
    program, data = growing.program(narrowest), numbers(random, (rows, size), odd)
    second = numbers(random, (rows, program.second), odd) if program.second else None
    expected = specified(program, data, second)
    for kind in KINDS:
        assert same_bits(compiled(core, kind, program, data, second), expected), kind


@pytest.mark.parametrize("operation", [*UNARY], ids=lambda operation: Operation(operation).name)
def test_functions_of_numbers_of_every_size_give_the_bits_of_the_page(operation):
    """All exponents and signs, the numbers where a formula changes, and their neighbours."""
    patterns = (
        np.arange(0, 2**32, 2**10 + 1 if LONG else 2**13 + 1, dtype=np.uint64).astype(np.uint32).view(np.float32)
    )
    edges = np.array([*ODD, 40.0, -40.0, 20.0, 105.0, -105.0, 110.0, -0.625, 2.0**-126, 0.34657359], np.float32)
    above, below = np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))
    data = np.concatenate([patterns, edges, above, below])[None]
    step = Step(Operation(operation), [None], data.size, alpha=-1.7)
    program = lay_out({Output("found", (data.size,), False): step}, [step], (data.size,))
    expected = specified(program, data)
    for kind in KINDS:
        assert same_bits(compiled(core, kind, program, data), expected), kind


@pytest.mark.parametrize("operation", [Operation.DENSE, Operation.DENSE_BF16])
def test_dense_layers_of_every_width_give_the_bits_of_the_page(operation):
    random = np.random.default_rng(3)
    for m in [*range(1, 20), 31, 32, 33, 47, 48, 63, 64, 65, 80, 96, 97, 112, 127, 128, 130, 200]:
        weights = numbers(random, (9, m), 0)
        if operation is Operation.DENSE_BF16:
            weights = (weights.view(np.uint32) >> 16).astype(np.uint16)
        step = Step(operation, [None, numbers(random, (m,), 0)], 9, m, weights=weights)
        for narrowest in (4, 16):
            program = lay_out({Output("found", (m,), False): step}, [step], (9,), narrowest=narrowest)
            data = numbers(random, (15, 9), 0)
            expected = specified(program, data)
            for kind in KINDS:
                assert same_bits(compiled(core, kind, program, data), expected), (kind, m, narrowest)


def test_a_row_gives_the_same_bits_alone_and_among_others():
    random = np.random.default_rng(4)
    growing = Growing(random, 70, 0.01)
    growing.values = growing.values[:1]
    for operation in (Operation.DENSE, Operation.GELU, Operation.DENSE_BF16, Operation.SUM_OF_SQUARES):
        growing.grow(operation)
    program, data = growing.program(16), numbers(random, (37, 70), 0.01)
    for kind in KINDS:
        alone = [compiled(core, kind, program, row[None]) for row in data]
        assert same_bits(
            compiled(core, kind, program, data), [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        )


def test_an_output_that_is_not_wanted_leaves_the_others_as_they_are():
    steps = [Step(Operation.ABS, [None], 3), Step(Operation.NEGATE, [None], 3)]
    program = lay_out({Output(f"{i}", (3,), False): step for i, step in enumerate(steps)}, steps, (3,))
    from specified import plan_of

    data, found = np.array([[1, -2, 3]], np.float32), np.zeros((1, 3), np.float32)
    plan_of(core, KINDS[0], program).run(data, (None, found))
    assert found.tolist() == [[-1, 2, -3]]
