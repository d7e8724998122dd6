"""An ONNX file as far as its safety depends on it: nodes, constants, operator sets (onnx.proto, ONNX 1.21).

Read by `wire`, since the `onnx` package is not there where bundles run. Stricter than protobuf: what stands twice
where it should stand once, or has another type than its schema gives, is a `WireError` and not a guess.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.wire import BYTES, FIXED32, FIXED64, VARINT, WireError, fields, signed, varints

FLOAT, INT64, STRING, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 7, 8, 9, 10, 11, 16
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
_TYPED = {4: "<f4", 10: "<f8"}  # float_data, double_data: fixed width
_VARINTS = (5, 7, 11)  # int32_data, int64_data, uint64_data


class Tensor:
    """A constant."""

    __slots__ = ("data_type", "dims", "external", "name", "raw", "typed")

    def __init__(self) -> None:
        self.name = ""
        self.dims: tuple[int, ...] = ()
        self.data_type = 0
        self.raw: memoryview | None = None
        """Little-endian numbers; or they stand in `typed`."""
        self.typed: list[Any] = []
        """Arrays of float_data and double_data, lists of integers of the others."""
        self.external = False
        """Whether the numbers stand in another file."""

    def numbers(self) -> NDArray[Any] | None:
        """The content, flat; None for types that numpy does not have."""
        if self.data_type not in NUMPY:
            return None
        kind = np.dtype(NUMPY[self.data_type])
        if self.raw is not None:
            return np.frombuffer(self.raw, kind) if len(self.raw) % kind.itemsize == 0 else None
        if self.data_type in (FLOAT, DOUBLE):
            return np.concatenate([np.empty(0, kind), *self.typed])
        values = np.array([value for part in self.typed for value in part], np.uint64)
        return values.astype(np.uint16).view(np.float16) if self.data_type == FLOAT16 else values.astype(kind)


class Node:
    __slots__ = ("attributes", "domain", "inputs", "name", "op_type", "outputs")

    def __init__(self) -> None:
        self.op_type = self.domain = self.name = ""
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.attributes: dict[str, Any] = {}
        """Name -> int, float, bytes, Tensor, Graph, or a list of one of them."""

    @property
    def operator(self) -> str:
        """`Gemm`, or `com.microsoft.QGemm`."""
        return self.op_type if self.domain in ("", "ai.onnx") else f"{self.domain}.{self.op_type}"

    @property
    def title(self) -> str:
        """For messages."""
        return f"node {self.name or ', '.join(self.outputs)!r} ({self.operator})"

    def tensors(self) -> Iterator[Tensor]:
        """The constants in its attributes, not those of inner graphs."""
        for value in self.attributes.values():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Tensor):
                    yield each

    def graphs(self) -> Iterator["Graph"]:
        """Its inner graphs."""
        for value in self.attributes.values():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Graph):
                    yield each


class Graph:
    __slots__ = ("constants", "input_shapes", "inputs", "nodes", "outputs", "sparse")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: list[Tensor] = []
        self.inputs: list[str] = []
        self.input_shapes: list[list[int | None] | None] = []
        """As stated: None for a side, or a shape, that is left open."""
        self.outputs: list[str] = []
        self.sparse = False
        """Whether there are sparse constants."""

    def all_nodes(self) -> Iterator[Node]:
        """Every node, those of inner graphs too."""
        for node in self.nodes:
            yield node
            for inner in node.graphs():
                yield from inner.all_nodes()

    def all_constants(self) -> Iterator[Tensor]:
        """Every constant, those in attributes and inner graphs too."""
        yield from self.constants
        for node in self.nodes:
            yield from node.tensors()
            for inner in node.graphs():
                yield from inner.all_constants()


class Model:
    __slots__ = ("functions", "graph", "ir_version", "opsets")

    def __init__(self) -> None:
        self.ir_version = 0
        self.opsets: dict[str, int] = {}
        """Domain -> version; "" is ai.onnx."""
        self.graph = Graph()
        self.functions = False
        """Whether there are operators of its own, or a training graph."""


def read_model(content: bytes, max_depth: int, max_nodes: int) -> Model:
    """Read a serialised ModelProto.

    Raises:
        WireError: not one, or nested deeper, or of more nodes than allowed.
    """
    model, graph = Model(), None
    for number, kind, value in fields(memoryview(content)):
        if number == 1:
            model.ir_version = signed(_integer(kind, value))
        elif number == 8:
            domain, version = _opset(_bytes(kind, value))
            if domain in model.opsets:
                raise WireError(f"two operator sets for {domain or 'ai.onnx'!r}")
            model.opsets[domain] = version
        elif number == 7:
            if graph is not None:
                raise WireError("two graphs")
            graph = _bytes(kind, value)
        elif number == 14:
            for _, inner_kind, text in fields(_bytes(kind, value)):  # metadata: key and value
                _text(inner_kind, text)
        elif number in (20, 25):
            model.functions = True
    if graph is None:
        raise WireError("no graph")
    model.graph = _Reader(max_nodes).graph(graph, max_depth)
    return model


class _Reader:
    """Reads graphs, and counts their nodes."""

    def __init__(self, max_nodes: int) -> None:
        self._left = max_nodes

    def graph(self, message: memoryview, depth: int) -> Graph:
        if depth == 0:
            raise WireError("graphs nested too deeply")
        graph = Graph()
        for number, kind, value in fields(message):
            if number == 1:
                self._left -= 1
                if self._left < 0:
                    raise WireError("more nodes than allowed")
                graph.nodes.append(self._node(_bytes(kind, value), depth))
            elif number == 5:
                graph.constants.append(_tensor(_bytes(kind, value)))
            elif number == 11:
                name, shape = _value_info(_bytes(kind, value))
                graph.inputs.append(name)
                graph.input_shapes.append(shape)
            elif number == 12:
                graph.outputs.append(_value_info(_bytes(kind, value))[0])
            elif number == 15:
                graph.sparse = True
        return graph

    def _node(self, message: memoryview, depth: int) -> Node:
        node = Node()
        for number, kind, value in fields(message):
            if number == 1:
                node.inputs.append(_text(kind, value))
            elif number == 2:
                node.outputs.append(_text(kind, value))
            elif number == 3:
                node.name = _text(kind, value)
            elif number == 4:
                node.op_type = _text(kind, value)
            elif number == 7:
                node.domain = _text(kind, value)
            elif number == 5:
                name, content = self._attribute(_bytes(kind, value), depth)
                if name in node.attributes:
                    raise WireError(f"attribute {name!r} stands twice")
                node.attributes[name] = content
        return node

    def _attribute(self, message: memoryview, depth: int) -> tuple[str, Any]:
        name, stated = "", 0
        held: dict[int, Any] = {}
        for number, kind, value in fields(message):
            if number == 1:
                name = _text(kind, value)
            elif number == 20:
                stated = _integer(kind, value)
            elif number in _NUMBERS_AND_TEXTS:
                held[number] = _NUMBERS_AND_TEXTS[number](kind, value)
            elif number in _LISTS:
                held.setdefault(number, []).extend(_LISTS[number](kind, value))
            elif number in (5, 6) and number not in held:
                held[number] = self._inner(number, _bytes(kind, value), depth)
            elif number in (10, 11):
                held.setdefault(number, []).append(self._inner(number, _bytes(kind, value), depth))
            elif number not in _SILENT:
                raise WireError(f"attribute {name!r} has two values, or what no deployed graph needs")
        wanted = stated + 1  # the field of each AttributeType
        if held.keys() - {wanted} or (wanted not in held and wanted not in _DEFAULTS):
            raise WireError(f"attribute {name!r} is of type {stated} and holds another, or none")
        return name, held.get(wanted, _DEFAULTS.get(wanted))

    def _inner(self, number: int, message: memoryview, depth: int) -> "Tensor | Graph":
        return _tensor(message) if number in (5, 10) else self.graph(message, depth - 1)


_NUMBERS_AND_TEXTS: dict[int, Callable[[int, int | memoryview], Any]] = {
    2: lambda kind, value: float(np.frombuffer(_bytes(kind, value, FIXED32), "<f4")[0]),
    3: lambda kind, value: signed(_integer(kind, value)),
    4: lambda kind, value: bytes(_bytes(kind, value)),
}
_LISTS: dict[int, Callable[[int, int | memoryview], list[Any]]] = {
    7: lambda kind, value: np.frombuffer(_bytes(kind, value, BYTES, FIXED32), "<f4").tolist(),
    8: lambda kind, value: [signed(number) for number in varints(value)],
    9: lambda kind, value: [bytes(_bytes(kind, value))],
}
_DEFAULTS: dict[int, Any] = {2: 0.0, 3: 0, 4: b"", 7: [], 8: [], 9: [], 10: [], 11: []}
_SILENT = {13, 21}  # doc_string; ref_attr_name, of functions, which are refused


def _tensor(message: memoryview) -> Tensor:
    tensor = Tensor()
    dims: list[int] = []
    for number, kind, value in fields(message):
        if number == 1:
            dims += map(signed, varints(value))
        elif number == 2:
            tensor.data_type = _integer(kind, value)
        elif number == 8:
            tensor.name = _text(kind, value)
        elif number == 9:
            tensor.raw = _bytes(kind, value)
        elif number in _TYPED:
            content = _bytes(kind, value, BYTES, FIXED32, FIXED64)
            width = np.dtype(_TYPED[number]).itemsize
            if len(content) % width:
                raise WireError("numbers cut short")
            tensor.typed.append(np.frombuffer(content, _TYPED[number]))
        elif number in _VARINTS:
            tensor.typed.append(varints(value))
        elif number == 13 or (number == 14 and value != 0):
            tensor.external = True
    tensor.dims = tuple(dims)
    return tensor


def _opset(message: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, kind, value in fields(message):
        if number == 1:
            domain = _text(kind, value)
        elif number == 2:
            version = signed(_integer(kind, value))
    return ("" if domain == "ai.onnx" else domain), version


def _value_info(message: memoryview) -> tuple[str, list[int | None] | None]:
    """Name and shape, as far as it is stated."""
    name, shape = "", None
    for number, kind, value in fields(message):
        if number == 1:
            name = _text(kind, value)
        elif number == 2:  # TypeProto.tensor_type.shape.dim
            for tensor in _inside(_bytes(kind, value), 1):
                for sides in _inside(tensor, 2):
                    shape = [_side(dim) for dim in _inside(sides, 1)]
    return name, shape


def _inside(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The messages in a field of a message."""
    for number, kind, value in fields(message):
        if number == wanted:
            yield _bytes(kind, value)


def _side(message: memoryview) -> int | None:
    side = None
    for number, kind, value in fields(message):
        if number == 1:
            side = signed(_integer(kind, value))
    return side


def _integer(kind: int, value: "int | memoryview") -> int:
    if kind != VARINT or not isinstance(value, int):
        raise WireError("an integer was expected")
    return value


def _bytes(kind: int, value: "int | memoryview", *kinds: int) -> memoryview:
    if kind not in (kinds or (BYTES,)) or isinstance(value, int):
        raise WireError(f"wire type {kind} where another was expected")
    return value


def _text(kind: int, value: "int | memoryview") -> str:
    try:
        return str(_bytes(kind, value), "utf-8")
    except UnicodeDecodeError as error:  # which onnxruntime takes, and cannot give back
        raise WireError("a text that is not UTF-8") from error
