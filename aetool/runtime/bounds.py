"""How many numbers the nodes of a graph give for some rows, counted from shapes before anything runs."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from aetool.runtime.model_proto import Graph, Node, Tensor
from aetool.runtime.shape_contents import MAX_NUMBERS, content_of_node
from aetool.runtime.shape_rules import RULES
from aetool.runtime.shapes import Inputs, Shape, Value, axis_of

MAX_RANK = 16
TOTAL = 16
"""Times as many numbers in all as may be held at one time."""
_REFUSED = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AssertionError)
"""What a shape rule, numpy or Python's own arithmetic raise for what an operator does not allow."""


class BoundError(ValueError):
    """A graph whose values cannot be bounded, or are too many."""


def numbers_held(graph: Graph, input_shape: Shape, most: int) -> int:
    """The most numbers that are held at one time where the graph's one input has `input_shape`.

    Nodes run in the order of the file, a value is let go after its last use, and what follows from constants
    alone, which onnxruntime computes beforehand, is kept. In another order more may be held at one time: so what
    all nodes give together is bounded too.

    Raises:
        BoundError: an operator that aetool does not run, sizes that do not fit together or are computed from the
            rows, more than `most` numbers, or TOTAL times as many in all; the message names the node.
    """
    counter = _Counter(most)
    values = {graph.inputs[0]: Value(input_shape)} if graph.inputs else {}
    constants = {tensor.name for tensor in graph.constants}
    for name in graph.inputs[1:]:  # before IR 4 the constants are inputs too
        if name not in constants:
            raise BoundError(f"a second input {name!r}")
    counter.count(graph, values, times=1)
    return counter.peak


class _Counter:
    def __init__(self, most: int) -> None:
        self._most = most
        self._held = self._given = self.peak = 0

    def count(self, graph: Graph, outer: Mapping[str, Value], times: int) -> list[Value]:
        """Count the numbers of a graph that runs `times` times; its outputs."""
        values = {**outer, **{tensor.name: _constant(tensor) for tensor in graph.constants}}
        fixed = {tensor.name for tensor in graph.constants}
        last = {name: i for i, node in enumerate(graph.nodes) for name in _names_read(node)}
        last |= dict.fromkeys(graph.outputs, len(graph.nodes))
        free: dict[int, list[str]] = {}
        for i, node in enumerate(graph.nodes):
            try:
                inputs = [values[name] if name else None for name in node.inputs]
                results = self._results(node, inputs, values, times)
            except BoundError:
                raise
            except _REFUSED as error:
                reason = f"{error} is not computed before it" if isinstance(error, KeyError) else str(error)
                raise BoundError(f"{node.title}: {reason}") from error
            folded = all(name in fixed for name in node.inputs)
            for name, value in zip(node.outputs, results, strict=False):
                if name in values:
                    raise BoundError(f"{node.title} computes {name!r}, which is there already")
                self._hold(node, value.shape, times)
                values[name] = value
                if folded:
                    fixed.add(name)
                else:
                    free.setdefault(last.get(name, i), []).append(name)
            for name in free.pop(i, ()):
                self._held -= math.prod(values[name].shape)
        try:
            return [values[name] for name in graph.outputs]
        except KeyError as error:
            raise BoundError(f"the output {error} is not computed") from error

    def _hold(self, node: Node, shape: Shape, times: int) -> None:
        if len(shape) > MAX_RANK or min(shape, default=0) < 0:
            raise BoundError(f"{node.title} gives the shape {shape}")
        numbers = math.prod(shape)
        self._held += numbers
        self._given += numbers * times
        self.peak = max(self.peak, self._held)
        if self._held > self._most or self._given > TOTAL * self._most:
            raise BoundError(
                f"{node.title} gives {numbers:,} numbers; {self._held:,} would be held with it, {self._most:,} "
                f"are allowed, and {self._given:,} be computed in all, {TOTAL * self._most:,} are allowed"
            )

    def _results(self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int) -> list[Value]:
        if node.operator == "Constant":
            return [_stated(node)]
        if node.operator == "If":
            return self._either(node, inputs, values, times)
        if node.operator == "Scan":
            return self._scanned(node, inputs, values, times)
        rule = RULES.get(node.operator)
        if rule is None:
            raise BoundError(f"{node.title}: aetool runs no such operator")
        shapes = rule(node, inputs)
        content = content_of_node(node, inputs, shapes[0]) if len(shapes) == 1 else None
        return [Value(shapes[0], content), *map(Value, shapes[1:])]

    def _either(self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int) -> list[Value]:
        asked = inputs[0]
        branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
        found = [self.count(branch, values, times) for branch in branches]
        if asked is not None and asked.content is not None:
            return found[0 if asked.content.all() else 1]
        if [value.shape for value in found[0]] != [value.shape for value in found[1]]:
            raise ValueError("its branches give different shapes")
        return [Value(value.shape) for value in found[0]]

    def _scanned(self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int) -> list[Value]:
        body, scanned = node.attributes["body"], node.attributes["num_scan_inputs"]
        states, rows = inputs[: len(inputs) - scanned], inputs[len(inputs) - scanned :]
        axes = node.attributes.get("scan_input_axes") or [0] * scanned
        taken, steps = [], 1
        for value, axis in zip(rows, axes, strict=True):
            assert value is not None
            place = axis_of(axis, len(value.shape))
            steps = max(steps, value.shape[place])
            taken.append(Value(value.shape[:place] + value.shape[place + 1 :]))
        begun = [Value(value.shape) for value in states if value is not None]
        names = dict(zip(body.inputs, begun + taken, strict=True))
        found = self.count(body, {**values, **names}, times * steps)
        if [value.shape for value in found[: len(begun)]] != [value.shape for value in begun]:
            raise ValueError("its state changes shape")
        given = node.attributes.get("scan_output_axes") or [0] * (len(found) - len(begun))
        results = [Value(value.shape) for value in found[: len(begun)]]
        for value, axis in zip(found[len(begun) :], given, strict=True):
            place = axis_of(axis, len(value.shape) + 1)
            results.append(Value((*value.shape[:place], steps, *value.shape[place:])))
        return results


def _names_read(node: Node) -> Iterator[str]:
    """The values that a node reads, and those that its inner graphs name: they may be outer ones."""
    yield from node.inputs
    for inner in node.graphs():
        yield from inner.outputs
        for each in inner.nodes:
            yield from _names_read(each)


def _constant(tensor: Tensor) -> Value:
    few = math.prod(tensor.dims) <= MAX_NUMBERS
    numbers = tensor.numbers() if few else None
    return Value(tensor.dims, None if numbers is None else numbers.reshape(tensor.dims))


def _stated(node: Node) -> Value:
    for name, value in node.attributes.items():
        if isinstance(value, Tensor):
            return _constant(value)
        if name in ("value_int", "value_ints"):
            return Value(np.shape(value), np.array(value, np.int64))
        if name in ("value_float", "value_floats"):
            return Value(np.shape(value), np.array(value, np.float32))
    raise ValueError("it states no numbers")
