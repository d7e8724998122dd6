"""Values between the nodes of a graph made outputs, so that they can be bound to memory like any output.

A value that onnxruntime keeps to itself is allocated in every run, which costs a tenth of a row's time.
"""

from collections.abc import Iterable

from aetool.runtime.wire import field

_GRAPH = 7  # field of ModelProto, onnx.proto
_OUTPUT = 12  # field of GraphProto
_NAME = 1  # field of ValueInfoProto


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """The serialised ONNX `model` with the values `names` among its outputs.

    Two protobuf messages one after the other are their merge, in which repeated fields are strung together
    (protobuf.dev, Encoding, "Last One Wins"): outputs can be added without reading the model.
    """
    outputs = output_fields(names)
    return model + field(_GRAPH, outputs) if outputs else model


def output_fields(names: Iterable[str]) -> bytes:
    """The part of a GraphProto that makes `names` outputs."""
    return b"".join(field(_OUTPUT, field(_NAME, name.encode())) for name in names)
