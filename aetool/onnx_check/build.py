"""Small graphs written without the `onnx` package (onnx.proto)."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.onnx_check._protobuf import field, integer
from aetool.onnx_check.model import FLOAT, INT64

_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
_INT = 2  # AttributeProto.AttributeType
BATCH = "batch"


class NewNode(NamedTuple):
    """A node: operator, inputs, one output, attributes that are integers."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, int] = {}


def build(
    name: str,
    nodes: Iterable[NewNode],
    constants: Mapping[str, NDArray[Any]],
    inputs: Iterable[str],
    outputs: Iterable[str],
    *,
    opset: int,
    ir_version: int,
    producer: str,
    metadata: Mapping[str, str],
) -> bytes:
    """Return a serialised ONNX model.

    Args:
        name: name of the graph.
        nodes: nodes in order.
        constants: name -> float32 or int64 numbers.
        inputs: names of inputs, float32, one number per row.
        outputs: names of outputs, float32, one number per row.
        opset: version of ONNX's operators.
        ir_version: version of the file format.
        producer: version of aetool.
        metadata: entries of metadata_props.
    """
    graph = b"".join(
        [
            *(field(1, _node(node)) for node in nodes),
            field(2, name.encode()),
            *(field(5, _tensor(each, values)) for each, values in constants.items()),
            *(field(11, _per_row(each)) for each in inputs),
            *(field(12, _per_row(each)) for each in outputs),
        ]
    )
    return b"".join(
        [
            integer(1, ir_version),
            field(2, b"aetool"),
            field(3, producer.encode()),
            field(7, graph),
            field(8, integer(2, opset)),
            *(field(14, field(1, key.encode()) + field(2, value.encode())) for key, value in metadata.items()),
        ]
    )


def _node(node: NewNode) -> bytes:
    attributes = (field(1, key.encode()) + integer(3, value) for key, value in node.attributes.items())
    return b"".join(
        [
            *(field(1, each.encode()) for each in node.inputs),
            field(2, node.output.encode()),
            field(3, f"{node.output}/{node.operator}".encode()),
            field(4, node.operator.encode()),
            *(field(5, attribute + integer(20, _INT)) for attribute in attributes),
        ]
    )


def _tensor(name: str, values: NDArray[Any]) -> bytes:
    little = values.astype(values.dtype.newbyteorder("<"))
    return b"".join(
        [
            *(integer(1, size) for size in values.shape),
            integer(2, _TYPES[values.dtype]),
            field(8, name.encode()),
            field(9, little.tobytes()),
        ]
    )


def _per_row(name: str) -> bytes:
    shape = field(1, field(2, BATCH.encode()))
    return field(1, name.encode()) + field(2, field(1, integer(1, FLOAT) + field(2, shape)))
