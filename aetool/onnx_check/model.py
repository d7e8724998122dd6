"""The parts of an ONNX file that its safety depends on: nodes, constants, operator sets (onnx.proto, ONNX 1.22).

Read by `protobuf`, since the `onnx` package is not there where bundles run. Stricter than protobuf, so that both
cannot read different things: a field that onnx.proto does not have or that has another wire type there, and one
that repeats where it should occur once, is a `WireError`. protobuf skips the first two, and takes the last of the
third.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aetool.onnx_check._protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    FieldBudget,
    Schema,
    WireError,
    count_varints,
    fields,
    signed,
    varints,
)

FLOAT, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 6, 7, 8, 9, 10, 11, 16
UINT8 = 2
T = TypeVar("T")
_SHOWN = 100
"""Characters of a name that a message shows."""
MAX_FIELDS = 1_000_000
"""Fields of one file: fifty for each of the 20,000 nodes that are allowed."""
MAX_LIST = 1 << 20
"""Numbers in one attribute."""
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16}
BITS |= {17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}
"""TensorProto.DataType -> bits of one number, but for texts and complex numbers."""
NUMPY = {
    1: "<f4",
    2: "u1",
    3: "i1",
    4: "<u2",
    5: "<i2",
    6: "<i4",
    7: "<i8",
    9: "?",
    10: "<f2",
    11: "<f8",
    12: "<u4",
}
NUMPY |= {13: "<u8"}
_TYPED = {FLOAT: 4, DOUBLE: 10, INT64: 7, 12: 11, 13: 11}
"""Type -> field of TensorProto with its numbers, where they are not raw: int32_data (5) for all others."""
_INT32_DATA = 5


class OnnxTensor:
    """Constant."""

    __slots__ = ("data_type", "dims", "external", "name", "raw", "typed")

    def __init__(self) -> None:
        """Begin empty; the reader fills in the fields."""
        self.name = ""
        self.dims: tuple[int, ...] = ()
        self.data_type = 0
        self.raw: memoryview | None = None
        """Little-endian numbers; None where they are in `typed`."""
        self.typed: list[tuple[int, int | memoryview]] = []
        """Fields of numbers and their content, one number or packed."""
        self.external = False
        """True: the numbers are in another file."""

    def count(self) -> int:
        """Return how many numbers it holds, or bytes for types of less than a byte; -1 if sizes do not fit."""
        field, bits = _TYPED.get(self.data_type, _INT32_DATA), BITS[self.data_type]
        if self.raw is None:
            if any(number != field for number, _ in self.typed):
                return -1
            width = {4: 4, 10: 8}.get(field)
            if width is None:
                return sum(count_varints(part) for _, part in self.typed)
            sizes = [0 if isinstance(part, int) else len(part) for _, part in self.typed]
            return -1 if any(size % width for size in sizes) else sum(sizes) // width
        if self.typed or len(self.raw) * 8 % max(bits, 8):
            return -1
        return len(self.raw) * 8 // max(bits, 8)

    def numbers(self) -> NDArray[Any] | None:
        """Return the content, flat; None for types that numpy does not have."""
        kind = np.dtype(NUMPY[self.data_type]) if self.data_type in NUMPY else None
        if kind is None:
            return None
        if self.raw is not None:
            return np.frombuffer(self.raw, kind)
        if self.data_type in (FLOAT, DOUBLE):
            return np.concatenate(
                [
                    np.empty(0, kind),
                    *(np.frombuffer(part, kind) for _, part in self.typed if not isinstance(part, int)),
                ]
            )
        values = np.concatenate([np.empty(0, np.uint64), *self.integers()])
        return values.astype(np.uint16).view(np.float16) if self.data_type == FLOAT16 else values.astype(kind)

    def integers(self) -> Iterator[NDArray[np.uint64]]:
        """Return the content of int32_data, int64_data or uint64_data, in parts."""
        for _, part in self.typed:
            yield from varints(part)

    def exact(self) -> list[int] | None:
        """Return the numbers of an INT64, INT32 or BOOL, as onnxruntime reads them; else None."""
        low, high = RANGES.get(self.data_type, (0, -1))
        if low > high:
            return None
        if self.raw is not None:
            found = np.frombuffer(self.raw, NUMPY[self.data_type].replace("?", "u1")).tolist()
        else:
            found = [signed(number) for part in self.integers() for number in part.tolist()]
        return found if all(low <= number <= high for number in found) else None


RANGES = {INT64: (-(2**63), 2**63 - 1), INT32: (-(2**31), 2**31 - 1), BOOL: (0, 1)}
"""Types that sizes are computed in, and their range."""


class Node:
    """Node of a graph."""

    __slots__ = ("attributes", "graphs", "inputs", "name", "operator", "outputs", "tensors")

    def __init__(self) -> None:
        """Begin empty; the reader fills in the fields."""
        self.name = ""
        self.operator = ""
        """Operator, with its domain where that is not ONNX's: `Gemm`, or `com.microsoft.QGemm`."""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.attributes: dict[str, Any] = {}
        """Name -> int, float, bytes, OnnxTensor, OnnxGraph, or a list of one of them."""
        self.tensors: list[OnnxTensor] = []
        """Constants in its attributes, not those of inner graphs."""
        self.graphs: list[OnnxGraph] = []
        """Inner graphs."""

    @property
    def title(self) -> str:
        """Name of the node, for messages."""
        name = self.name[:_SHOWN] or ", ".join(self.outputs[:3])[:_SHOWN]
        return f"node {name!r} ({self.operator[:_SHOWN]})"


class OnnxGraph:
    """Graph: nodes, constants, inputs and outputs."""

    __slots__ = ("constants", "input_shapes", "input_types", "inputs", "nodes", "outputs", "sparse", "stated")

    def __init__(self) -> None:
        """Begin empty; the reader fills in the fields."""
        self.nodes: list[Node] = []
        self.constants: list[OnnxTensor] = []
        self.inputs: list[str] = []
        self.input_shapes: list[list[int | None] | None] = []
        """Stated shapes: None for a side, or a shape, that is left open."""
        self.input_types: list[int] = []
        """TensorProto.DataType of each input; 0 where none is stated."""
        self.outputs: list[str] = []
        self.stated: list[tuple[str, list[int | None]]] = []
        """Shapes that the file states for outputs and for values between nodes: onnxruntime believes them."""
        self.sparse = False
        """True: there are sparse constants."""

    def all_nodes(self) -> Iterator[Node]:
        """Yield every node, including those of inner graphs."""
        for node in self.nodes:
            yield node
            for inner in node.graphs:
                yield from inner.all_nodes()

    def all_constants(self) -> Iterator[OnnxTensor]:
        """Yield every constant, including those in attributes and inner graphs."""
        yield from self.constants
        for node in self.nodes:
            yield from node.tensors
            for inner in node.graphs:
                yield from inner.all_constants()


class OnnxModel:
    """Graph, operator sets and the features that are refused."""

    __slots__ = ("functions", "graph", "ir_version", "metadata", "opsets")

    def __init__(self) -> None:
        """Begin empty; the reader fills in the fields."""
        self.ir_version = 0
        self.opsets: dict[str, int] = {}
        """Domain -> version; "" is ai.onnx."""
        self.metadata: dict[str, str] = {}
        """What the file says of itself, metadata_props."""
        self.graph = OnnxGraph()
        self.functions = False
        """True: there are operators of its own, or a training graph."""


class ReadParts:
    """Nodes and shapes read before, by their bytes: graphs of one bundle have most of them in common.

    Each with the fields that it has, which count again.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.nodes: dict[bytes, tuple[Node, int]] = {}
        self.shapes: dict[bytes, tuple[tuple[int, list[int | None] | None], int]] = {}


def read_model(content: bytes, max_depth: int, max_nodes: int, known: ReadParts | None = None) -> OnnxModel:
    """Read a serialised ModelProto.

    Raises:
        WireError: not one, or nested deeper, or of more nodes than allowed.
    """
    return _Reader(max_nodes, known or ReadParts()).model(memoryview(content), max_depth)


def _schema(
    name: str,
    integer: Sequence[int] = (),
    content: Sequence[int] = (),
    contents: Sequence[int] = (),
    integers: Sequence[int] = (),
    floats: Sequence[int] = (),
    doubles: Sequence[int] = (),
    single: Sequence[int] = (),
) -> Schema:
    """Return a message of onnx.proto from the numbers of its fields.

    Args:
        name: for error messages.
        integer: fields that occur once, an integer.
        content: fields that occur once, a text, bytes or a message.
        contents: fields like `content` that repeat.
        integers: repeated integers, packed or not, as all repeated numbers.
        floats: repeated floats of four bytes.
        doubles: repeated floats of eight bytes.
        single: fields that occur once, a float of four bytes.
    """
    once = {VARINT: integer, BYTES: content, FIXED32: single}
    often = {VARINT: integers, BYTES: (*contents, *integers, *floats, *doubles), FIXED32: floats, FIXED64: doubles}
    return Schema(
        name,
        {number << 3 | kind: True for kind, numbers in once.items() for number in numbers}
        | {number << 3 | kind: False for kind, numbers in often.items() for number in numbers},
    )


_MODEL = _schema("model", (1, 5), (2, 3, 4, 6, 7), (8, 14, 20, 25, 26))
_GRAPH = _schema("graph", (), (2, 10), (1, 5, 11, 12, 13, 14, 15, 16))
_NODE = _schema("node", (), (3, 4, 6, 7, 8), (1, 2, 5, 9, 10))
_ATTRIBUTE = _schema("attribute", (3, 20), (1, 4, 5, 6, 13, 14, 21, 22), (9, 10, 11, 15, 23), (8,), (7,), (), (2,))
_CONSTANT = _schema("constant", (2, 14), (3, 8, 9, 12), (6, 13, 16), (1, 5, 7, 11), (4,), (10,))
_VALUE = _schema("value", (), (1, 2, 3), (4,))
_TYPE = _schema("type", (), (1, 4, 5, 6, 7, 8, 9))
_TENSOR_TYPE = _schema("tensor type", (1,), (2,))
_SHAPE = _schema("shape", (), (), (1,))
_SIDE = _schema("side", (1,), (2, 3))
_OPERATOR_SET = _schema("operator set", (2,), (1,))
_PROPERTY = _schema("property", (), (1, 2))


class _Reader:
    """Reader of messages that counts their nodes and fields."""

    def __init__(self, max_nodes: int, known: ReadParts) -> None:
        self._left = max_nodes
        self._budget = FieldBudget(MAX_FIELDS)
        self._known = known

    def _once(self, known: dict[bytes, tuple[T, int]], message: memoryview, read: Callable[[memoryview], T]) -> T:
        """Return what `read` makes of a small message, which is read once."""
        if len(message) > _SMALL:
            return read(message)
        content = bytes(message)
        if (found := known.get(content)) is None:
            before = self._budget.left
            found = read(memoryview(content)), before - self._budget.left  # the copy: a view would keep the file
            if len(known) < _MOST_KNOWN and not getattr(found[0], "graphs", ()):  # whose nodes count anew
                known[content] = found
        else:
            self._budget.spend(found[1])
        return found[0]

    def model(self, message: memoryview, depth: int) -> OnnxModel:
        model, found = OnnxModel(), False
        for number, _, value in self._read(_MODEL, message):
            if number == 1:
                model.ir_version = signed(value)
            elif number == 8:
                domain, version = self._opset(value)
                if domain in model.opsets:
                    raise WireError(f"two operator sets for {domain or 'ai.onnx'!r}")
                model.opsets[domain] = version
            elif number == 7:
                found, model.graph = True, self._graph(value, depth)
            elif number == 14:
                parts = {number: _text(text) for number, _, text in self._read(_PROPERTY, value)}
                if parts.get(1, "") in model.metadata:
                    raise WireError(f"metadata {parts.get(1, '')[:_SHOWN]!r} stand twice")
                model.metadata[parts.get(1, "")] = parts.get(2, "")
            elif number in (20, 25):
                model.functions = True
        if not found:
            raise WireError("no graph")
        return model

    def _read(self, schema: Schema, message: memoryview) -> Iterator[tuple[int, int, Any]]:
        return fields(message, self._budget, schema)

    def _graph(self, message: memoryview, depth: int) -> OnnxGraph:
        if depth == 0:
            raise WireError("graphs nested too deeply")
        graph = OnnxGraph()
        for number, _, value in self._read(_GRAPH, message):
            if number == 1:
                self._left -= 1
                if self._left < 0:
                    raise WireError("more nodes than allowed")
                graph.nodes.append(self._once(self._known.nodes, value, partial(self._node, depth=depth)))
            elif number == 5:
                graph.constants.append(self._tensor(value))
            elif number in (11, 12, 13):
                name, kind, shape = self._value_info(value)
                if number == 11:
                    graph.inputs.append(name)
                    graph.input_types.append(kind)
                    graph.input_shapes.append(shape)
                elif shape is not None:
                    graph.stated.append((name, shape))
                if number == 12:
                    graph.outputs.append(name)
            elif number == 15:
                graph.sparse = True
        return graph

    def _node(self, message: memoryview, depth: int) -> Node:
        node, operator, domain = Node(), "", ""
        for number, _, value in self._read(_NODE, message):
            if number == 1:
                node.inputs.append(_text(value))
            elif number == 2:
                node.outputs.append(_text(value))
            elif number == 3:
                node.name = _text(value)
            elif number == 4:
                operator = _text(value)
            elif number == 7:
                domain = _text(value)
            elif number == 5:
                name, content = self._attribute(value, depth)
                if name in node.attributes:
                    raise WireError(f"attribute {name!r} stands twice")
                node.attributes[name] = content
                parts = content if isinstance(content, list) else [content]
                if parts and isinstance(parts[0], OnnxTensor):
                    node.tensors += parts
                elif parts and isinstance(parts[0], OnnxGraph):
                    node.graphs += parts
        node.operator = operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"
        return node

    def _attribute(self, message: memoryview, depth: int) -> tuple[str, Any]:
        name, stated = "", 0
        held: dict[int, Any] = {}
        for number, _, value in self._read(_ATTRIBUTE, message):
            if number == 1:
                name = _text(value)
            elif number == 20:
                stated = value
            elif number in _HELD:
                held.setdefault(number, []).extend(self._held(number, value, depth))
            elif number != _DOC_STRING:
                raise WireError(f"attribute {name!r} has what no deployed graph needs")
        wanted = stated + 1  # the field of each AttributeType
        if held.keys() - {wanted} or (wanted not in held and wanted not in _DEFAULTS):
            raise WireError(f"attribute {name!r} is of type {stated} and holds another, or none")
        content: Any = held.get(wanted, _DEFAULTS.get(wanted))
        return name, content[0] if wanted in _ONE else content

    def _held(self, number: int, value: Any, depth: int) -> list[Any]:
        """Return the content of an attribute's field."""
        if number in (5, 10):
            return [self._tensor(value)]
        if number in (6, 11):
            return [self._graph(value, depth - 1)]
        if number in (4, 9):
            return [bytes(value)]
        if number in (2, 7):
            if len(value) % 4 or len(value) > 4 * MAX_LIST:
                raise WireError("numbers cut short, or a longer list than any deployed graph has")
            return list(np.frombuffer(value, "<f4").tolist())
        if count_varints(value) > MAX_LIST:
            raise WireError("a longer list than any deployed graph has")
        return _integers(value)

    def _tensor(self, message: memoryview) -> OnnxTensor:
        self._budget.left -= _PARTS_OF_A_CONSTANT
        tensor = OnnxTensor()
        for number, _, value in self._read(_CONSTANT, message):
            if number == 1:
                if len(tensor.dims) + count_varints(value) > MAX_RANK:
                    raise WireError(f"a constant of more than {MAX_RANK} dimensions")
                tensor.dims += tuple(_integers(value))
            elif number == 2:
                tensor.data_type = value
            elif number == 8:
                tensor.name = _text(value)
            elif number == 9:
                tensor.raw = value
            elif number in (4, 5, 7, 10, 11):
                tensor.typed.append((number, value))
            elif number == 13 or (number == 14 and value != 0):
                tensor.external = True
        return tensor

    def _opset(self, message: memoryview) -> tuple[str, int]:
        domain, version = "", 0
        for number, _, value in self._read(_OPERATOR_SET, message):
            if number == 1:
                domain = _text(value)
            else:
                version = signed(value)
        return ("" if domain == "ai.onnx" else domain), version

    def _value_info(self, message: memoryview) -> tuple[str, int, list[int | None] | None]:
        """Return name, type and shape, as far as they are stated."""
        name = ""
        stated: tuple[int, list[int | None] | None] = 0, None
        for number, _, value in self._read(_VALUE, message):
            if number == 1:
                name = _text(value)
            elif number == 2:
                for kind, _, tensor in self._read(_TYPE, value):
                    stated = self._once(self._known.shapes, tensor, self._type) if kind == 1 else stated
        return name, *stated

    def _type(self, tensor_type: memoryview) -> tuple[int, list[int | None] | None]:
        data_type = 0
        shape: list[int | None] | None = None
        for number, _, sides in self._read(_TENSOR_TYPE, tensor_type):
            if number == 1:
                data_type = sides
            else:
                shape = []
                for _, _, side in self._read(_SHAPE, sides):
                    size = None
                    for kind, _, value in self._read(_SIDE, side):
                        size = signed(value) if kind == 1 else size
                    shape.append(size)
        return data_type, shape


MAX_RANK = 16
_SMALL, _MOST_KNOWN = 1024, 2048
"""Bytes of a message, and messages, that are kept."""
_DOC_STRING = 13
_PARTS_OF_A_CONSTANT = 4
"""Fewest fields of a constant: name, type, shape, numbers. One without them takes the same memory."""
_ONE = (2, 3, 4, 5, 6)
_HELD = range(2, 12)
_DEFAULTS: dict[int, Any] = {2: [0.0], 3: [0], 4: [b""], 7: [], 8: [], 9: [], 10: [], 11: []}


def _integers(value: "int | memoryview") -> list[int]:
    if isinstance(value, int):  # nearly always
        return [signed(value)]
    return [number for part in varints(value) for number in part.astype(np.int64).tolist()]


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:  # which onnxruntime takes, and cannot give back
        raise WireError("a text that is not UTF-8") from error
