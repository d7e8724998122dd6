"""Bound on the numbers that the nodes of a graph hold at one time, computed from shapes before it runs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from aetool.onnx_check._constants import content_of_constant, content_of_list, content_of_node
from aetool.onnx_check._shape_inputs import (
    Inputs,
    Rows,
    Shape,
    Value,
    axis_of,
    in_one_row,
    product,
    shape_of,
    stated,
    types_of_outputs,
)
from aetool.onnx_check._shapes import RULES
from aetool.onnx_check.dangers import danger
from aetool.onnx_check.model import FLOAT, INT64, MAX_RANK, Node, OnnxGraph, OnnxTensor

# How many numbers may be held at one time, in whatever order nodes run that depend on each other.

_CANDIDATES = 64
"""Number of buffers that a value may take over, the youngest. Fewer give a larger bound, which holds too."""


class Held:
    """Buffers of values, each for one value after another.

    A value takes the buffer of another one only where all nodes that read that one must be over before its own
    node begins. So the buffers' sizes together bound what is held, though onnxruntime chooses the order of nodes.
    """

    def __init__(self) -> None:
        """Begin without nodes and buffers."""
        self._before: list[int] = []
        """For each node the nodes that must be over before it, one bit each."""
        self._sizes: list[int] = []
        self._until: list[int] = []
        """For each buffer the nodes that must be over before it is free; -1 for never."""
        self.numbers = 0
        """Sum of all buffers."""

    def begin(self, makers: Iterable[int]) -> None:
        """Begin the next node, which reads what the nodes `makers` make."""
        before = 0
        for maker in makers:
            before |= self._before[maker] | 1 << maker
        self._before.append(before)

    def hold(self, size: int, readers: int) -> None:
        """Hold a value of the last node, also for the nodes `readers`, one bit each; -1 for ever."""
        node = len(self._before) - 1
        before = self._before[node]
        sizes, until = self._sizes, self._until
        place, best = len(sizes), -1
        for each in range(max(0, len(sizes) - _CANDIDATES), len(sizes)):
            # The tightest that is large enough, else the largest.
            if until[each] & ~before == 0 and (sizes[each] > best if best < size else size <= sizes[each] < best):
                place, best = each, sizes[each]
        if place == len(sizes):
            sizes.append(0)
            until.append(0)
        more = max(0, size - self._sizes[place])
        self._sizes[place] += more
        self.numbers += more
        self._until[place] = readers | 1 << node


# How many numbers an operator holds for itself while it runs, besides what it takes and gives.

_Rule = Callable[[Node, Inputs, Sequence[Shape]], int]


def workspace(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Return the numbers that a node needs for itself, for one row."""
    rule = _RULES.get(node.operator)
    return 0 if rule is None else rule(node, inputs, outputs)


def _columns(w: int) -> _Rule:
    """Return the rule of a convolution's columns: for each output position, all that its window covers."""

    def rule(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
        _, channels, *kernel = shape_of(inputs, w)
        return in_one_row((channels, *kernel)) * in_one_row(outputs[0][:1] + outputs[0][2:])

    return rule


def _columns_transposed(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    shape, (_, channels, *kernel) = shape_of(inputs, 0), shape_of(inputs, 1)
    return (
        in_one_row((channels, *kernel)) * in_one_row(shape[:1] + shape[2:]) * int(node.attributes.get("group", 1))
    )


def _gates(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Count for LSTM, GRU and RNN: four gates per step and direction, and all steps once more, in order."""
    steps, rows, width = shape_of(inputs, 0)
    directions, _, hidden = shape_of(inputs, 2)
    around = in_one_row((steps, rows))
    return around * in_one_row((directions,)) * (6 * in_one_row((hidden,)) + in_one_row((width,)))


def _terms(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Count for Einsum: two terms at a time, each copied in a new order, and their result for all letters."""
    shapes = [value.shape for value in inputs if value is not None]
    copies = 2 * sum(map(in_one_row, shapes))
    if len(shapes) < 2:
        return copies
    return copies + 2 * max(in_one_row(outputs[0]), _product_of_letters(node, shapes))


def _product_of_letters(node: Node, shapes: Sequence[Shape]) -> int:
    given, _, wanted = node.attributes["equation"].decode().replace(" ", "").partition("->")
    terms = given.split(",")
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if "..." in term or not wanted:
            return math.prod(map(in_one_row, shapes))
        for letter, side in zip(term, shape, strict=True):
            sides[letter] = max(sides.get(letter, 1), in_one_row((side,)))
    most, held = 0, set(terms[0])
    for i, term in enumerate(terms[1:], 1):
        later = set(wanted).union(*map(set, terms[i + 1 :]))
        held = (held | set(term)) & later
        most = max(most, math.prod(sides[letter] for letter in held))
    return most


def _copies(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Count a copy of the input in another order, and one of the output."""
    return in_one_row(shape_of(inputs, 0)) + sum(map(in_one_row, outputs))


def _points(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Count for GridSample: for each output point the positions and weights around it."""
    return 16 * in_one_row(shape_of(inputs, 1)[:-1])


_REDUCED = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("ConvInteger",), _columns(1)),
    "QLinearConv": _columns(3),
    "Conv": lambda node, inputs, outputs: 2 * in_one_row(shape_of(inputs, 1)),
    "ConvTranspose": _columns_transposed,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _gates),
    "Einsum": _terms,
    "GridSample": _points,
    **{f"Reduce{how}": _copies for how in _REDUCED.split()},
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "TopK", "LRN", "Resize"), _copies),
}


TOTAL = 16
"""Ratio of all numbers to those that may be held at one time."""
_IMAGE = 4
"""Axes: rows, channels, height, width."""
_BLOCK = 16
"""Channels that onnxruntime lays side by side: one takes as much as sixteen."""
_COPIES = 2
"""Largest total that follows from constants alone: onnxruntime computes it, and writes it into the graph."""
MAX_STEPS = 1_000_000
"""Numbers, inputs and outputs that the check itself reads: some seconds."""
_REFUSED = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, AssertionError, AttributeError)
"""Exceptions of shape rules, numpy and Python's own arithmetic for what an operator does not allow."""


class BoundError(ValueError):
    """Graph whose values cannot be bounded, or are too many."""


def numbers_held(graph: OnnxGraph, row: Sequence[int], most: int, kept: Iterable[str] = ()) -> int:
    """Return the most numbers that are held at one time where the graph's one input has one row of shape `row`.

    For n rows, at most n times as many. Constants that stand in the file do not count; what follows from constants
    alone, which onnxruntime computes beforehand, is held for ever, as are the outputs and the values `kept`.

    Raises:
        BoundError: an operator that aetool does not run, sizes that do not fit together or are computed from the
            rows, more than `most` numbers, or TOTAL times as many in all; the message names the node.
    """
    values = {graph.inputs[0]: Value((Rows(1), *row), FLOAT)} if graph.inputs else {}
    constants = {tensor.name: tensor for tensor in graph.constants}
    for name, sides in zip(graph.inputs[1:], graph.input_shapes[1:], strict=True):
        if name not in constants:  # before IR 4 the constants are inputs too
            raise BoundError(f"a second input {name!r}")
        _require_true(name, sides, _constant(constants[name]))
    return _Counter(most).count(graph, values, times=1, kept=kept).numbers


class _Counted(NamedTuple):
    outputs: list[Value]
    numbers: int


class _Counter:
    def __init__(self, most: int) -> None:
        self._most = most
        self._given = self._folded = 0
        self._steps = MAX_STEPS
        self._images = False
        """True: there are convolutions, for which onnxruntime changes the layout of values."""

    def count(
        self, graph: OnnxGraph, outer: Mapping[str, Value], times: int, around: int = 0, kept: Iterable[str] = ()
    ) -> _Counted:
        """Count a graph that runs `times` times, while `around` numbers are held outside of it."""
        self._images = self._images or any(node.operator == "Conv" for node in graph.nodes)
        values = dict(outer)
        for tensor in graph.constants:
            if tensor.name in values:
                raise BoundError(f"constant {tensor.name!r} stands twice")
            values[tensor.name] = _constant(tensor)
        fixed = {tensor.name for tensor in graph.constants}
        read = [_names_read(node) for node in graph.nodes]
        readers = _readers(read) | dict.fromkeys([*graph.outputs, *kept], -1)
        makers: dict[str, int] = {}
        held = Held()
        for i, node in enumerate(graph.nodes):
            held.begin({makers[name] for name in read[i] if name in makers})
            results, inside = self._try(node, values, times, around + held.numbers)
            folded = fixed.issuperset(read[i])
            for name, value in zip(node.outputs, results, strict=False):
                if not name:
                    continue
                if name in values:
                    raise BoundError(f"{node.title} computes {name!r}, which is there already")
                values[name], makers[name] = value, i
                numbers = self._numbers(value.shape)
                self._given += numbers * times
                if folded:
                    fixed.add(name)
                    self._folded += _COPIES * numbers
                else:
                    held.hold(numbers, readers.get(name, 0))
                self._require_few(node, value.shape, around + held.numbers)
            if inside:
                held.hold(inside, 0)
                self._require_few(node, (inside,), around + held.numbers)
        for name, sides in graph.stated:
            if name in values and name not in outer:
                _require_true(name, sides, values[name])
        try:
            return _Counted([values[name] for name in graph.outputs], held.numbers + self._folded)
        except KeyError as error:
            raise BoundError(f"the output {error} is not computed") from error

    def _try(self, node: Node, values: Mapping[str, Value], times: int, around: int) -> tuple[list[Value], int]:
        """Return the results of a node, each of an allowed shape, and the numbers it holds for itself."""
        try:
            inputs = [values[name] if name else None for name in node.inputs]
            self._steps -= 1 + len(inputs) + len(node.outputs)
            if self._steps < 0:
                raise BoundError("it takes too many steps to follow its sizes")
            if (reason := danger(node, inputs)) is not None:
                raise BoundError(f"{node.title} {reason}")
            results, inside = self._results(node, inputs, values, times, around)
            if len(results) < len([name for name in node.outputs if name]):
                raise BoundError(f"{node.title} has more outputs than its operator")
            for value in results:
                product(value.shape)
                self._steps -= 0 if value.content is None else value.content.size
        except BoundError:
            raise
        except _REFUSED as error:
            reason = f"{error} is not computed before it" if isinstance(error, KeyError) else str(error)
            raise BoundError(f"{node.title}: {reason}") from error
        return results, inside

    def _numbers(self, shape: Shape) -> int:
        """Count a value's numbers; for an image also a copy in blocks of channels, of four bytes a number."""
        numbers = in_one_row(shape)
        if not self._images or len(shape) != _IMAGE:
            return numbers
        channels = in_one_row(shape[1:2])
        return numbers + in_one_row(shape[:1] + shape[2:]) * -(-channels // _BLOCK) * _BLOCK // 2

    def _require_few(self, node: Node, shape: Shape, held: int) -> None:
        most = 0
        for side in shape:
            number = side.times if isinstance(side, Rows) else side
            if number < 0 or len(shape) > MAX_RANK:
                raise BoundError(f"{node.title} gives the shape {stated(shape)}")
            most = max(most, number)
        held += self._folded
        if held > self._most or most > self._most or self._given > TOTAL * self._most:
            raise BoundError(
                f"{node.title} gives {in_one_row(shape):,} numbers; {held:,} would be held with it, "
                f"{self._most:,} are allowed, and {self._given:,} be computed in all, "
                f"{TOTAL * self._most:,} are allowed"
            )

    def _results(
        self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int, around: int
    ) -> tuple[list[Value], int]:
        if node.operator == "Constant":
            return [_stated(node)], 0
        if node.operator == "If":
            return self._either(node, inputs, values, times, around)
        if node.operator == "Scan":
            return self._scanned(node, inputs, values, times, around)
        rule = RULES.get(node.operator)
        if rule is None:
            raise BoundError(f"{node.title}: aetool runs no such operator")
        shapes = rule(node, inputs)
        kinds = types_of_outputs(node, inputs, len(shapes))
        content = content_of_node(node, inputs, shapes[0], kinds[0]) if len(shapes) == 1 else None
        first = Value(shapes[0], kinds[0], content)
        return [first, *map(Value, shapes[1:], kinds[1:])], workspace(node, inputs, shapes)

    def _either(
        self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int, around: int
    ) -> tuple[list[Value], int]:
        (asked,) = inputs
        branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
        if any(branch.inputs for branch in branches):
            raise ValueError("its branches have inputs")
        found = [self.count(branch, values, times, around) for branch in branches]
        inside = max(each.numbers for each in found)
        if asked is not None and asked.content is not None:
            return found[0 if asked.content.all() else 1].outputs, inside
        if [value.shape for value in found[0].outputs] != [value.shape for value in found[1].outputs]:
            raise ValueError("its branches give different shapes")
        pairs = zip(found[0].outputs, found[1].outputs, strict=True)
        return [Value(one.shape, one.kind if one.kind == other.kind else 0) for one, other in pairs], inside

    def _scanned(
        self, node: Node, inputs: Inputs, values: Mapping[str, Value], times: int, around: int
    ) -> tuple[list[Value], int]:
        body, scanned = node.attributes["body"], node.attributes["num_scan_inputs"]
        if not 1 <= scanned <= len(inputs) or any(value is None for value in inputs):
            raise ValueError("it scans what is not there")
        known = [value for value in inputs if value is not None]
        states, given = known[: len(known) - scanned], known[len(known) - scanned :]
        axes = node.attributes.get("scan_input_axes") or [0] * scanned
        taken, steps = [], set()
        for value, axis in zip(given, axes, strict=True):
            place = axis_of(axis, len(value.shape))
            steps.add(value.shape[place])
            taken.append(Value(value.shape[:place] + value.shape[place + 1 :], value.kind))
        (count,) = steps
        begun = [Value(value.shape, value.kind) for value in states]
        names = dict(zip(body.inputs, begun + taken, strict=True))
        if len(names) != len(body.inputs) or not names.keys().isdisjoint(values):
            raise ValueError("its inner inputs are there already")
        for name, sides in zip(body.inputs, body.input_shapes, strict=True):
            _require_true(name, sides, names[name])
        found = self.count(body, {**values, **names}, times * max(1, in_one_row((count,))), around)
        ended, rows = found.outputs[: len(begun)], found.outputs[len(begun) :]
        if [(value.shape, value.kind) for value in ended] != [(value.shape, value.kind) for value in begun]:
            raise ValueError("its state changes shape")
        given_axes = node.attributes.get("scan_output_axes") or [0] * len(rows)
        results = [Value(value.shape, value.kind) for value in ended]
        for value, axis in zip(rows, given_axes, strict=True):
            place = axis_of(axis, len(value.shape) + 1)
            results.append(Value((*value.shape[:place], count, *value.shape[place:]), value.kind))
        # Rows along other axes than the first are copied in another order.
        copies = sum(in_one_row(value.shape) for value in (*given, *results))
        return results, found.numbers + copies


def _readers(read: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return name -> the nodes that read it, one bit each."""
    readers: dict[str, int] = {}
    for i, names in enumerate(read):
        for name in names:
            readers[name] = readers.get(name, 0) | 1 << i
    return readers


def _require_true(name: str, sides: Sequence[int | None] | None, value: Value) -> None:
    """Refuse a wrong shape stated in the file: onnxruntime trusts it, and computes sizes from it."""
    if sides is not None and (
        len(sides) != len(value.shape)
        or any(side not in (None, found) for side, found in zip(sides, value.shape, strict=True))
    ):
        raise BoundError(f"it states the shape {sides} for {name!r}, which has the shape {stated(value.shape)}")


def _names_read(node: Node) -> list[str]:
    """Return the values that a node reads, and those that its inner graphs name: they may be outer ones."""
    names = [name for name in node.inputs if name]
    for inner in node.graphs:
        names += inner.outputs
        for each in inner.nodes:
            names += _names_read(each)
    return names


def _constant(tensor: OnnxTensor) -> Value:
    return Value(tensor.dims, tensor.data_type, content_of_constant(tensor))


def _stated(node: Node) -> Value:
    (name,) = node.attributes
    value = node.attributes[name]
    if isinstance(value, OnnxTensor):
        return _constant(value)
    numbers = value if isinstance(value, list) else [value]
    shape = (len(numbers),) if isinstance(value, list) else ()
    if name in ("value_int", "value_ints"):
        return Value(shape, INT64, content_of_list(numbers, shape, INT64))
    if name in ("value_float", "value_floats"):
        return Value(shape, FLOAT, content_of_list(numbers, shape, FLOAT))
    raise ValueError("it states no numbers")
