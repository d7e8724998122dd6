"""Checks of an ONNX file's bytes, before onnxruntime parses them.

The hash of a file shows that it is the one its author published, not that its author means well. An admitted graph
computes from its one input and its own constants alone, with known operators, in bounded memory: it opens no file,
draws no random numbers, and gives the same result twice.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import Limits
from aetool.errors import BundleError, reason_of
from aetool.onnx_check._memory import BoundError, numbers_held
from aetool.onnx_check._shapes import RULES
from aetool.onnx_check.dangers import FLOATS, RANDOM
from aetool.onnx_check.model import (
    BFLOAT16,
    BITS,
    FLOAT16,
    OnnxGraph,
    OnnxModel,
    OnnxTensor,
    ReadParts,
    read_model,
)

IR_VERSIONS = range(3, 15)
"""IR versions: onnxruntime reads none before 3; 14 is that of ONNX 1.22."""
OPSETS = range(7, 29)
"""Operator sets of ai.onnx that the rules of `shapes` cover."""
CONTROL = frozenset(("Constant", "If", "Scan"))


def require_admissible(
    content: bytes,
    row: Sequence[int],
    limits: Limits,
    where: str,
    kept: Iterable[str] = (),
    known: ReadParts | None = None,
) -> OnnxModel:
    """Return an ONNX file, read; refuse one that could do other than compute its rows in bounded memory.

    Args:
        limits: bounds on its nodes, depth and memory.
        where: the file, for messages.
        content: the serialised model.
        row: shape of one row of its one input.
        kept: values between nodes that are held like outputs.
        known: parts of other graphs of the same bundle.

    Raises:
        BundleError: the message names the node or the constant.
    """
    try:
        return _admitted(content, row, limits, kept, known)
    except ValueError as error:  # WireError, BoundError, and what numpy says of numbers cut short
        raise BundleError(
            f"{where}: refused before it runs: {reason_of(error)}; fetch or export the bundle again, or if its "
            "author is trusted, load it with limits=None or wider aetool.Limits"
        ) from None


def refusal(
    content: bytes,
    row: Sequence[int],
    limits: Limits,
    kept: Iterable[str] = (),
    known: ReadParts | None = None,
) -> str | None:
    """Return why `require_admissible` would refuse a file, on one line; None for an admitted one."""
    try:
        _admitted(content, row, limits, kept, known)
    except ValueError as error:  # as in `require_admissible`
        return reason_of(error)
    return None


def _admitted(
    content: bytes, row: Sequence[int], limits: Limits, kept: Iterable[str], known: ReadParts | None
) -> OnnxModel:
    model = read_model(content, limits.depth, limits.nodes, known)
    _require_versions(model)
    _require_constants(model.graph)
    _require_operators(model.graph)
    _require_input(model.graph, row)
    numbers_held(model.graph, row, limits.numbers_per_row, kept)
    return model


def _require_versions(model: OnnxModel) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise BoundError(f"IR version {IR_VERSIONS[0]} to {IR_VERSIONS[-1]} expected, found {model.ir_version}")
    version = model.opsets.get("")
    if version not in OPSETS:
        raise BoundError(f"opset {OPSETS[0]} to {OPSETS[-1]} expected, found {version}")
    if model.functions:
        raise BoundError("it defines operators of its own or training steps")


def _require_input(graph: OnnxGraph, row: Sequence[int]) -> None:
    if not graph.inputs:
        raise BoundError("it has no input")
    stated = graph.input_shapes[0]
    if stated is None or (
        len(stated) == 1 + len(row)
        and all(side in (None, expected) for side, expected in zip(stated[1:], row, strict=True))
    ):
        return
    raise BoundError(f"rows of shape {list(row)} expected from the manifest, its input is of {stated[1:]}")


def _require_operators(graph: OnnxGraph) -> None:
    for node in graph.all_nodes():
        if node.operator in RANDOM:
            raise BoundError(f"{node.title} is random")
        if node.operator not in RULES and node.operator not in CONTROL:
            raise BoundError(f"{node.title}: aetool runs no such operator")


def _require_constants(graph: OnnxGraph) -> None:
    if graph.sparse or any(inner.sparse for node in graph.all_nodes() for inner in node.graphs):
        raise BoundError("it holds sparse constants")
    for tensor in graph.all_constants():
        if tensor.external:
            raise BoundError(f"constant {tensor.name!r} stands in another file")
        if tensor.data_type not in BITS:
            raise BoundError(f"constant {tensor.name!r} is of type {tensor.data_type}, no kind of number")
        if min(tensor.dims, default=0) < 0:
            raise BoundError(f"constant {tensor.name!r} has the shape {tensor.dims}")
        _require_numbers(tensor)


def _require_numbers(tensor: OnnxTensor) -> None:
    expected, bits, found = math.prod(tensor.dims), BITS[tensor.data_type], tensor.count()
    if found != (expected if bits >= 8 else -(-expected * bits // 8)):
        held = "what its type cannot" if found < 0 else f"{found:,} numbers"
        raise BoundError(f"constant {tensor.name!r} of shape {tensor.dims} holds {held}")
    if tensor.data_type in FLOATS and not _finite(tensor):
        raise BoundError(f"constant {tensor.name!r} holds NaN or infinity")


def _finite(tensor: OnnxTensor) -> bool:
    exponent = {BFLOAT16: 0x7F80, FLOAT16: 0x7C00}.get(tensor.data_type)
    if exponent is not None:
        raw = () if tensor.raw is None else (np.frombuffer(tensor.raw, "<u2"),)
        if all(bool(((part & exponent) != exponent).all()) for part in (*raw, *_small(tensor))):
            return True
        if tensor.data_type == BFLOAT16 or tensor.raw is None:
            return False
    numbers = tensor.numbers()
    if numbers is None:
        return False
    with np.errstate(all="ignore"):
        if np.isfinite(numbers.sum()):  # one pass; not finite means one of them, or an overflow
            return True
    # Zeros and -inf alone are a mask: attention is kept from looking ahead by it.
    return bool(np.isfinite(numbers).all() or ((numbers == -np.inf) | (numbers == 0)).all())


def _small(tensor: OnnxTensor) -> Iterable[NDArray[np.uint16]]:
    """Return 16-bit numbers that are stored in int32_data, in parts: one may take a byte of a file."""
    return (part.astype(np.uint16) for part in tensor.integers())
