"""How many numbers an operator holds for itself while it runs, besides what it takes and gives."""

import math
from collections.abc import Callable, Sequence

from aetool.runtime.model_proto import Node
from aetool.runtime.shapes import Inputs, Shape, in_one_row, shape_of

_Rule = Callable[[Node, Inputs, Sequence[Shape]], int]


def workspace(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """In one row."""
    rule = _RULES.get(node.operator)
    return 0 if rule is None else rule(node, inputs, outputs)


def _columns(w: int) -> _Rule:
    """What a convolution multiplies with its weights: for each place of its output, all that its window covers."""

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
    """LSTM, GRU, RNN: four gates for each step and direction, and all steps once more, in their order."""
    steps, rows, width = shape_of(inputs, 0)
    directions, _, hidden = shape_of(inputs, 2)
    around = in_one_row((steps, rows))
    return around * in_one_row((directions,)) * (6 * in_one_row((hidden,)) + in_one_row((width,)))


def _terms(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """Einsum: two terms at a time, each copied in its new order, and what they give for all their letters."""
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
    """A copy of the input in another order, and one of the output."""
    return in_one_row(shape_of(inputs, 0)) + sum(map(in_one_row, outputs))


def _points(node: Node, inputs: Inputs, outputs: Sequence[Shape]) -> int:
    """GridSample: for each point of its output the places and weights around it."""
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
