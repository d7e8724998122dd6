"""Somebody else's ONNX file, read without being led elsewhere."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, external_data_helper

from aetool.errors import ExportError
from aetool.export.inspection import tensors
from aetool.storage import read_inside

MAX_BYTES = 2 << 30


def read_onnx(path: str | Path) -> ModelProto:
    """The model at `path`, its external data inlined.

    Raises:
        ExportError: not an ONNX file, a damaged one, or one whose data lie outside its directory.
    """
    path = Path(path)
    try:
        data = read_inside(path.parent, path.name, MAX_BYTES)
    except OSError as error:
        raise ExportError(f"{path}: an ONNX file is expected: {error.strerror or error}") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ExportError(f"{path}: not an ONNX file ({error}); give the .onnx file") from error
    if not model.graph.node:
        raise ExportError(f"{path}: an ONNX file with a graph is expected, found none; give the .onnx file")
    for tensor in tensors(model.graph):
        if external_data_helper.uses_external_data(tensor):
            _inline(tensor, path)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:250]
        raise ExportError(f"{path}: not a valid model: {reason}; export it again") from error
    return model


def _inline(tensor: TensorProto, path: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset, length = int(entries.get("offset", 0)), entries.get("length")
        data = read_inside(path.parent, location, MAX_BYTES)
        stop = len(data) if length is None else offset + int(length)
    except OSError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} are said to be in {location!r}: {error.strerror or error}; "
            "external data must be a file beside the model"
        ) from error
    except ValueError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} have no valid offset or length ({error})"
        ) from error
    if offset < 0 or stop > len(data) or stop < offset:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} end at byte {stop:,} of {location!r}, which has {len(data):,}; "
            "the file was truncated, fetch it again"
        )
    tensor.raw_data = data[offset:stop]
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
