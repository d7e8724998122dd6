"""Somebody else's ONNX file: read without being led elsewhere, and refused with the reason where it is no autoencoder."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper, numpy_helper

from aetool.errors import ExportError
from aetool.export.graphs import RANDOM_OPS
from aetool.storage import read_inside

MAX_BYTES = 2 << 30
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}


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


def require_sane(model: ModelProto, where: str) -> None:
    """Refuse what would not give the same answer twice, or no answer.

    Raises:
        ExportError: random or training-mode nodes, NaN or infinite weights; the message names them.
    """
    constants = {tensor.name: tensor for tensor in tensors(model.graph)}
    for node in nodes(model.graph):
        if node.op_type in RANDOM_OPS:
            raise ExportError(f"{where}: node {node.name!r} ({node.op_type}) is random; export the model in eval mode")
        if _trains(node, constants):
            raise ExportError(
                f"{where}: node {node.name!r} ({node.op_type}) is in training mode; call eval() and export it again"
            )
    for tensor in constants.values():
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
                yield attribute.t
            yield from attribute.tensors
            for inner in [attribute.g, *attribute.graphs]:
                yield from tensors(inner)


def _inline(tensor: TensorProto, path: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset, length = int(entries.get("offset", 0)), entries.get("length")
        data = read_inside(path.parent, location, MAX_BYTES)
        stop = len(data) if length is None else offset + int(length)
    except OSError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} are said to be in {location!r}: {error.strerror or error}; external "
            "data must be a file beside the model"
        ) from error
    except ValueError as error:
        raise ExportError(f"{path}: the data of {tensor.name!r} have no valid offset or length ({error})") from error
    if offset < 0 or stop > len(data) or stop < offset:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} end at byte {stop:,} of {location!r}, which has {len(data):,}; the "
            "file was truncated, fetch it again"
        )
    tensor.raw_data = data[offset:stop]
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


def _trains(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    if node.op_type == "BatchNormalization":
        return any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = constants.get(node.input[2])
        return mode is None or bool(numpy_helper.to_array(mode).any())
    return False
