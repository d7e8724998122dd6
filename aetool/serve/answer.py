"""The body of an answer: JSON, or JSON followed by the bytes of the tensors that were asked for so."""

from collections.abc import Sequence
from typing import Any

import orjson
from numpy.typing import NDArray

from aetool.serve.request import InferRequest
from aetool.serve.tensors import datatype_of

Header = tuple[bytes, bytes]
JSON: Header = (b"content-type", b"application/json")
BYTES: Header = (b"content-type", b"application/octet-stream")
_PIECE = 16_384
"""Numbers written at a time where there are more: other threads go on in between."""
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY  # which also writes NaN and infinity as null: JSON has neither


def answer(
    model: str, version: str, request: InferRequest, outputs: Sequence[NDArray[Any]]
) -> tuple[list[Header], bytes]:
    """Headers, with the content's length, and body; `outputs` are in the order of `request.outputs`, (rows, ...).

    In JSON, a number that is none (NaN, infinity) is null.
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
            tensor["data"] = values.ravel() if large <= _PIECE else orjson.Fragment(_in_pieces(values.ravel()))
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


def _in_pieces(values: NDArray[Any]) -> bytes:
    """A flat array as JSON."""
    texts = [orjson.dumps(values[i : i + _PIECE], option=_OPTIONS)[1:-1] for i in range(0, len(values), _PIECE)]
    return b"[" + b",".join(texts) + b"]"
