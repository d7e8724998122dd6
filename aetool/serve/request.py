"""The body of an inference request: JSON, or JSON followed by the tensor's bytes (`binary_tensor_data`)."""

import itertools
import math
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from aetool.serve.refusal import Refusal
from aetool.serve.tensors import Signature

_FLOAT32 = np.dtype("<f4")
_NUMBERS = frozenset([float, int, type(None)])
_SHOWN = 40
_UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters of a tensor that would change the answer if they were understood."""


class InferRequest(NamedTuple):
    id: str | None
    rows: NDArray[np.float32]
    """(rows, ...), C-ordered and aligned."""
    outputs: tuple[tuple[str, bool], ...]
    """Name, and whether its data are wanted as bytes."""


def read_request(body: bytes, header_length: int | None, signature: Signature, max_rows: int) -> InferRequest:
    """What is asked of a model with `signature`.

    Args:
        body: the whole body.
        header_length: bytes of JSON before the tensor's; None: all of it is JSON.

    Raises:
        Refusal: it cannot be understood, or does not fit the model.
    """
    document = _document(body, header_length)
    name = document.get("id")
    if name is not None and type(name) is not str:
        raise _bad("id", "a string", name)
    inputs = _list(document, "inputs")
    if len(inputs) != 1 or type(inputs[0]) is not dict:
        raise Refusal(400, f"inputs: one tensor expected, {signature.input.name!r}, found {len(inputs)}")
    rows = _rows(inputs[0], body, header_length, signature, max_rows)
    return InferRequest(name, rows, _outputs(document, signature))


def _document(body: bytes, header_length: int | None) -> dict[str, Any]:
    if header_length is not None:
        if header_length > len(body):
            raise Refusal(
                400,
                f"Inference-Header-Content-Length: {header_length} exceeds the body, which has {len(body)} bytes",
            )
        body = body[:header_length]
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise Refusal(400, f"body: not valid JSON: {error}") from error
    if type(document) is not dict:
        raise _bad("body", "a JSON object", document)
    return cast(dict[str, Any], document)


def _rows(
    tensor: dict[str, Any], body: bytes, header_length: int | None, signature: Signature, max_rows: int
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
    """Flat or nested, row by row; null is a missing value, NaN."""
    data = tensor.get("data")
    if type(data) is not list:
        raise _bad("inputs[0].data", "a list of numbers", data)
    if data and type(data[0]) is list:
        data = _flat(data, shape)
    if len(data) != math.prod(shape):
        raise _bad("inputs[0].data", f"{math.prod(shape)} numbers for shape {list(shape)}", f"{len(data)}")
    if strange := set(map(type, data)) - _NUMBERS:
        raise _bad("inputs[0].data", "numbers", next(value for value in data if type(value) in strange))
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and an infinite row is an anomaly
        return np.array(data, np.float64).astype(np.float32).reshape(shape)


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
    for i, output in enumerate(asked):
        name = output.get("name") if type(output) is dict else None
        if type(name) is not str or name not in signature.output_names or name in outputs:
            raise _bad(f"outputs[{i}].name", f"one of {', '.join(signature.output_names)}, once", name)
        outputs[name] = _flag(_parameters(output, f"outputs[{i}]"), "binary_data", f"outputs[{i}]", default=binary)
    return tuple(outputs.items())


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
    return Refusal(400, f"{what}: expected {expected}, found {str(found)[:_SHOWN]!r}")
