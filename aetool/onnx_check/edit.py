"""Edits of a graph without the `onnx` package: its outputs, the threshold of its decision, its metadata.

onnxruntime runs every node of a graph, whichever outputs are requested: some are added, or all but one are removed
with the nodes that only they need.
"""

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from aetool.onnx_check._protobuf import BYTES, Field, field, fields, header, integer

# Values between the nodes of a graph made outputs, so that they can be bound to memory like any output.
#
# A value that onnxruntime keeps to itself is allocated in every run, which costs a tenth of a row's time.

_GRAPH = 7  # field of ModelProto, onnx.proto
_VALUE_NAME = 1  # field of ValueInfoProto


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """Return the serialised ONNX `model` with the values `names` among its outputs.

    Two protobuf messages one after the other are their merge, in which repeated fields are strung together
    (protobuf.dev, Encoding, "Last One Wins"): outputs can be added without reading the model.
    """
    outputs = output_fields(names)
    return model + field(_GRAPH, outputs) if outputs else model


def output_fields(names: Iterable[str]) -> bytes:
    """Return the part of a GraphProto that makes `names` outputs."""
    return b"".join(field(_OUTPUT, field(_VALUE_NAME, name.encode())) for name in names)


_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # fields of GraphProto
_NAME = {_INITIALIZER: 8, _INPUT: 1, _OUTPUT: 1}  # field of each of these
_INPUTS, _OUTPUTS, _ATTRIBUTE = 1, 2, 5  # fields of NodeProto
_INNER_GRAPHS = {6, 11}  # fields of AttributeProto


def with_product(model: bytes, product: str, begins: bool) -> bytes:
    """Return the serialised ONNX `model` that computes `product` alone, a value between its nodes.

    Args:
        model: as for `with_only`.
        product: output of a Gemm or MatMul.
        begins: leave out what the Gemm adds to the product, its third input.
    """
    return with_only(model, product, [product], at_most={product: 2} if begins else {})


def with_only(
    model: bytes, output: str, inner: Iterable[str] = (), at_most: Mapping[str, int] = MappingProxyType({})
) -> bytes:
    """Return the serialised ONNX `model` that computes `output` alone, by the same nodes.

    `model` was admitted by `aetool.onnx_check.check`; what that does not read is not read here either. Nodes with
    graphs inside, which read values that are not among their inputs, stay with everything in the model. Those of
    the values `inner` that are still computed become outputs too. `at_most`: output of a node -> the inputs
    that it keeps, where the rest are optional.
    """
    whole = list(fields(memoryview(model)))
    graph = next(list(fields(_bytes(part))) for part in whole if part[0] == _GRAPH)
    nodes = [_Node(_bytes(part), at_most) for part in graph if part[0] == _NODE]
    makers = {name: node for node in nodes for name in node.outputs}
    needed: set[str] = set()
    todo = [output]
    if any(node.has_graphs for node in nodes):
        todo += [name for node in nodes for name in (*node.inputs, *node.outputs)]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += makers[name].inputs if name in makers else ()
    left = [field(_NODE, node.content) for node in nodes if not needed.isdisjoint(node.outputs)]
    rest = [part for part in graph if part[0] != _NODE and _stays(part, needed, output)]
    added = output_fields(name for name in inner if name in needed or name not in makers)
    # Joined once: memory that the system hands out anew takes longer to write than the weights to read.
    parts = [*left, *_written(rest), added]
    around = [part for part in whole if part[0] != _GRAPH]
    return b"".join([*_written(around), header(_GRAPH, sum(map(len, parts))), *parts])


class _Node:
    """A NodeProto: its inputs and outputs."""

    __slots__ = ("content", "has_graphs", "inputs", "outputs")

    def __init__(self, content: memoryview, at_most: Mapping[str, int]) -> None:
        self.content = bytes(content)
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.has_graphs = False
        for part in fields(content):
            if part[0] in (_INPUTS, _OUTPUTS):
                (self.inputs if part[0] == _INPUTS else self.outputs).append(str(_bytes(part), "utf-8"))
            elif part[0] == _ATTRIBUTE:
                self.has_graphs |= any(number in _INNER_GRAPHS for number, _, _ in fields(_bytes(part)))
        if (most := next((at_most[name] for name in self.outputs if name in at_most), None)) is not None:
            self.inputs = self.inputs[:most]
            others = [part for part in fields(content) if part[0] != _INPUTS]
            kept = [field(_INPUTS, name.encode()) for name in self.inputs]
            self.content = b"".join([*kept, *_written(others)])


def _stays(part: Field, needed: set[str], output: str) -> bool:
    number = part[0]
    if number not in _NAME:
        return True
    names = (_bytes(inner) for inner in fields(_bytes(part)) if inner[0] == _NAME[number])
    name = str(next(names, b""), "utf-8")
    return name == output if number == _OUTPUT else name in needed


def _written(parts: Iterable[Field]) -> "list[bytes | memoryview]":
    found: list[bytes | memoryview] = []
    for number, _, content in parts:
        if isinstance(content, int):
            found.append(integer(number, content))
        else:
            found += header(number, len(content)), content
    return found


def _bytes(part: Field) -> memoryview:
    _, kind, content = part
    assert kind == BYTES
    assert not isinstance(content, int)
    return content


def without_default_inputs(model: bytes) -> bytes:
    """Return the serialised ONNX `model` whose inputs with a default, the threshold, are constants again.

    OpenVINO makes constants of them, and its plugin then misses the inputs.
    """
    whole = list(fields(memoryview(model)))
    graph = next(list(fields(_bytes(part))) for part in whole if part[0] == _GRAPH)
    defaults = {_name_of(part) for part in graph if part[0] == _INITIALIZER}
    kept = [part for part in graph if part[0] != _INPUT or _value_name(part) not in defaults]
    if len(kept) == len(graph):
        return model
    content = b"".join(_written(kept))
    around: list[Field] = [(_GRAPH, BYTES, memoryview(content)) if part[0] == _GRAPH else part for part in whole]
    return b"".join(_written(around))


def _value_name(part: Field) -> str:
    return str(next((_bytes(inner) for inner in fields(_bytes(part)) if inner[0] == _VALUE_NAME), b""), "utf-8")


# The threshold and the metadata, which a calibration changes.

_METADATA = 14  # field of ModelProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_OPERATOR = 4  # field of NodeProto
_DIMS, _TYPE, _TENSOR_NAME, _RAW = 1, 2, 8, 9  # fields of TensorProto
_FLOAT = 1  # TensorProto.DataType


def with_threshold(model: bytes, threshold: float) -> bytes:
    """Return the serialised ONNX `model` that decides by another threshold; name and shape of the number stay.

    Raises:
        ValueError: it does not decide by `not (score <= constant)`.
    """
    whole = list(fields(memoryview(model)))
    graph = next(list(fields(_bytes(part))) for part in whole if part[0] == _GRAPH)
    name = _threshold_name([_bytes(part) for part in graph if part[0] == _NODE])
    parts: list[Field] = []
    found = False
    for part in graph:
        if part[0] == _INITIALIZER and _name_of(part) == name:
            parts.append((_INITIALIZER, BYTES, memoryview(_with_number(_bytes(part), threshold))))
            found = True
        else:
            parts.append(part)
    if not found:
        raise ValueError("its threshold is not a constant")
    content = b"".join(_written(parts))
    around: list[Field] = [(_GRAPH, BYTES, memoryview(content)) if part[0] == _GRAPH else part for part in whole]
    return b"".join(_written(around))


def with_metadata(model: bytes, changes: Mapping[str, str]) -> bytes:
    """Return the serialised ONNX `model` with these entries of its metadata replaced, or added."""
    kept = []
    for part in fields(memoryview(model)):
        entry = {} if part[0] != _METADATA else {inner[0]: _bytes(inner) for inner in fields(_bytes(part))}
        if str(entry.get(_KEY, b""), "utf-8") not in changes:
            kept.append(part)
    added = [
        field(_METADATA, field(_KEY, key.encode()) + field(_VALUE, value.encode()))
        for key, value in changes.items()
    ]
    return b"".join([*_written(kept), *added])


def _threshold_name(nodes: Iterable[memoryview]) -> str:
    """Return the name of what the score is compared with."""
    makers = {}
    for content in nodes:
        node = _Node(content, {})
        operator = next((_bytes(part) for part in fields(content) if part[0] == _OPERATOR), b"")
        makers.update({name: (str(operator, "utf-8"), node.inputs) for name in node.outputs})
    negation = makers.get("is_anomaly", ("", []))
    comparison = makers.get(negation[1][0], ("", [])) if negation[0] == "Not" else ("", [])
    if comparison[0] != "LessOrEqual" or comparison[1][0] != "score":
        raise ValueError("is_anomaly was expected to be not (score <= threshold)")
    return comparison[1][1]


def _name_of(part: Field) -> str:
    return str(next((_bytes(inner) for inner in fields(_bytes(part)) if inner[0] == _TENSOR_NAME), b""), "utf-8")


def _with_number(tensor: memoryview, value: float) -> bytes:
    """Return a constant of one float32 number with another number."""
    parts = {part[0]: part for part in fields(tensor)}
    if parts.get(_TYPE, (0, 0, 0))[2] != _FLOAT:
        raise ValueError("its threshold is not a float32 number")
    kept = [parts[number] for number in (_DIMS, _TYPE, _TENSOR_NAME) if number in parts]
    return b"".join([*_written(kept), field(_RAW, struct.pack("<f", value))])
