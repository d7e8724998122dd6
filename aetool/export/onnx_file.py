"""Somebody else's ONNX file, read without being led elsewhere."""

import heapq
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto, external_data_helper

from aetool.errors import ExportError
from aetool.export.inspection import node_tensors, tensors, values_read
from aetool.reading import read_inside

MAX_BYTES = 2 << 30
WEIGHTS_ARE_NO_INPUTS = 4
"""The IR version from which weights need not be listed as inputs: files of older ones leave them out too."""


def read_onnx(path: str | Path) -> ModelProto:
    """The model at `path`, its external data and local functions inlined.

    Raises:
        ExportError: not an ONNX file, a damaged one, or one whose data lie outside its directory.
    """
    path = Path(path)
    try:
        # The file itself may be a link, as in the cache of a model hub; what it points to may not.
        target = path.resolve()
        data = read_inside(target.parent, target.name, MAX_BYTES)
    except (OSError, ValueError, RuntimeError) as error:  # no name for a file; a loop of links
        reason = getattr(error, "strerror", None) or error
        raise ExportError(f"{path}: an ONNX file is expected: {reason}; give the .onnx file") from error
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ExportError(f"{path}: no ONNX file, or a truncated one ({error}); give the .onnx file") from error
    if not model.graph.node:
        raise ExportError(f"{path}: an ONNX file with a graph is expected, found none; give the .onnx file")
    _inline_all(model, path)
    del model.training_info[:], model.graph.quantization_annotation[:]  # neither tells anything of inference
    # Converters leave the shapes and types of the graph that they changed: inference finds those of this one.
    del model.graph.value_info[:]
    model.ir_version = max(model.ir_version, WEIGHTS_ARE_NO_INPUTS)
    sort_nodes(model.graph)
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:250]
        raise ExportError(f"{path}: not a valid model: {reason}; export it again") from error
    return model


def sort_nodes(graph: GraphProto) -> None:
    """Put every node behind those it reads from, otherwise in the order that there was.

    A node that reads what nothing makes, or what is made of itself, is left for the checker to name.
    """
    made = {output: place for place, node in enumerate(graph.node) for output in node.output if output}
    needs = [{made[value] for value in values_read(node) if value in made} for node in graph.node]
    if all(earlier < place for place, each in enumerate(needs) for earlier in each):
        return
    readers: dict[int, list[int]] = {}
    for place, each in enumerate(needs):
        for earlier in each:
            readers.setdefault(earlier, []).append(place)
    waiting = [len(each) for each in needs]
    ready = [place for place, count in enumerate(waiting) if count == 0]
    order = []
    while ready:
        order.append(place := heapq.heappop(ready))
        for reader in readers.get(place, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) == len(needs):
        nodes = [graph.node[place] for place in order]
        del graph.node[:]
        graph.node.extend(nodes)


def _inline_all(model: ModelProto, path: Path) -> None:
    files: dict[str, bytes] = {}
    size = 0
    bodies = [tensor for function in model.functions for tensor in node_tensors(function.node)]
    for tensor in [*tensors(model.graph), *bodies]:
        if external_data_helper.uses_external_data(tensor):
            _inline(tensor, path, files)
            size += len(tensor.raw_data)
            if size > MAX_BYTES:
                raise ExportError(f"{path}: holds more than {MAX_BYTES:,} bytes of weights; one ONNX file cannot")


def _inline(tensor: TensorProto, path: Path, files: dict[str, bytes]) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset, length = int(entries.get("offset", 0)), entries.get("length")
        if location not in files:
            files[location] = read_inside(path.parent, location, MAX_BYTES)
        data = files[location]
        stop = len(data) if length is None else offset + int(length)
    except OSError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} are said to be in {location!r}: {error.strerror or error}; "
            "external data must be a file beside the model"
        ) from error
    except ValueError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} have no valid offset or length ({error}); fetch them again"
        ) from error
    if offset < 0 or stop > len(data) or stop < offset:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} are said to be bytes {offset:,} to {stop:,} of {location!r}, "
            f"which has {len(data):,}; the file was truncated, fetch it again"
        )
    tensor.raw_data = data[offset:stop]
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
