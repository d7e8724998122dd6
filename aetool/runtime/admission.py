"""Which graphs are let in: checked on the bytes of the file, before onnxruntime parses them.

The hash of a file says that it is the one its author published, not that its author means well. A graph that is
let in computes from its one input and its own constants alone, with known operators, in bounded memory: it opens
no file, draws no random numbers, and gives the same answer twice.
"""

import math
from collections.abc import Sequence

import numpy as np

from aetool.errors import BundleError, reason_of
from aetool.limits import Limits
from aetool.runtime.bounds import BoundError, numbers_held
from aetool.runtime.model_proto import (
    BFLOAT16,
    BITS,
    DOUBLE,
    FLOAT,
    FLOAT16,
    Graph,
    Model,
    Node,
    Tensor,
    read_model,
)
from aetool.runtime.shape_rules import RULES

IR_VERSIONS = range(3, 15)
"""Before 3 onnxruntime reads nothing; 14 is that of ONNX 1.22."""
OPSETS = range(7, 29)
"""Operator sets of ai.onnx whose shape rules are those of `shape_rules`."""
RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial")
)
CONTROL = frozenset(("Constant", "If", "Scan"))
MANY_ROWS = 64
"""Rows for which a graph is counted besides one."""
_FEW_NUMBERS = 1 << 16
"""For one row: a graph may grow to so many, however."""
_FLOATS = (FLOAT, FLOAT16, DOUBLE, BFLOAT16)


def require_admissible(content: bytes, row: Sequence[int], limits: Limits, where: str) -> None:
    """Refuse an ONNX file that could do other than compute a function of its rows in bounded memory.

    Args:
        content: the serialised model.
        row: shape of one row of its one input.

    Raises:
        BundleError: the message names the node or the constant.
    """
    if (reason := refusal(content, row, limits)) is not None:
        raise BundleError(
            f"{where}: refused before it runs: {reason}; fetch or export the bundle again, or if its author is "
            "trusted, load it with limits=None or wider aetool.Limits"
        )


def refusal(content: bytes, row: Sequence[int], limits: Limits) -> str | None:
    """Why `require_admissible` would refuse a file, on one line; None for one that is let in."""
    try:
        model = read_model(content, limits.depth, limits.nodes)
        _require_versions(model)
        _require_constants(model.graph)
        _require_operators(model.graph)
        _require_input(model.graph, row)
        one = numbers_held(model.graph, (1, *row), limits.numbers_per_row)
        # What grows faster than the rows would be small for one, and fill the memory for many.
        numbers_held(model.graph, (MANY_ROWS, *row), MANY_ROWS * max(one, _FEW_NUMBERS))
    except ValueError as error:  # WireError, BoundError, and what numpy says of numbers cut short
        return reason_of(error)
    return None


def _require_versions(model: Model) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise BoundError(f"IR version {IR_VERSIONS[0]} to {IR_VERSIONS[-1]} expected, found {model.ir_version}")
    version = model.opsets.get("")
    if version not in OPSETS:
        raise BoundError(f"opset {OPSETS[0]} to {OPSETS[-1]} expected, found {version}")
    if model.functions:
        raise BoundError("it defines operators of its own or training steps")


def _require_input(graph: Graph, row: Sequence[int]) -> None:
    if not graph.inputs:
        raise BoundError("it has no input")
    stated = graph.input_shapes[0]
    if stated is None or (
        len(stated) == 1 + len(row)
        and all(side in (None, expected) for side, expected in zip(stated[1:], row, strict=True))
    ):
        return
    raise BoundError(f"rows of shape {list(row)} expected from the manifest, its input is of {stated[1:]}")


def _require_operators(graph: Graph) -> None:
    constants = {tensor.name: tensor for tensor in graph.all_constants()}
    for node in graph.all_nodes():
        if node.operator in RANDOM:
            raise BoundError(f"{node.title} is random")
        if node.operator not in RULES and node.operator not in CONTROL:
            raise BoundError(f"{node.title}: aetool runs no such operator")
        if _trains(node, constants):
            raise BoundError(f"{node.title} is in training mode")


def _trains(node: Node, constants: dict[str, Tensor]) -> bool:
    if node.operator == "BatchNormalization":
        return len([output for output in node.outputs if output]) > 1 or bool(node.attributes.get("training_mode"))
    if node.operator == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
        mode = constants.get(node.inputs[2])
        numbers = None if mode is None else mode.numbers()
        return numbers is None or bool(numbers.any())
    return False


def _require_constants(graph: Graph) -> None:
    if graph.sparse or any(inner.sparse for node in graph.all_nodes() for inner in node.graphs()):
        raise BoundError("it holds sparse constants")
    for tensor in graph.all_constants():
        if tensor.external:
            raise BoundError(f"constant {tensor.name!r} stands in another file")
        if tensor.data_type not in BITS:
            raise BoundError(f"constant {tensor.name!r} is of type {tensor.data_type}, no kind of number")
        if min(tensor.dims, default=0) < 0:
            raise BoundError(f"constant {tensor.name!r} has the shape {tensor.dims}")
        _require_numbers(tensor)


def _require_numbers(tensor: Tensor) -> None:
    expected, bits = math.prod(tensor.dims), BITS[tensor.data_type]
    if tensor.raw is not None:
        found = len(tensor.raw) * 8 // bits if bits >= 8 else expected
        whole = len(tensor.raw) == -(-expected * bits // 8) and not tensor.typed
    else:
        found = sum(len(part) for part in tensor.typed)
        whole = found == (expected if bits >= 8 else -(-expected * bits // 8))
    if not whole:
        raise BoundError(f"constant {tensor.name!r} of shape {tensor.dims} holds {found:,} numbers")
    if tensor.data_type in _FLOATS and not _finite(tensor):
        raise BoundError(f"constant {tensor.name!r} holds NaN or infinity")


def _finite(tensor: Tensor) -> bool:
    if tensor.data_type == BFLOAT16:
        parts = tensor.typed if tensor.raw is None else [np.frombuffer(tensor.raw, "<u2")]
        return all(bool(((np.asarray(part, np.uint64) & 0x7F80) != 0x7F80).all()) for part in parts)
    numbers = tensor.numbers()
    if numbers is None:
        return False
    with np.errstate(all="ignore"):
        if np.isfinite(numbers.sum()):  # one pass; not finite means one of them, or an overflow
            return True
    # Zeros and -inf alone are a mask: attention is kept from looking ahead by it.
    return bool(np.isfinite(numbers).all() or ((numbers == -np.inf) | (numbers == 0)).all())
