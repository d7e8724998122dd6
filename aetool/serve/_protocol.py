"""The Open Inference Protocol: tensors, request bodies, response bodies and errors."""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from aetool.runtime.threshold import as_threshold

# What goes into a served model and what comes out, in the protocol's words.

CALIBRATED = ("p_value", "probability")
"""Outputs that are computed from the score."""
DATATYPES = {"f4": "FP32", "f8": "FP64", "f2": "FP16", "b1": "BOOL", "i8": "INT64", "i4": "INT32"}
"""numpy's kind and size -> the protocol's datatype."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and shape of a tensor."""

    name: str
    datatype: str
    row_shape: tuple[int, ...]
    """Shape without the batch axis."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the tensor as in the model's metadata; -1 is any number of rows."""
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.row_shape]}


@dataclass(frozen=True, slots=True)
class Signature:
    """Input and outputs of a model."""

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    on_request: tuple[TensorSpec, ...] = ()
    """Outputs that are given only to those who name them."""
    output_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the names of the outputs."""
        object.__setattr__(self, "output_names", tuple(output.name for output in self.outputs))


def tensor_of(name: str, rows: Any) -> TensorSpec:
    """Return the tensor that `rows`, (rows, ...), are an example of."""
    return TensorSpec(name, datatype_of(rows.dtype), rows.shape[1:])


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a type."""
    return DATATYPES[dtype.str[1:]]


# A request that gets no result.


class Refusal(Exception):  # noqa: N818 - not aetool's error: it is an answer
    """Error response to a client.

    Attributes:
        status: status of the HTTP response, 4xx or 503.
        message: text for the person who wrote the client.
        retry_after_s: seconds after which to retry; None where that is of no use.
        hang_up: the rest of the request was not read, so that the connection cannot be used any more.
    """

    def __init__(
        self, status: int, message: str, *, retry_after_s: int | None = None, hang_up: bool = False
    ) -> None:
        """Keep the parts of the response."""
        self.status, self.message, self.retry_after_s, self.hang_up = status, message, retry_after_s, hang_up
        super().__init__(message)


_FLOAT32 = np.dtype("<f4")
_NUMBERS = frozenset([float, int, type(None)])
_SHOWN, _SHOWN_ITEMS = 40, 8
_LISTS, _QUOTES, _COMMAS = 1024, 4096, 8192
"""Largest numbers of lists, quotes and commas in a request, beside those of its rows: far more than any has."""
_PIECE = 64 << 10
"""Numbers in JSON are parsed in pieces of so many bytes: other threads go on in between, and memory stays low."""
_DATA = re.compile(rb'"data"\s*:\s*\[')
_UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters of a tensor that would change the answer if they were understood."""


class InferRequest(NamedTuple):
    """A parsed inference request."""

    id: str | None
    rows: NDArray[np.float32]
    """(rows, ...), C-ordered and aligned."""
    outputs: tuple[tuple[str, bool], ...]
    """Pairs of a name, and True where its data are requested as bytes."""
    threshold: float | None = None
    """Highest score that counts as normal; None for the model's."""


def read_request(
    body: bytes | bytearray, header_length: int | None, signature: Signature, max_rows: int
) -> InferRequest:
    """Parse and check a request to a model with `signature`.

    Args:
        body: the whole body.
        header_length: bytes of JSON before the tensor's; None: all of it is JSON.
        signature: tensors of the model.
        max_rows: largest number of rows.

    Raises:
        Refusal: it cannot be understood, or does not fit the model.
    """
    document = _document(body, header_length, signature, max_rows)
    name = document.get("id")
    if name is not None and type(name) is not str:
        raise _bad("id", "a string", name)
    inputs = _list(document, "inputs")
    if len(inputs) != 1 or type(inputs[0]) is not dict:
        raise Refusal(400, f"inputs: one tensor expected, {signature.input.name!r}, found {len(inputs)}")
    rows = _rows(inputs[0], body, header_length, signature, max_rows)
    return InferRequest(name, rows, _outputs(document, signature), _threshold(document, signature))


def json_bytes(body: bytes | bytearray, header_length: int | None) -> int:
    """Return how many bytes of a body are JSON, which takes time to read."""
    return len(body) if header_length is None else header_length


def _document(
    body: bytes | bytearray, header_length: int | None, signature: Signature, max_rows: int
) -> dict[str, Any]:
    if header_length is not None:
        if header_length > len(body):
            raise Refusal(
                400,
                f"Inference-Header-Content-Length: {header_length} exceeds the body, which has {len(body)} bytes",
            )
        body = body[:header_length]
    _require_few_parts(body, signature, max_rows)
    try:
        document = orjson.loads(body) if len(body) <= _PIECE else _in_pieces(body)
    except ValueError as error:
        raise Refusal(400, f"body: not valid JSON: {error}") from error
    if type(document) is not dict:
        raise _bad("body", "a JSON object", document)
    return cast(dict[str, Any], document)


def _require_few_parts(body: bytes | bytearray, signature: Signature, max_rows: int) -> None:
    """Refuse JSON with more parts than a request can have, before memory and time are spent on them."""
    *outer, last = signature.input.row_shape or (1,)
    lists = sum(math.prod(outer[:i]) for i in range(len(outer) + 1))  # of a row, where they are nested
    most = _LISTS + min(max_rows * lists, len(body) // last)  # a row of n numbers takes more than n bytes
    if _has_more(body, b"[{", most) or _has_more(body, b'"', _QUOTES):
        raise Refusal(400, "body: more lists, objects or strings than a request has; send one tensor of numbers")
    if len(body) > _PIECE and _has_more(body, b",", _COMMAS + max_rows * math.prod(signature.input.row_shape)):
        raise Refusal(400, f"body: more numbers than {max_rows} rows have (--max-rows); send fewer rows at a time")


def _has_more(body: bytes | bytearray, signs: bytes, most: int) -> bool:
    """Decide whether `body` holds more than `most` of `signs`: in pieces, so that others continue."""
    count = 0
    for at in range(0, len(body), _PIECE):
        count += sum(body.count(sign, at, at + _PIECE) for sign in signs)
        if count > most:
            return True
    return False


def _in_pieces(body: bytes | bytearray) -> Any:
    """Parse like `orjson.loads`, but return the numbers of a flat list "data" as an array.

    Raises:
        ValueError: not valid JSON.
    """
    found = list(itertools.islice(_DATA.finditer(body), 2))
    start = found[0].end() if found else 0
    end = body.find(b"]", start)
    if len(found) != 1 or end < 0 or body.find(b"[", start, end) >= 0:
        return orjson.loads(body)
    document = orjson.loads(body[:start] + body[end:])
    parts, at = [], start
    while at < end:
        cut = body.find(b",", at + _PIECE, end)
        cut = end if cut < 0 else cut
        if not (part := orjson.loads(b"[" + body[at:cut] + b"]")) or cut == end - 1:
            raise ValueError("a comma without a number in data")
        parts.append(_float32(part))
        at = cut + 1
    tensor = document["inputs"][0] if _has_data(document) else {}
    tensor["data"] = np.concatenate(parts) if parts else []
    return document


def _has_data(document: Any) -> bool:
    inputs = document.get("inputs") if type(document) is dict else None
    return type(inputs) is list and bool(inputs) and type(inputs[0]) is dict and "data" in inputs[0]


def _rows(
    tensor: dict[str, Any], body: bytes | bytearray, header_length: int | None, signature: Signature, max_rows: int
) -> NDArray[np.float32]:
    expected = signature.input
    if tensor.get("name") != expected.name:
        raise _bad("inputs[0].name", repr(expected.name), tensor.get("name"))
    if tensor.get("datatype") != expected.datatype:
        raise _bad("inputs[0].datatype", repr(expected.datatype), tensor.get("datatype"))
    shape = _shape(tensor, expected.row_shape, max_rows)
    parameters = _parameters(tensor, "inputs[0]")
    if header_length is None:
        if "binary_data_size" in parameters:
            raise Refusal(
                400, "inputs[0].parameters.binary_data_size: needs the header Inference-Header-Content-Length"
            )
        return _from_json(tensor, shape)
    size, sent = parameters.get("binary_data_size"), len(body) - header_length
    if size is None and sent == 0:
        return _from_json(tensor, shape)
    if type(size) is not int or size != sent:
        raise _bad("inputs[0].parameters.binary_data_size", f"{sent}, the bytes after the JSON", size)
    if size != math.prod(shape) * _FLOAT32.itemsize:
        raise _bad("inputs[0].parameters.binary_data_size", f"{math.prod(shape) * 4} for shape {shape}", size)
    if "data" in tensor:
        raise Refusal(400, "inputs[0]: data as JSON and as bytes; give one of them")
    return np.frombuffer(body[header_length:], _FLOAT32).reshape(shape)  # a copy: aligned, wherever the JSON ends


def _shape(tensor: dict[str, Any], row: tuple[int, ...], max_rows: int) -> tuple[int, ...]:
    shape = tensor.get("shape")
    if type(shape) is not list or any(type(size) is not int for size in shape) or tuple(shape[1:]) != row:
        raise _bad("inputs[0].shape", f"[rows, {', '.join(map(str, row))}]", shape)
    if not 1 <= shape[0] <= max_rows:
        raise _bad("inputs[0].shape", f"1 to {max_rows} rows", shape)
    return tuple(shape)


def _from_json(tensor: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return flat or nested numbers as an array, row by row; null is a missing value, NaN."""
    data = tensor.get("data")
    if isinstance(data, np.ndarray):
        if data.size != math.prod(shape):
            raise _bad("inputs[0].data", f"{math.prod(shape)} numbers for shape {list(shape)}", f"{data.size}")
        return cast("NDArray[np.float32]", data.reshape(shape))
    if type(data) is not list:
        raise _bad("inputs[0].data", "a list of numbers", data)
    if data and type(data[0]) is list:
        data = _flat(data, shape)
    if len(data) != math.prod(shape):
        raise _bad("inputs[0].data", f"{math.prod(shape)} numbers for shape {list(shape)}", f"{len(data)}")
    return _float32(data).reshape(shape)


def _float32(data: list[Any]) -> NDArray[np.float32]:
    if strange := set(map(type, data)) - _NUMBERS:
        raise _bad("inputs[0].data", "numbers", next(value for value in data if type(value) in strange))
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and an infinite row is an anomaly
        return np.array(data, np.float64).astype(np.float32)


def _flat(data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    for size in shape[1:]:
        if any(type(part) is not list or len(part) != size for part in data):
            raise Refusal(400, f"inputs[0].data: expected lists nested as shape {list(shape)} says, or a flat one")
        data = list(itertools.chain.from_iterable(data))
    return data


def _outputs(document: dict[str, Any], signature: Signature) -> tuple[tuple[str, bool], ...]:
    binary = _flag(_parameters(document, "body"), "binary_data_output", "body", default=False)
    asked = _list(document, "outputs") if document.get("outputs") is not None else []
    if not asked:
        return tuple((name, binary) for name in signature.output_names)
    outputs: dict[str, bool] = {}
    known = (*signature.output_names, *(output.name for output in signature.on_request))
    for i, output in enumerate(asked):
        name = output.get("name") if type(output) is dict else None
        if type(name) is not str or name not in known or name in outputs:
            raise _bad(f"outputs[{i}].name", f"one of {', '.join(known)}, once", name)
        outputs[name] = _flag(_parameters(output, f"outputs[{i}]"), "binary_data", f"outputs[{i}]", default=binary)
    return tuple(outputs.items())


def _threshold(document: dict[str, Any], signature: Signature) -> float | None:
    found = _parameters(document, "body").get("threshold")
    if found is None:
        return None
    if type(found) not in (int, float):
        raise _bad("body.parameters.threshold", "a number", found)
    if "is_anomaly" not in signature.output_names:
        raise Refusal(400, "body.parameters.threshold: this model gives no is_anomaly; leave it out")
    return as_threshold(found)


def decided(
    request: InferRequest, outputs: Mapping[str, Any], part: slice, calibrated: Callable[[Any], Mapping[str, Any]]
) -> list[NDArray[Any]]:
    """Return `part` of the requested outputs, decided by the request's own threshold where it has one.

    `calibrated` makes p-values of scores.
    """
    values = {name: outputs[name][part] for name, _ in request.outputs if name not in CALIBRATED}
    if request.threshold is not None and "is_anomaly" in values:
        values["is_anomaly"] = ~(outputs["score"][part] <= request.threshold)
    if len(values) < len(request.outputs):
        values |= calibrated(outputs["score"][part])
    return [values[name] for name, _ in request.outputs]


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    found = owner.get("parameters")
    if found is None:
        return {}
    if type(found) is not dict:
        raise _bad(f"{where}.parameters", "an object", found)
    if unsupported := [name for name in _UNSUPPORTED if name in found]:
        raise Refusal(400, f"{where}.parameters: {unsupported[0]} is not supported; leave it out")
    return cast(dict[str, Any], found)


def _flag(parameters: dict[str, Any], name: str, where: str, *, default: bool) -> bool:
    found = parameters.get(name, default)
    if type(found) is not bool:
        raise _bad(f"{where}.parameters.{name}", "true or false", found)
    return found


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    if type(found) is not list:
        raise _bad(key, "a list", found)
    return found


def _bad(what: str, expected: str, found: Any) -> Refusal:
    return Refusal(400, f"{what}: expected {expected}, found {_shown(found)}")


def _shown(found: Any) -> str:
    """Return a few characters of a value, or its kind: never as long or as deep as the value."""
    if isinstance(found, dict):
        return "an object"
    if isinstance(found, list) and (
        len(found) > _SHOWN_ITEMS or any(isinstance(one, list | dict) for one in found)
    ):
        return f"a list of {len(found)}"
    return repr(str(found)[:_SHOWN])


# The body of an answer: JSON, or JSON followed by the bytes of the tensors that were asked for so.

Header = tuple[bytes, bytes]
JSON: Header = (b"content-type", b"application/json")
BYTES: Header = (b"content-type", b"application/octet-stream")
_PIECE_NUMBERS = 16_384
"""Numbers that are written at a time: other threads continue in between."""
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY  # which also writes NaN and infinity as null: JSON has neither


def answer(
    model: str, version: str, request: InferRequest, outputs: Sequence[NDArray[Any]]
) -> tuple[list[Header], bytes]:
    """Return headers and body of a response; `outputs` are in the order of `request.outputs`, (rows, ...).

    In JSON, a number that is not finite is null.
    """
    tensors: list[dict[str, Any]] = []
    parts: list[Any] = [b""]
    large = sum(values.size for (_, binary), values in zip(request.outputs, outputs, strict=True) if not binary)
    for (name, binary), values in zip(request.outputs, outputs, strict=True):
        tensor: dict[str, Any] = {"name": name, "datatype": datatype_of(values.dtype), "shape": values.shape}
        if binary:
            tensor["parameters"] = {"binary_data_size": values.nbytes}
            parts.append(values.tobytes())
        else:
            tensor["data"] = (
                values.ravel() if large <= _PIECE_NUMBERS else orjson.Fragment(_json_in_pieces(values.ravel()))
            )
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": tensors}
    if request.id is not None:
        document["id"] = request.id
    parts[0] = text = orjson.dumps(document, option=_OPTIONS)
    if len(parts) == 1:
        return [JSON, (b"content-length", b"%d" % len(text))], text
    body = b"".join(parts)
    length = b"%d" % len(text)
    return [BYTES, (b"content-length", b"%d" % len(body)), (b"inference-header-content-length", length)], body


def _json_in_pieces(values: NDArray[Any]) -> bytes:
    """Return a flat array as JSON."""
    texts = [
        orjson.dumps(values[i : i + _PIECE_NUMBERS], option=_OPTIONS)[1:-1]
        for i in range(0, len(values), _PIECE_NUMBERS)
    ]
    return b"[" + b",".join(texts) + b"]"
