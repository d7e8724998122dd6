"""From an ONNX graph to a program of the core: exactly what the graph says, or the node that the core lacks."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.core.program import (
    DENSE,
    MAX_NUMBERS,
    MAX_OUTPUTS,
    Joined,
    Operand,
    Operation,
    Output,
    Program,
    Second,
    Step,
    lay_out,
    needed_steps,
)
from aetool.onnx_check.model import BFLOAT16, BOOL, FLOAT, INT32, INT64, Node, OnnxModel, OnnxTensor

_SQRT_2, _SQRT_HALF = np.float32(math.sqrt(2)), np.float32(math.sqrt(0.5))


class UnsupportedError(ValueError):
    """A graph that the core does not run; the message names the node."""


class _Value:
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
        return math.prod(self.shape)


class _Unfinished:
    """x * (1 + erf(x / sqrt 2)) / 2 on its way: GELU as exporters write it, an operator at a time."""

    __slots__ = ("factor", "of", "stage")

    def __init__(self, of: _Value, stage: str, factor: float = 1.0) -> None:
        self.of, self.stage, self.factor = of, stage, factor


def translate(model: OnnxModel, row: tuple[int, ...], *, narrowest: int = 16) -> Program:
    """Return the program of a graph that `onnx_check.check` admitted.

    Args:
        model: the graph; its first input is (rows, *row) float32.
        row: shape of one row.
        narrowest: as of `lay_out`.

    Raises:
        UnsupportedError: a node that the core lacks, or a program that is too large for it.
    """
    results, steps = steps_of(model, row)
    return lay_out(results, steps, row, narrowest=narrowest)


def steps_of(model: OnnxModel, row: tuple[int, ...]) -> tuple[dict[Output, Operand], list[Step]]:
    """Return what `lay_out` makes the program from.

    Raises:
        UnsupportedError: as `translate`.
    """
    translator, results = _translated(model, row)
    return results, translator.steps


class Tail(NamedTuple):
    """What comes after the last dense layer of a graph, for which another engine computes the product."""

    product: str
    """Name of the product in the graph."""
    begins: bool
    """True: the node that gives it begins at numbers of each row, its third input, which the program adds."""
    program: Program
    """Its second input is the product."""


def translate_tail(model: OnnxModel, row: tuple[int, ...]) -> Tail | None:
    """Return what comes after the last dense layer; None where more than one layer is last.

    Raises:
        UnsupportedError: as `translate`.
    """
    translator, results = _translated(model, row)
    last = next((step for step in reversed(translator.steps) if step.operation in DENSE), None)
    if last is None:
        return None
    product, begins = translator.products[id(last)]
    start, second = last.reads[1], Second(last.m)
    instead: Operand = second
    steps: list[Step] = []
    for step in translator.steps:
        step.reads = tuple(instead if value is last else value for value in step.reads)
        if step is last and begins:
            step = instead = Step(Operation.ADD, [start, second], last.m, last.m)  # noqa: PLW2901
        if step is not last:
            steps.append(step)
    results = {output: instead if value is last else value for output, value in results.items()}
    kept = needed_steps(results.values(), steps)
    if any(step.operation in DENSE for step in kept) or any(isinstance(v, Second) for v in results.values()):
        return None
    return Tail(product, begins, lay_out(results, kept, row))


def _translated(model: OnnxModel, row: tuple[int, ...]) -> "tuple[_Translator, dict[Output, Operand]]":
    graph = model.graph
    if len(graph.inputs) != 1 or graph.input_types != [FLOAT]:
        raise UnsupportedError("it has other inputs than one of float32")
    translator = _Translator(model.opsets.get("", 0))
    for tensor in graph.constants:
        translator.values[tensor.name] = _constant(tensor)
    translator.values[graph.inputs[0]] = _Value(row)
    for node in graph.nodes:
        translator.add(node)
    if not 1 <= len(graph.outputs) <= MAX_OUTPUTS:
        raise UnsupportedError(f"it has {len(graph.outputs)} outputs, the core gives 1 to {MAX_OUTPUTS}")
    results: dict[Output, Operand] = {}
    for name in graph.outputs:
        value = translator.values.get(name)
        if not isinstance(value, _Value) or value.constant is not None or value.kind not in (FLOAT, BOOL):
            raise UnsupportedError(f"its output {name!r} is no float32 or bool computed from rows")
        results[Output(name, value.shape, value.kind == BOOL)] = value.step
    translator.require_small()
    return translator, results


def _constant(tensor: OnnxTensor) -> _Value:
    if tensor.data_type == BFLOAT16:
        raw = tensor.raw
        parts = (
            [np.frombuffer(raw, "<u2")] if raw is not None else [part.astype("<u2") for part in tensor.integers()]
        )
        halves = np.concatenate(parts).reshape(tensor.dims)
        return _Value(tensor.dims, BFLOAT16, constant=_widened(halves), halves=halves)
    numbers = tensor.numbers()
    found = np.zeros(0) if numbers is None else numbers
    if found.size != math.prod(tensor.dims):
        raise UnsupportedError(f"constant {tensor.name!r} is of type {tensor.data_type}")
    return _Value(tensor.dims, tensor.data_type, constant=found.reshape(tensor.dims))


def _widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (halves.astype(np.uint32) << 16).view(np.float32)


_UNARY = {
    "Relu": Operation.RELU,
    "Sigmoid": Operation.SIGMOID,
    "Tanh": Operation.TANH,
    "Abs": Operation.ABS,
    "Neg": Operation.NEGATE,
    "Sqrt": Operation.SQRT,
}
_ARITHMETIC = {
    "Add": Operation.ADD,
    "Sub": Operation.SUBTRACT,
    "Mul": Operation.MULTIPLY,
    "Div": Operation.DIVIDE,
}
_COMPARING = {"Equal": Operation.EQUAL, "LessOrEqual": Operation.LESS_OR_EQUAL}
_COMMUTE = frozenset((Operation.ADD, Operation.MULTIPLY, Operation.EQUAL))
_REDUCING = {
    "ReduceSum": Operation.SUM,
    "ReduceMean": Operation.SUM,
    "ReduceSumSquare": Operation.SUM_OF_SQUARES,
}


class _Translator:
    def __init__(self, opset: int) -> None:
        self.values: dict[str, _Value | _Unfinished] = {}
        self.steps: list[Step] = []
        self.products: dict[int, tuple[str, bool]] = {}
        """A dense step -> the value that is its product, and whether a row's numbers are added to that."""
        self._opset = opset
        self._reads: dict[tuple[int, tuple[int, ...]], NDArray[np.float32]] = {}
        """Constants as float32, spread to the shape of a row: each once."""
        self._kept: list[Any] = []

    def add(self, node: Node) -> None:
        rules: dict[str, Callable[[Node], _Value | _Unfinished]] = {
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Gather": self._gather,
            "Where": self._where,
            "Not": self._not,
            "IsNaN": self._is_nan,
            "Cast": self._cast,
            "Concat": self._concat,
            "ArgMax": self._arg_max,
            "LeakyRelu": self._leaky_relu,
            "Elu": self._elu,
            "Gelu": self._gelu,
            "Erf": self._erf,
            "Identity": lambda node: self._given(node, 0),
            "Constant": self._constant_node,
            **dict.fromkeys(_UNARY, self._unary),
            **dict.fromkeys(_ARITHMETIC, self._arithmetic),
            **dict.fromkeys(_COMPARING, self._comparison),
            **dict.fromkeys(_REDUCING, self._reduction),
            **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), self._reshaped),
        }
        rule = rules.get(node.operator)
        if rule is None or node.graphs or len([name for name in node.outputs if name]) != 1:
            raise self._lacks(node)
        self.values[node.outputs[0]] = rule(node)

    def require_small(self) -> None:
        """Refuse what would take more memory than a place can name, before any is taken."""
        numbers = sum(step.size for step in self.steps) * 2
        numbers += sum(step.weights.size + 64 * step.n for step in self.steps if step.weights is not None)
        if numbers >= MAX_NUMBERS:
            raise UnsupportedError(f"it has about {numbers:,} numbers, the core takes {MAX_NUMBERS:,}")

    # What a node reads

    def _lacks(self, node: Node, what: str = "") -> UnsupportedError:
        return UnsupportedError(f"{node.title}{': ' if what else ''}{what}")

    def _given(self, node: Node, index: int) -> _Value:
        name = node.inputs[index] if index < len(node.inputs) else ""
        value = self.values.get(name)
        if not isinstance(value, _Value):
            raise self._lacks(node)
        return value

    def _numbers(self, node: Node, index: int) -> _Value:
        """Return an input that holds numbers of each row."""
        value = self._given(node, index)
        if value.constant is not None or value.kind != FLOAT:
            raise self._lacks(node, "rows of float32 are expected")
        return value

    def _fixed(self, node: Node, index: int) -> NDArray[Any]:
        value = self._given(node, index)
        if value.constant is None:
            raise self._lacks(node, "a constant is expected")
        return value.constant

    def _axes(self, node: Node, rank: int) -> list[int]:
        """Return the axes that a node names, in its attribute or its second input, counted from 0."""
        named = node.attributes.get("axes")
        if named is None and len(node.inputs) > 1 and node.inputs[1]:
            named = self._fixed(node, 1).ravel().tolist()
        if named is None:
            raise self._lacks(node, "no axes are named")
        return sorted(axis + rank if axis < 0 else axis for axis in named)

    def _read(self, node: Node, value: _Value, shape: tuple[int, ...]) -> Operand:
        """Return `value` as an operand of numbers of `shape`, or of one number."""
        if value.constant is None:
            if value.shape == shape or (value.size == 1 and len(value.shape) == len(shape)):
                return value.step
            if len(value.shape) != len(shape):
                raise self._lacks(node, "shapes that do not fit")
            places = np.broadcast_to(np.arange(value.size).reshape(value.shape), shape)
            return self._gathered(value, places).step
        constant = value.constant
        if constant.ndim == len(shape) + 1 and constant.shape[0] == 1:
            constant = constant[0]
        if constant.ndim > len(shape):
            raise self._lacks(node, "a constant that differs from row to row")
        key = id(value.constant), () if constant.size == 1 else shape
        if key not in self._reads:
            self._kept.append(value.constant)
            spread = constant.reshape(1) if constant.size == 1 else np.broadcast_to(constant, shape).ravel()
            self._reads[key] = np.ascontiguousarray(spread, np.float32)
        return self._reads[key]

    def _wide(self, node: Node, value: _Value, shape: tuple[int, ...]) -> Operand:
        """Return `value` as an operand of as many numbers as `shape` has."""
        found = self._read(node, value, shape)
        size = math.prod(shape)
        if isinstance(found, np.ndarray):
            return found if found.size == size else np.repeat(found, size)
        if value.size == size:
            return found
        return self._gathered(value, np.zeros(size, np.int64)).step

    def _step(self, step: Step, shape: tuple[int, ...], kind: int = FLOAT) -> _Value:
        self.steps.append(step)
        return _Value(shape, kind, step)

    def _gathered(self, value: _Value, places: NDArray[Any]) -> _Value:
        indexes = np.ascontiguousarray(places, np.int32)
        step = Step(Operation.GATHER, [value.step], indexes.size, value.size, weights=indexes.ravel())
        return self._step(step, indexes.shape, value.kind)

    # Dense layers

    def _gemm(self, node: Node) -> _Value:
        attributes = node.attributes
        weights = self._given(node, 1)
        if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise self._lacks(node, "transA, alpha and beta")
        start = self._given(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None
        return self._dense(node, weights, bool(attributes.get("transB", 0)), start)

    def _matmul(self, node: Node) -> _Value:
        return self._dense(node, self._given(node, 1), False, None)

    def _dense(self, node: Node, weights: _Value, transposed: bool, start: _Value | None) -> _Value:
        rows, matrix = self._numbers(node, 0), weights.constant
        halves = weights.halves is not None
        if halves:
            matrix = weights.halves
        if matrix is None or matrix.ndim != 2 or weights.kind not in (FLOAT,):
            raise self._lacks(node, "a constant matrix of float32 is expected")
        if transposed:
            matrix = matrix.T
        if rows.shape != (matrix.shape[0],) or not matrix.size:
            raise self._lacks(node, "rows of one dimension are expected")
        shape = (matrix.shape[1],)
        begins = self._wide(node, start or _Value((), constant=np.zeros((), np.float32)), shape)
        operation = Operation.DENSE_BF16 if halves else Operation.DENSE
        kept = self._matrix(weights, matrix, transposed)
        found = Step(operation, [rows.step, begins], *matrix.shape, weights=kept)
        self.products[id(found)] = node.outputs[0], start is not None and start.constant is None
        return self._step(found, shape)

    def _matrix(self, weights: _Value, matrix: NDArray[Any], transposed: bool) -> NDArray[Any]:
        """Return the matrix, the same array for each node that reads it."""
        key = id(weights.constant), (-2, int(transposed))
        if key not in self._reads:
            self._kept.append(weights.constant)
            self._reads[key] = matrix
        return self._reads[key]

    # Numbers alone

    def _map(self, operation: Operation, value: _Value, kind: int = FLOAT, alpha: float = 0.0) -> _Value:
        return self._step(Step(operation, [value.step], value.size, alpha=alpha), value.shape, kind)

    def _unary(self, node: Node) -> _Value:
        return self._map(_UNARY[node.operator], self._numbers(node, 0))

    def _leaky_relu(self, node: Node) -> _Value:
        slope = np.float32(node.attributes.get("alpha", 0.01))
        return self._map(Operation.LEAKY_RELU, self._numbers(node, 0), alpha=float(slope))

    def _elu(self, node: Node) -> _Value:
        return self._map(Operation.ELU, self._numbers(node, 0), alpha=float(node.attributes.get("alpha", 1.0)))

    def _gelu(self, node: Node) -> _Value:
        if node.attributes.get("approximate", b"none") != b"none":
            raise self._lacks(node, "an approximation")
        return self._map(Operation.GELU, self._numbers(node, 0))

    def _erf(self, node: Node) -> _Unfinished:
        step = self._numbers(node, 0).step
        scaled = None if step is None else self._scaled_by_root_2(step)
        if scaled is None:
            raise self._lacks(node)
        return _Unfinished(scaled, "erf")

    def _scaled_by_root_2(self, step: Step) -> _Value | None:
        """Return x of a step x / sqrt 2."""
        if step.operation not in (Operation.DIVIDE, Operation.MULTIPLY):
            return None
        by = _SQRT_2 if step.operation is Operation.DIVIDE else _SQRT_HALF
        source, factor = step.reads
        if not isinstance(factor, np.ndarray) or not bool((factor == by).all()):
            return None
        values = (value for value in self.values.values() if isinstance(value, _Value) and value.constant is None)
        return next((value for value in values if value.step is source), None)

    def _arithmetic(self, node: Node) -> _Value | _Unfinished:
        values = [self.values.get(name) for name in node.inputs]
        for one, other in (values, values[::-1]):
            if isinstance(one, _Unfinished):
                return self._towards_gelu(node, one, other)
        a, b = self._given(node, 0), self._given(node, 1)
        operation = _ARITHMETIC[node.operator]
        if operation is Operation.MULTIPLY and (found := self._silu(a, b)) is not None:
            return found
        if a.kind != FLOAT or b.kind != FLOAT:
            raise self._lacks(node, "float32 is expected")
        if a.constant is not None and b.constant is not None:
            raise self._lacks(node, "two constants")
        if operation is Operation.ADD and (begun := self._begun(node, a, b)) is not None:
            return begun
        return self._binary(node, operation, a, b)

    def _binary(self, node: Node, operation: Operation, a: _Value, b: _Value, kind: int = FLOAT) -> _Value:
        shape = self._common_shape(node, a, b)
        size = math.prod(shape)
        if operation in _COMMUTE and (a.constant is not None or a.size < b.size):
            a, b = b, a
        first, second = self._wide(node, a, shape), self._read(node, b, shape)
        many = second.size if isinstance(second, np.ndarray) else b.size if second is b.step else size
        return self._step(Step(operation, [first, second], size, many), shape, kind)

    def _common_shape(self, node: Node, a: _Value, b: _Value) -> tuple[int, ...]:
        rows = [value.shape for value in (a, b) if value.constant is None]
        if len({len(shape) for shape in rows}) != 1:
            raise self._lacks(node, "shapes that do not fit")
        shapes = [
            value.shape[1:] if value.constant is not None and len(value.shape) > len(rows[0]) else value.shape
            for value in (a, b)
        ]
        shape = np.broadcast_shapes(*shapes)
        if len(shape) != len(rows[0]):
            raise self._lacks(node, "shapes that do not fit")
        return shape

    def _begun(self, node: Node, a: _Value, b: _Value) -> _Value | None:
        """Return a product that begins at what is added to it: y = b + x * w, as docs/core.md has it."""
        for product, start in ((a, b), (b, a)):
            step = product.step
            if step is None or step.operation not in (Operation.DENSE, Operation.DENSE_BF16):
                continue
            before = step.reads[1]
            if isinstance(before, np.ndarray) and not before.any() and (start.constant is None or start.size != 0):
                if self._common_shape(node, product, start) != product.shape:
                    return None
                reads = [step.reads[0], self._wide(node, start, product.shape)]
                found = Step(step.operation, reads, step.n, step.m, weights=step.weights)
                begins = start.constant is None
                self.products[id(found)] = (self.products[id(step)][0] if begins else node.outputs[0]), begins
                return self._step(found, product.shape)
        return None

    def _silu(self, a: _Value, b: _Value) -> _Value | None:
        for one, other in ((a, b), (b, a)):
            step = other.step
            if one.constant is not None or step is None or step.operation is not Operation.SIGMOID:
                continue
            if one.shape == other.shape and step.reads[0] is one.step:
                return self._map(Operation.SILU, one)
        return None

    def _towards_gelu(
        self, node: Node, one: _Unfinished, other: "_Value | _Unfinished | None"
    ) -> _Value | _Unfinished:
        constant = other.constant if isinstance(other, _Value) else None
        number = None if constant is None or constant.size != 1 else float(constant.ravel()[0])
        if node.operator == "Add" and one.stage == "erf" and number == 1:
            return _Unfinished(one.of, "1 + erf")
        if node.operator == "Mul" and one.stage != "erf":
            factor = one.factor
            stage = one.stage
            if number is not None:
                factor *= number
            elif isinstance(other, _Value) and stage == "1 + erf" and other.step is one.of.step:
                stage = "x (1 + erf)"
            elif isinstance(other, _Value) and stage == "1 + erf" and self._half_of(other, one.of):
                stage, factor = "x (1 + erf)", factor * 0.5
            else:
                raise self._lacks(node)
            if stage == "x (1 + erf)" and factor == 0.5:
                return self._map(Operation.GELU, one.of)
            return _Unfinished(one.of, stage, factor)
        raise self._lacks(node)

    @staticmethod
    def _half_of(value: _Value, of: _Value) -> bool:
        """Decide whether `value` is x / 2."""
        step = value.step
        if step is None or step.operation is not Operation.MULTIPLY or step.reads[0] is not of.step:
            return False
        return isinstance(step.reads[1], np.ndarray) and bool((step.reads[1] == 0.5).all())

    # True and false

    def _comparison(self, node: Node) -> _Value:
        a, b = self._given(node, 0), self._given(node, 1)
        if not {a.kind, b.kind} <= {FLOAT, BOOL} or (a.constant is not None and b.constant is not None):
            raise self._lacks(node, "float32 is expected")
        return self._binary(node, _COMPARING[node.operator], a, b, BOOL)

    def _is_nan(self, node: Node) -> _Value:
        return self._map(Operation.IS_NAN, self._numbers(node, 0), BOOL)

    def _not(self, node: Node) -> _Value:
        value = self._given(node, 0)
        if value.kind != BOOL or value.constant is not None:
            raise self._lacks(node)
        return self._map(Operation.NOT, value, BOOL)

    def _where(self, node: Node) -> _Value:
        condition, a, b = (self._given(node, index) for index in range(3))
        if condition.kind != BOOL or a.kind != FLOAT or b.kind != FLOAT:
            raise self._lacks(node, "float32 is expected")
        given = [value for value in (condition, a, b) if value.constant is None]
        if not given:
            raise self._lacks(node, "constants alone")
        shape = given[0].shape
        for value in (condition, a, b):
            shape = self._common_shape(node, _Value(shape), value)
        reads = [self._wide(node, value, shape) for value in (a, b, condition)]
        return self._step(Step(Operation.SELECT, reads, math.prod(shape)), shape)

    def _cast(self, node: Node) -> _Value:
        value, to = self._given(node, 0), node.attributes.get("to")
        if value.halves is not None and to == FLOAT:
            return _Value(value.shape, FLOAT, constant=value.constant, halves=value.halves)
        if value.constant is not None or to != FLOAT or value.kind not in (FLOAT, BOOL, INT64):
            raise self._lacks(node, "a type that the core lacks")
        return _Value(value.shape, FLOAT, value.step)

    # Shapes and sums

    def _shape_axis(self, node: Node, axis: int, rank: int) -> int:
        """Return an axis of a row from one of all rows."""
        axis = axis + rank + 1 if axis < 0 else axis
        if not 1 <= axis <= rank:
            raise self._lacks(node, "rows would be mixed")
        return axis - 1

    def _gather(self, node: Node) -> _Value:
        value, indexes = self._given(node, 0), self._fixed(node, 1)
        if value.constant is not None or value.kind not in (FLOAT, BOOL) or indexes.dtype.kind != "i":
            raise self._lacks(node)
        axis = self._shape_axis(node, node.attributes.get("axis", 0), len(value.shape))
        side = value.shape[axis]
        if bool(((indexes < -side) | (indexes >= side)).any()) or not indexes.size:
            raise self._lacks(node, "indexes beyond the row")
        return self._gathered(value, np.arange(value.size).reshape(value.shape).take(indexes, axis))

    def _reshaped(self, node: Node) -> _Value:
        value = self._given(node, 0)
        if value.constant is not None:
            raise self._lacks(node, "a constant")
        rank = len(value.shape)
        if node.operator == "Flatten":
            if node.attributes.get("axis", 1) != 1:
                raise self._lacks(node, "rows would be mixed")
            shape: tuple[int, ...] = (value.size,)
        elif node.operator == "Reshape":
            shape = self._reshape(node, value)
        elif node.operator == "Unsqueeze":
            # In a new shape with one more axis for each, of which the first stays the batch.
            named = node.attributes.get("axes") or self._fixed(node, 1).ravel().tolist()
            whole = rank + 1 + len(named)
            axes = {axis + whole if axis < 0 else axis for axis in named}
            sides = iter(value.shape)
            if 0 in axes or len(axes) != len(named):
                raise self._lacks(node, "rows would be mixed")
            shape = tuple(1 if axis in axes else next(sides) for axis in range(1, whole))
        else:
            kept = {self._shape_axis(node, axis, rank) for axis in self._axes(node, rank + 1)}
            if any(value.shape[axis] != 1 for axis in kept):
                raise self._lacks(node, "a side that is not 1")
            shape = tuple(side for axis, side in enumerate(value.shape) if axis not in kept)
        return _Value(shape, value.kind, value.step)

    def _reshape(self, node: Node, value: _Value) -> tuple[int, ...]:
        wanted = self._fixed(node, 1).ravel().tolist()
        copied = not node.attributes.get("allowzero", 0)
        first, rest = wanted[0] if wanted else 1, wanted[1:]
        sides = [
            value.shape[index] if side == 0 and copied and index < len(value.shape) else side
            for index, side in enumerate(rest)
        ]
        known = math.prod(side for side in sides if side != -1)
        if first == 0 and copied and sides.count(-1) == 1 and known > 0:
            sides = [value.size // known if side == -1 else side for side in sides]
        if (
            first not in ((-1, 0) if copied else (-1,))
            or min(sides, default=1) < 1
            or math.prod(sides) != value.size
        ):
            raise self._lacks(node, "rows would be mixed")
        return tuple(sides)

    def _concat(self, node: Node) -> _Value:
        values = [self._given(node, index) for index in range(len(node.inputs))]
        if any(value.constant is not None or value.kind != FLOAT for value in values):
            raise self._lacks(node)
        rank = len(values[0].shape)
        axis = self._shape_axis(node, node.attributes.get("axis", 0), rank)
        if any(len(value.shape) != rank for value in values):
            raise self._lacks(node, "shapes that do not fit")
        sizes = [value.size for value in values]
        joined = self._step(Joined([value.step for value in values], sizes), (sum(sizes),))
        starts = np.cumsum([0, *sizes[:-1]])
        parts = [
            start + np.arange(value.size).reshape(value.shape) for start, value in zip(starts, values, strict=True)
        ]
        places = np.concatenate(parts, axis=axis)
        if bool((places.ravel() == np.arange(places.size)).all()):
            return _Value(places.shape, FLOAT, joined.step)
        return self._gathered(joined, places)

    def _reduction(self, node: Node) -> _Value:
        value = self._numbers(node, 0)
        rank = len(value.shape)
        axes = [self._shape_axis(node, axis, rank) for axis in self._axes(node, rank + 1)]
        if axes != list(range(rank - len(axes), rank)) or not axes:
            raise self._lacks(node, "a sum over other than the last sides")
        length = math.prod(value.shape[axes[0] :])
        rest = value.shape[: axes[0]]
        shape = (*rest, *[1] * len(axes)) if node.attributes.get("keepdims", 1) else rest
        step = Step(_REDUCING[node.operator], [value.step], value.size // length, length)
        found = self._step(step, shape)
        if node.operator == "ReduceMean":
            count = np.full(1, length, np.float32)
            return self._step(Step(Operation.DIVIDE, [found.step, count], found.size, 1), shape)
        return found

    def _arg_max(self, node: Node) -> _Value:
        value = self._numbers(node, 0)
        rank = len(value.shape)
        axis = self._shape_axis(node, node.attributes.get("axis", 0), rank)
        if axis != rank - 1 or node.attributes.get("select_last_index", 0):
            raise self._lacks(node, "another than the last side")
        rest = value.shape[:-1]
        shape = (*rest, 1) if node.attributes.get("keepdims", 1) else rest
        step = Step(Operation.ARG_MAX, [value.step], math.prod(rest), value.shape[-1])
        return self._step(step, shape, INT64)

    def _constant_node(self, node: Node) -> _Value:
        tensor = node.attributes.get("value")
        if not isinstance(tensor, OnnxTensor) or tensor.data_type not in (FLOAT, BOOL, INT32, INT64):
            raise self._lacks(node)
        return _constant(tensor)
