"""The nodes and constants of a graph, and the check for what a deployed graph must not contain."""

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from aetool.errors import ExportError
from aetool.onnx_check.dangers import RANDOM

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def require_sane(model: ModelProto, where: str) -> None:
    """Refuse what would not give the same answer twice, or no answer.

    Raises:
        ExportError: random or training-mode nodes, NaN or infinite weights; the message names them.
    """
    constants = {tensor.name: tensor for tensor in tensors(model.graph)}
    for tensor in constants.values():
        _require_numbers(tensor, where)
    for node in nodes(model.graph):
        if node.op_type in RANDOM:
            raise ExportError(
                f"{where}: node {node.name!r} ({node.op_type}) is random; make sampling depend on self.training, "
                "and export in eval mode"
            )
        if _trains(node, constants):
            raise ExportError(
                f"{where}: node {node.name!r} ({node.op_type}) is in training mode; call eval(), make dropout "
                "depend on self.training, and export again"
            )


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node, also of inner graphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from nodes(inner)


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every constant tensor, also of inner graphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from node_tensors(graph.node)


def node_tensors(found: Iterable[NodeProto]) -> Iterator[TensorProto]:
    """Yield every constant tensor in the attributes of nodes."""
    for node in found:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                if node.op_type == "Constant" and not attribute.t.name:
                    attribute.t.name = node.output[0]
                yield attribute.t
            yield from attribute.tensors
            single = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            for sparse in [*single, *attribute.sparse_tensors]:
                yield from (sparse.values, sparse.indices)
            for inner in [attribute.g, *attribute.graphs]:
                yield from tensors(inner)


def values_read(node: NodeProto) -> Iterator[str]:
    """Yield the names of the values that a node and its inner graphs read; the latter may be outer ones."""
    yield from node.input
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs]:
            yield from (value.name for value in inner.output)
            for each in inner.node:
                yield from values_read(each)


def rename_values(graph: GraphProto, new: Callable[[str], str]) -> None:
    """Give every value another name, in inner graphs too; `new` must not give two the same."""

    def apply(places: MutableSequence[str]) -> None:
        for i, name in enumerate(places):
            if name:
                places[i] = new(name)

    for node in graph.node:
        apply(node.input)
        apply(node.output)
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                rename_values(inner, new)
    named: list[Any] = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for value in named:
        value.name = new(value.name)


def _require_numbers(tensor: TensorProto, where: str) -> None:
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ExportError(
            f"{where}: the data of {tensor.name!r} do not fit its shape ({error}); fetch the file again"
        ) from error
    if tensor.data_type not in FLOATS:
        return
    values = values.astype(np.float64)
    masked = values == -np.inf
    # Zeros and -inf alone are a mask: attention is kept from looking ahead by it.
    if not np.isfinite(values).all() and not (masked | (values == 0)).all():
        raise ExportError(
            f"{where}: weight {tensor.name!r} holds NaN or infinity; train again, or correct the export"
        )


def _trains(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        # Before opset 14 the number of outputs told.
        return len(node.output) > 1 or any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = constants.get(node.input[2])
        return mode is None or bool(numpy_helper.to_array(mode).any())
    return False
