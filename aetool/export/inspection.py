"""What stands in a graph: every node and every constant, and what a deployed graph may not hold."""

from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from aetool.errors import ExportError

RANDOM_OPS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


def require_sane(model: ModelProto, where: str) -> None:
    """Refuse what would not give the same answer twice, or no answer.

    Raises:
        ExportError: random or training-mode nodes, NaN or infinite weights; the message names them.
    """
    constants = {tensor.name: tensor for tensor in tensors(model.graph)}
    for node in nodes(model.graph):
        if node.op_type in RANDOM_OPS:
            raise ExportError(
                f"{where}: node {node.name!r} ({node.op_type}) is random; make sampling depend on self.training, "
                "and export in eval mode"
            )
        if _trains(node, constants):
            raise ExportError(
                f"{where}: node {node.name!r} ({node.op_type}) is in training mode; call eval(), make dropout "
                "depend on self.training, and export again"
            )
    for tensor in tensors(model.graph):
        if tensor.data_type in FLOATS:
            values = numpy_helper.to_array(tensor)
            if not np.isfinite(values.astype(np.float64)).all():
                raise ExportError(
                    f"{where}: weight {tensor.name!r} holds NaN or infinity; train again, or mend the export"
                )


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node, those of inner graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from nodes(inner)


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant tensor, those of inner graphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                if node.op_type == "Constant" and not attribute.t.name:
                    attribute.t.name = node.output[0]
                yield attribute.t
            yield from attribute.tensors
            for inner in [attribute.g, *attribute.graphs]:
                yield from tensors(inner)


def _trains(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        return any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = constants.get(node.input[2])
        return mode is None or bool(numpy_helper.to_array(mode).any())
    return False
