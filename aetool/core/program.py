"""Programs of the core: steps over float32 vectors, their memory laid out, their weights packed (docs/core.md).

A program is what core.c calls a plan: the same bytes for the extension, for generated C and for WebAssembly.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.core.constants import Constants, paired, panels
from aetool.core.integers import Multiplier, Requantisation

MAX_OUTPUTS = 8
_PLACE_BITS = 27
MAX_NUMBERS = 1 << _PLACE_BITS
"""Most constants, weights included, or floats of working memory."""
_WORK, _INPUT, _CONSTANT, _OUTPUT = range(4)
_SECOND = _OUTPUT + MAX_OUTPUTS
_STEP = struct.Struct("=8if")


class Operation(IntEnum):
    """Operations of core.h, in its order."""

    COPY = 0
    DENSE = 1
    DENSE_BF16 = 2
    LEAKY_RELU = 3
    RELU = 4
    ELU = 5
    GELU = 6
    SILU = 7
    TANH = 8
    SIGMOID = 9
    ABS = 10
    NEGATE = 11
    SQRT = 12
    IS_NAN = 13
    NOT = 14
    ADD = 15
    SUBTRACT = 16
    MULTIPLY = 17
    DIVIDE = 18
    EQUAL = 19
    LESS_OR_EQUAL = 20
    SELECT = 21
    GATHER = 22
    SUM = 23
    SUM_OF_SQUARES = 24
    ARG_MAX = 25
    QUANTIZE = 26
    DENSE_INT8 = 27
    DENSE_INT8_LAST = 28
    DEQUANTIZE = 29
    MAX = 30
    COLUMN = 31
    COLUMN_BF16 = 32


_IN_PLACE = frozenset(range(Operation.LEAKY_RELU, Operation.GATHER))
"""Operations that may write over what they read."""


_MATRICES = frozenset((Operation.DENSE, Operation.DENSE_BF16, Operation.DENSE_INT8, Operation.DENSE_INT8_LAST))


class Step:
    """A step before its numbers have places: what it reads are other steps, constants, or the input (None)."""

    __slots__ = ("alpha", "m", "n", "operation", "reads", "weights")

    def __init__(
        self,
        operation: Operation,
        reads: "Sequence[Operand]",
        n: int,
        m: int = 1,
        *,
        alpha: float = 0.0,
        weights: NDArray[Any] | None = None,
    ) -> None:
        """Keep what core.h calls a, b and c, n and m.

        Args:
            operation: what to compute.
            reads: a, b and c, as far as the operation reads them.
            n: numbers that it gives, but for DENSE, which reads so many.
            m: as core.h says of the operation.
            alpha: of LEAKY_RELU, ELU and COLUMN.
            weights: of DENSE, (n, m) float32; of DENSE_BF16 uint16; of COLUMN those of a dense layer; of GATHER
                int32 indexes.
        """
        self.operation, self.reads, self.n, self.m = operation, tuple(reads), n, m
        self.alpha, self.weights = alpha, weights

    @property
    def size(self) -> int:
        """Floats that what it gives for one row takes."""
        if self.operation is Operation.QUANTIZE:
            return -(-self.n // 4)
        if self.operation is Operation.DENSE_INT8:
            return -(-self.m // 4)
        return self.m if self.operation in _MATRICES else self.n


class IntegerLayer(Step):
    """DENSE_INT8, or DENSE_INT8_LAST, which has a scale and begins in float instead of a requantisation."""

    __slots__ = ("bias", "how")

    def __init__(
        self,
        reads: "Sequence[Operand]",
        weights: NDArray[np.int8],
        bias: NDArray[np.int32],
        how: Requantisation | None = None,
    ) -> None:
        """Keep the layer's numbers.

        Args:
            reads: the int8 that go in; of the last layer also the scale and what the sums are added to.
            weights: (outputs, inputs).
            bias: (outputs,).
            how: what makes int8 of the sums; None for the last layer.
        """
        operation = Operation.DENSE_INT8_LAST if how is None else Operation.DENSE_INT8
        outputs, inputs = weights.shape
        super().__init__(operation, reads, inputs, outputs, weights=weights)
        self.bias, self.how = bias, how


class Joined(Step):
    """Several vectors, one after the other: a COPY of each."""

    __slots__ = ()

    def __init__(self, reads: "Sequence[Operand]", sizes: Sequence[int]) -> None:
        """Keep the parts and their sizes."""
        super().__init__(Operation.COPY, reads, sum(sizes), weights=np.array(sizes))


class Second:
    """The second input, as something that steps read: `n` numbers of each row."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        """Keep its size."""
        self.n = n


Operand = Step | Second | NDArray[np.float32] | None


class Output(NamedTuple):
    """Output of a program."""

    name: str
    shape: tuple[int, ...]
    """Shape of one row."""
    decides: bool
    """True: numbers 0 and 1 that mean false and true."""


class Program(NamedTuple):
    """A plan of core.h as bytes and arrays."""

    steps: bytes
    """Of 36 bytes each: operation, out, a, b, c, n, m, offset as int32, alpha as float32."""
    floats: NDArray[np.float32]
    halves: NDArray[np.uint16]
    indexes: bytes
    """int32."""
    row: tuple[int, ...]
    """Shape of one row of the input."""
    outputs: tuple[Output, ...]
    sizes: tuple[int, ...]
    """Numbers of a row in each output."""
    work: int
    """Floats of working memory for one row."""
    second: int = 0
    """Numbers in a row of the second input; 0 for none."""
    integers: NDArray[np.int8] = np.zeros(0, np.int8)
    """Weights of layers in integers."""


class GraphSteps(NamedTuple):
    """What `lay_out` makes a program from."""

    results: Mapping[Output, Operand]
    """Output -> what gives it."""
    steps: Sequence[Step]
    """All steps in an order in which they can run; those that no output needs are left out."""
    row: tuple[int, ...]
    """Shape of one row of the input."""


def lay_out(
    results: Mapping[Output, Operand], steps: Iterable[Step], row: tuple[int, ...], *, narrowest: int = 16
) -> Program:
    """Give every number a place, and pack the weights.

    Args:
        results: output -> what gives it.
        steps: all steps in an order in which they can run; those that no output needs are left out.
        row: shape of one row of the input.
        narrowest: multiple that the last panel of weights is filled up to: 16 for vectors, 4 saves memory.
    """
    return _written(GraphSteps(results, [*steps], row), Constants(), narrowest)()


def lay_out_together(graphs: Mapping[str, GraphSteps], *, narrowest: int = 16) -> dict[str, Program]:
    """Return programs with the same constants, in which equal weights lie once."""
    constants, known = Constants(), dict[tuple[str, tuple[int, ...], bytes], NDArray[Any]]()

    def first(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return known.setdefault((value.dtype.str, value.shape, value.tobytes()), value)

    finish = {}
    for graph, (results, steps, row) in graphs.items():
        for step in steps:
            step.reads, step.weights = tuple(map(first, step.reads)), first(step.weights)
        finish[graph] = _written(GraphSteps(results, steps, row), constants, narrowest)
    return {graph: make() for graph, make in finish.items()}


def _written(graph: GraphSteps, constants: "Constants", narrowest: int) -> Callable[[], Program]:
    """Write a graph's steps and constants; return what makes its program, once all constants are written."""
    results, needed = graph.results, _in_order(graph)
    writer = _Writer(constants, narrowest)
    places = _Places(needed, results)
    for step in needed:
        out = places.of_output(step)
        reads = [
            writer.constant(value) if isinstance(value, np.ndarray) else places.of(value) for value in step.reads
        ]
        if out is None:
            out = places.take(step)
        if isinstance(step, IntegerLayer):
            writer.write_integers(out, reads, step)
        elif isinstance(step, Joined):
            assert step.weights is not None
            for read, size in zip(reads, step.weights.tolist(), strict=True):
                writer.write(Operation.COPY, out, [read], size, 1)
                out += size
        else:
            if step.operation in DENSE:
                reads.insert(1, writer.filled(step))
            elif step.operation in COLUMNS:
                assert step.weights is not None
                reads += [writer.filled(step), len(step.weights)]
            writer.write(step.operation, out, reads, step.n, step.m, step.alpha, step.weights)
        places.free_after(step)
    for number, (output, source) in enumerate(results.items()):
        if not (isinstance(source, Step) and places.of_output(source) == _output_place(number)):
            read = writer.constant(source) if isinstance(source, np.ndarray) else places.of(source)
            writer.write(Operation.COPY, _output_place(number), [read], _size(output.shape), 1)
    sizes = tuple(_size(output.shape) for output in results)
    second = max((value.n for step in needed for value in step.reads if isinstance(value, Second)), default=0)

    def program() -> Program:
        floats, halves, indexes, integers = constants.whole()
        return Program(
            b"".join(writer.steps), floats, halves, indexes.tobytes(), graph.row, tuple(results), sizes,
            places.size, second, integers,
        )  # fmt: skip

    return program


DENSE = (Operation.DENSE, Operation.DENSE_BF16)
COLUMNS = (Operation.COLUMN, Operation.COLUMN_BF16)
_IN_BF16 = (Operation.DENSE_BF16, Operation.COLUMN_BF16)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _output_place(number: int) -> int:
    return (_OUTPUT + number) << _PLACE_BITS


def needed_steps(results: Iterable[Operand], steps: Iterable[Step]) -> list[Step]:
    """Return the steps that the results need, in order."""
    todo, wanted = [value for value in results if isinstance(value, Step)], set[int]()
    while todo:
        step = todo.pop()
        if id(step) not in wanted:
            wanted.add(id(step))
            todo += [value for value in step.reads if isinstance(value, Step)]
    return [step for step in steps if id(step) in wanted]


def _in_order(graph: GraphSteps) -> list[Step]:
    """Return the steps that the results need as they come, or each when it is needed if that takes less memory.

    A step's last operand is computed first: in a sum of terms, that is the newest term.
    """
    given = needed_steps(graph.results.values(), graph.steps)
    found: dict[int, Step] = {}
    todo = [value for value in graph.results.values() if isinstance(value, Step)][::-1]
    while todo:
        step = todo[-1]
        waiting = [value for value in step.reads if isinstance(value, Step) and id(value) not in found]
        if not waiting:
            found.setdefault(id(todo.pop()), step)
        todo += waiting
    when_needed = [*found.values()]
    return when_needed if _work(when_needed, graph) < _work(given, graph) else given


def _work(steps: Sequence[Step], graph: GraphSteps) -> int:
    """Return the floats of working memory that steps take in an order."""
    places = _Places(steps, graph.results)
    for step in steps:
        if places.of_output(step) is None:
            places.take(step)
        places.free_after(step)
    return places.size


class _Places:
    """Working memory of one row: each step's numbers from where it runs to where they are read last."""

    def __init__(self, steps: Sequence[Step], results: Mapping[Output, Operand]) -> None:
        self.size = 0
        self._at: dict[int, int] = {}
        self._free: list[tuple[int, int]] = []
        self._last = {id(value): id(step) for step in steps for value in step.reads if isinstance(value, Step)}
        wanted = [value for value in results.values() if isinstance(value, Step)]
        # An output that no step and no other output reads is written where it belongs at once.
        self._outputs = {
            id(value): _output_place(number)
            for number, value in enumerate(results.values())
            if isinstance(value, Step) and id(value) not in self._last and wanted.count(value) == 1
        }
        self._last |= {id(value): 0 for value in wanted if id(value) not in self._outputs}  # kept to the end
        self._sizes = {id(step): step.size for step in steps}

    def of_output(self, step: Step) -> int | None:
        return self._outputs.get(id(step))

    def of(self, value: Step | Second | None) -> int:
        if isinstance(value, Second):
            return _SECOND << _PLACE_BITS
        return _INPUT << _PLACE_BITS if value is None else self._at[id(value)]

    def take(self, step: Step) -> int:
        """Return a step's place: over what it reads for the last time, where it may, else a free one."""
        size = step.size
        over: Sequence[Operand] = step.reads if step.operation in _IN_PLACE else ()
        if step.operation in DENSE and step.reads[0] is not step.reads[1]:
            over = step.reads[1:]
        elif step.operation is Operation.DENSE_INT8_LAST:
            over = step.reads[2:]
        for value in over:
            if isinstance(value, Step) and self._last[id(value)] == id(step) and value.size == size:
                self._last[id(value)] = -1  # the place goes on to this step
                self._at[id(step)] = self._at[id(value)]
                return self._at[id(step)]
        for index, (at, room) in enumerate(self._free):
            if room >= size:
                self._free[index] = (at + size, room - size)
                break
        else:
            at = self._grown(size)
        self._at[id(step)] = at
        return at

    def _grown(self, size: int) -> int:
        """Return a place at the end, which may begin in what is free there."""
        at = self.size
        if self._free and sum(last := max(self._free)) == self.size:
            self._free.remove(last)
            at = last[0]
        self.size = at + size
        return at

    def free_after(self, step: Step) -> None:
        done = {id(value) for value in step.reads if isinstance(value, Step) and self._last[id(value)] == id(step)}
        for value in done:
            self._free.append((self._at[value], self._sizes[value]))
        self._free = _merged(self._free)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for at, room in sorted(span for span in spans if span[1]):
        if found and sum(found[-1]) == at:
            found[-1] = (found[-1][0], found[-1][1] + room)
        else:
            found.append((at, room))
    return found


class _Writer:
    """GraphSteps, constants and weights, in the order in which they are used."""

    def __init__(self, constants: Constants, narrowest: int) -> None:
        self.steps: list[bytes] = []
        self._constants, self._narrowest = constants, narrowest

    def filled(self, step: Step) -> int:
        """Return the outputs of a dense layer with those that fill up its last panel."""
        multiple = max(self._narrowest, 32) if step.operation in _IN_BF16 else self._narrowest
        return step.m + -step.m % (multiple if self._narrowest > 4 else 4)

    def constant(self, values: NDArray[np.float32]) -> int:
        return _CONSTANT << _PLACE_BITS | self._constants.floats.add(values, lambda: values)

    def write(
        self,
        operation: Operation,
        out: int,
        at: Sequence[int],
        n: int,
        m: int,
        alpha: float = 0.0,
        weights: NDArray[Any] | None = None,
    ) -> None:
        offset = 0
        if weights is not None:
            if operation in (Operation.DENSE, Operation.COLUMN):
                offset = self._constants.floats.add(weights, lambda: panels(weights, at[1]))
            elif operation in _IN_BF16:
                offset = self._constants.halves.add(weights, lambda: paired(weights, at[1]))
            else:
                offset = self._constants.indexes.add(weights, lambda: weights)
        a, b, c = (*at, 0, 0)[:3]
        self.steps.append(_STEP.pack(operation, out, a, b, c, n, m, offset, alpha))

    def write_integers(self, out: int, at: Sequence[int], step: IntegerLayer) -> None:
        weights, how = step.weights, step.how
        assert weights is not None
        head, factors = [self._constants.bytes.add(weights, lambda: weights)], []
        if how is not None:
            slope = how.slope or Multiplier(np.zeros((), np.int32), 1)
            table = how.table
            head += [how.multiplier.shift, how.zero, int(how.slope is not None), int(slope.value), slope.shift]
            head.append(-1 if table is None else self._constants.bytes.add(table, lambda: table))
            factors = [how.multiplier.value]
        numbers = np.concatenate([np.array(head, np.int32), step.bias, *factors])
        offset = self._constants.indexes.add(numbers, lambda: numbers)
        a, b, c = (*at, 0, 0)[:3]
        self.steps.append(_STEP.pack(step.operation, out, a, b, c, step.n, step.m, offset, 0.0))
