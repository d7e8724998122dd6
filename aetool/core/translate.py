"""From an ONNX graph to a program of the core: exactly what the graph says, or the node that the core lacks."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.core._operands import GraphValue, Operands, Unfinished, UnsupportedError, constant_of
from aetool.core._shape_rules import SHAPE_RULES
from aetool.core.program import (
    DENSE,
    MAX_OUTPUTS,
    Operand,
    Operation,
    Output,
    Program,
    Second,
    Step,
    lay_out,
    needed_steps,
)
from aetool.onnx_check.model import BOOL, FLOAT, INT32, INT64, Node, OnnxModel, OnnxTensor

__all__ = ["Tail", "UnsupportedError", "translate", "translate_tail"]

_FEW_PRODUCTS = 4096
"""Products of a row that the core computes sooner than another engine takes and gives the numbers."""
_SQRT_2, _SQRT_HALF = np.float32(math.sqrt(2)), np.float32(math.sqrt(0.5))


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
    multiplied: int
    """Products of a row in dense layers that the program computes itself."""


def translate_tail(model: OnnxModel, row: tuple[int, ...]) -> Tail | None:
    """Return what comes after the last dense layer, if that multiplies no more than half itself; else None.

    Raises:
        UnsupportedError: as `translate`.
    """
    translator, results = _translated(model, row)
    layers = [step for step in needed_steps(results.values(), translator.steps) if step.operation in DENSE]
    left = {id(layer): _multiplied(results.values(), layer) for layer in layers}
    last = min(reversed(layers), key=lambda layer: left[id(layer)], default=None)
    if last is None or left[id(last)] > max(_FEW_PRODUCTS, _multiplied(results.values()) // 2):
        return None
    product, begins = translator.products[id(last)]
    start, second = last.reads[1], Second(last.m)
    instead: Operand = second
    steps: list[Step] = []
    for step in translator.steps:
        step.reads = tuple(instead if value is last else value for value in step.reads)
        if step is not last:
            steps.append(step)
        elif begins:
            instead = Step(Operation.ADD, [start, second], last.m, last.m)
            steps.append(instead)
    results = {output: instead if value is last else value for output, value in results.items()}
    kept = needed_steps(results.values(), steps)
    if any(isinstance(value, Second) for value in results.values()):
        return None
    return Tail(product, begins, lay_out(results, kept, row), left[id(last)])


def _multiplied(results: Iterable[Operand], given: Step | None = None) -> int:
    """Return the products of one row in the dense layers that results need, where the product of one is given."""
    todo, seen, found = [*results], set[int](), 0
    while todo:
        step = todo.pop()
        if isinstance(step, Step) and id(step) not in seen:
            seen.add(id(step))
            todo += step.reads[1:] if step is given else step.reads
            found += step.n * step.m if step.operation in DENSE and step is not given else 0
    return found


def _translated(model: OnnxModel, row: tuple[int, ...]) -> "tuple[_Translator, dict[Output, Operand]]":
    graph = model.graph
    defaults = {tensor.name for tensor in graph.constants}  # the threshold is an input with a default
    asked = {
        name: kind for name, kind in zip(graph.inputs, graph.input_types, strict=True) if name not in defaults
    }
    if [*asked.values()] != [FLOAT]:
        raise UnsupportedError("it has other inputs than one of float32")
    translator = _Translator()
    for tensor in graph.constants:
        translator.values[tensor.name] = constant_of(tensor)
    translator.values[next(iter(asked))] = GraphValue(row)
    for node in graph.nodes:
        translator.add(node)
    if not 1 <= len(graph.outputs) <= MAX_OUTPUTS:
        raise UnsupportedError(f"it has {len(graph.outputs)} outputs, the core gives 1 to {MAX_OUTPUTS}")
    if len(set(graph.outputs)) != len(graph.outputs):
        raise UnsupportedError("two of its outputs have one name")
    results: dict[Output, Operand] = {}
    for name in graph.outputs:
        value = translator.values.get(name)
        if not isinstance(value, GraphValue) or value.constant is not None or value.kind not in (FLOAT, BOOL):
            raise UnsupportedError(f"its output {name!r} is no float32 or bool computed from rows")
        results[Output(name, value.shape, value.kind == BOOL)] = value.step
    translator.require_small()
    return translator, results


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


class _Translator(Operands):
    def __init__(self) -> None:
        super().__init__()
        self.products: dict[int, tuple[str, bool]] = {}
        """A dense step -> the value that is its product, and whether a row's numbers are added to that."""

    def add(self, node: Node) -> None:
        rules: dict[str, Callable[[Node], GraphValue | Unfinished]] = {
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Where": self._where,
            "Not": self._not,
            "IsNaN": self._is_nan,
            "Cast": self._cast,
            "LeakyRelu": self._leaky_relu,
            "Elu": self._elu,
            "Gelu": self._gelu,
            "Erf": self._erf,
            "Identity": lambda node: self.given(node, 0),
            "Constant": self._constant_node,
            **dict.fromkeys(_UNARY, self._unary),
            **dict.fromkeys(_ARITHMETIC, self._arithmetic),
            **dict.fromkeys(_COMPARING, self._comparison),
            **{name: partial(rule, self) for name, rule in SHAPE_RULES.items()},
        }
        rule = rules.get(node.operator)
        if rule is None or node.graphs or len([name for name in node.outputs if name]) != 1:
            raise self.lacks(node)
        self.values[node.outputs[0]] = rule(node)

    # Dense layers

    def _gemm(self, node: Node) -> GraphValue:
        attributes = node.attributes
        weights = self.given(node, 1)
        if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
            raise self.lacks(node, "transA, alpha and beta")
        start = self.given(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None
        return self._dense(node, weights, bool(attributes.get("transB", 0)), start)

    def _matmul(self, node: Node) -> GraphValue:
        return self._dense(node, self.given(node, 1), False, None)

    def _dense(self, node: Node, weights: GraphValue, transposed: bool, start: GraphValue | None) -> GraphValue:
        rows, matrix = self.numbers(node, 0), weights.constant
        halves = weights.halves is not None
        if halves:
            matrix = weights.halves
        if matrix is None or matrix.ndim != 2 or weights.kind not in (FLOAT,):
            raise self.lacks(node, "a constant matrix of float32 is expected")
        if transposed:
            matrix = matrix.T
        if rows.shape != (matrix.shape[0],) or not matrix.size:
            raise self.lacks(node, "rows of one dimension are expected")
        shape = (matrix.shape[1],)
        if start is not None and start.kind != FLOAT:
            raise self.lacks(node, "float32 is expected")
        begins = self.wide(node, start or GraphValue((), constant=np.zeros((), np.float32)), shape)
        operation = Operation.DENSE_BF16 if halves else Operation.DENSE
        kept = self._matrix(weights, matrix, transposed)
        found = Step(operation, [rows.step, begins], *matrix.shape, weights=kept)
        self.products[id(found)] = node.outputs[0], start is not None and start.constant is None
        return self.step(found, shape)

    def _matrix(self, weights: GraphValue, matrix: NDArray[Any], transposed: bool) -> NDArray[Any]:
        """Return the matrix, the same array for each node that reads it."""
        key = id(weights.constant), (-2, int(transposed))
        if key not in self._reads:
            self._kept.append(weights.constant)
            self._reads[key] = matrix
        return self._reads[key]

    # Numbers alone

    def _unary(self, node: Node) -> GraphValue:
        return self.map(_UNARY[node.operator], self.numbers(node, 0))

    def _leaky_relu(self, node: Node) -> GraphValue:
        slope = np.float32(node.attributes.get("alpha", 0.01))
        return self.map(Operation.LEAKY_RELU, self.numbers(node, 0), alpha=float(slope))

    def _elu(self, node: Node) -> GraphValue:
        return self.map(Operation.ELU, self.numbers(node, 0), alpha=float(node.attributes.get("alpha", 1.0)))

    def _gelu(self, node: Node) -> GraphValue:
        if node.attributes.get("approximate", b"none") != b"none":
            raise self.lacks(node, "an approximation")
        return self.map(Operation.GELU, self.numbers(node, 0))

    def _erf(self, node: Node) -> Unfinished:
        value = self.numbers(node, 0)
        step = value.step
        if step is None or step.operation not in (Operation.DIVIDE, Operation.MULTIPLY):
            raise self.lacks(node)
        by = _SQRT_2 if step.operation is Operation.DIVIDE else _SQRT_HALF
        source, factor = step.reads
        if not (source is None or isinstance(source, Step)) or not isinstance(factor, np.ndarray):
            raise self.lacks(node)
        if not bool((factor == by).all()):
            raise self.lacks(node)
        return Unfinished(GraphValue(value.shape, FLOAT, source), "erf")

    def _arithmetic(self, node: Node) -> GraphValue | Unfinished:
        values = [self.values.get(name) for name in node.inputs]
        if len(values) != 2:
            raise self.lacks(node)
        for one, other in (values, values[::-1]):
            if isinstance(one, Unfinished):
                return self._towards_gelu(node, one, other)
        a, b = self.given(node, 0), self.given(node, 1)
        operation = _ARITHMETIC[node.operator]
        if operation is Operation.MULTIPLY and (found := self._silu(a, b)) is not None:
            return found
        if a.kind != FLOAT or b.kind != FLOAT:
            raise self.lacks(node, "float32 is expected")
        if a.constant is not None and b.constant is not None:
            raise self.lacks(node, "two constants")
        if operation is Operation.ADD and (begun := self._begun(node, a, b)) is not None:
            return begun
        return self._binary(node, operation, a, b)

    def _binary(
        self, node: Node, operation: Operation, a: GraphValue, b: GraphValue, kind: int = FLOAT
    ) -> GraphValue:
        shape = self.common_shape(node, a, b)
        size = math.prod(shape)
        if operation in _COMMUTE and (a.constant is not None or a.size < b.size):
            a, b = b, a
        first, second = self.wide(node, a, shape), self.read(node, b, shape)
        many = second.size if isinstance(second, np.ndarray) else b.size if second is b.step else size
        return self.step(Step(operation, [first, second], size, many), shape, kind)

    def _begun(self, node: Node, a: GraphValue, b: GraphValue) -> GraphValue | None:
        """Return a product that begins at what is added to it: y = b + x * w, as docs/core.md has it."""
        for product, start in ((a, b), (b, a)):
            step = product.step
            if step is None or step.operation not in (Operation.DENSE, Operation.DENSE_BF16):
                continue
            before = step.reads[1]
            if isinstance(before, np.ndarray) and not before.any() and (start.constant is None or start.size != 0):
                if self.common_shape(node, product, start) != product.shape:
                    return None
                reads = [step.reads[0], self.wide(node, start, product.shape)]
                found = Step(step.operation, reads, step.n, step.m, weights=step.weights)
                begins = start.constant is None
                self.products[id(found)] = (self.products[id(step)][0] if begins else node.outputs[0]), begins
                return self.step(found, product.shape)
        return None

    def _silu(self, a: GraphValue, b: GraphValue) -> GraphValue | None:
        for one, other in ((a, b), (b, a)):
            step = other.step
            if one.constant is not None or step is None or step.operation is not Operation.SIGMOID:
                continue
            if one.shape == other.shape and step.reads[0] is one.step:
                return self.map(Operation.SILU, one)
        return None

    def _towards_gelu(
        self, node: Node, one: Unfinished, other: "GraphValue | Unfinished | None"
    ) -> GraphValue | Unfinished:
        constant = other.constant if isinstance(other, GraphValue) else None
        if constant is not None and (constant.size != 1 or constant.ndim > len(one.of.shape) + 1):
            raise self.lacks(node)
        number = None if constant is None else float(constant.ravel()[0])
        if node.operator == "Add" and one.stage == "erf" and number == 1:
            return Unfinished(one.of, "1 + erf")
        if node.operator == "Mul" and one.stage != "erf":
            factor = one.factor
            stage = one.stage
            if number is not None:
                factor *= number
            elif not isinstance(other, GraphValue) or stage != "1 + erf" or other.shape != one.of.shape:
                raise self.lacks(node)
            elif other.step is one.of.step:
                stage = "x (1 + erf)"
            elif self._half_of(other, one.of):
                stage, factor = "x (1 + erf)", factor * 0.5
            else:
                raise self.lacks(node)
            if stage == "x (1 + erf)" and factor == 0.5:
                return self.map(Operation.GELU, one.of)
            return Unfinished(one.of, stage, factor)
        raise self.lacks(node)

    @staticmethod
    def _half_of(value: GraphValue, of: GraphValue) -> bool:
        """Decide whether `value` is x / 2."""
        step = value.step
        if step is None or step.operation is not Operation.MULTIPLY or step.reads[0] is not of.step:
            return False
        return isinstance(step.reads[1], np.ndarray) and bool((step.reads[1] == 0.5).all())

    # True and false

    def _comparison(self, node: Node) -> GraphValue:
        a, b = self.given(node, 0), self.given(node, 1)
        if not {a.kind, b.kind} <= {FLOAT, BOOL} or (a.constant is not None and b.constant is not None):
            raise self.lacks(node, "float32 is expected")
        return self._binary(node, _COMPARING[node.operator], a, b, BOOL)

    def _is_nan(self, node: Node) -> GraphValue:
        return self.map(Operation.IS_NAN, self.numbers(node, 0), BOOL)

    def _not(self, node: Node) -> GraphValue:
        value = self.given(node, 0)
        if value.kind != BOOL or value.constant is not None:
            raise self.lacks(node)
        return self.map(Operation.NOT, value, BOOL)

    def _where(self, node: Node) -> GraphValue:
        condition, a, b = (self.given(node, index) for index in range(3))
        if condition.kind != BOOL or a.kind != FLOAT or b.kind != FLOAT:
            raise self.lacks(node, "float32 is expected")
        given = [value for value in (condition, a, b) if value.constant is None]
        if not given:
            raise self.lacks(node, "constants alone")
        shape = given[0].shape
        for value in (condition, a, b):
            shape = self.common_shape(node, GraphValue(shape), value)
        reads = [self.wide(node, value, shape) for value in (a, b, condition)]
        return self.step(Step(Operation.SELECT, reads, math.prod(shape)), shape)

    def _cast(self, node: Node) -> GraphValue:
        value, to = self.given(node, 0), node.attributes.get("to")
        if value.halves is not None and to == FLOAT:
            return GraphValue(value.shape, FLOAT, constant=value.constant, halves=value.halves)
        if value.constant is not None or to != FLOAT or value.kind not in (FLOAT, BOOL, INT64):
            raise self.lacks(node, "a type that the core lacks")
        return GraphValue(value.shape, FLOAT, value.step)

    def _constant_node(self, node: Node) -> GraphValue:
        tensor = node.attributes.get("value")
        if not isinstance(tensor, OnnxTensor) or tensor.data_type not in (FLOAT, BOOL, INT32, INT64):
            raise self.lacks(node)
        return constant_of(tensor)
