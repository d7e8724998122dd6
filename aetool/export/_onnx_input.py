"""The user's ONNX files: read safely, joined, searched for threshold and scaling in their metadata."""

import heapq
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, external_data_helper, helper

from aetool.bundle.files import read_inside
from aetool.errors import ExportError, reason_of
from aetool.export._dynamic_batch import real_inputs
from aetool.export._graph_checks import node_tensors, nodes, rename_values, tensors, values_read
from aetool.export.opset import bring_down, standard_opset
from aetool.model.foreign.scored_module import Scaling

MAX_BYTES = 2 << 30
_WEIGHTS_ARE_NO_INPUTS = 4
"""The IR version from which weights need not be listed as inputs: files of older ones leave them out too."""


def read_onnx(path: str | Path) -> ModelProto:
    """Read the model at `path`, with its external data and local functions inlined.

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
        raise ExportError(
            f"{path}: not a valid ONNX file, perhaps truncated ({error}); give the .onnx file"
        ) from error
    if not model.graph.node:
        raise ExportError(f"{path}: an ONNX file with a graph is expected, found none; give the .onnx file")
    _inline_all(model, path)
    del model.training_info[:], model.graph.quantization_annotation[:]  # neither tells anything of inference
    # Converters leave the shapes and types of the graph that they changed: inference finds those of this one.
    del model.graph.value_info[:]
    model.ir_version = max(model.ir_version, _WEIGHTS_ARE_NO_INPUTS)
    _sort_nodes(model.graph)
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ExportError(f"{path}: not a valid model: {reason_of(error, 250)}; export it again") from error
    return model


def _sort_nodes(graph: GraphProto) -> None:
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
            f"{path}: the data of {tensor.name!r} in {location!r} cannot be read: {error.strerror or error}; "
            "external data must be a file beside the model"
        ) from error
    except ValueError as error:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} have no valid offset or length ({error}); fetch them again"
        ) from error
    if offset < 0 or stop > len(data) or stop < offset:
        raise ExportError(
            f"{path}: the data of {tensor.name!r} should be bytes {offset:,} to {stop:,} of {location!r}, "
            f"which has {len(data):,}; the file was truncated, fetch it again"
        )
    tensor.raw_data = data[offset:stop]
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT


# Threshold and scaling of an ONNX file: given as options, or stated in its metadata under a usual key.

_THRESHOLDS = (
    *("threshold", "anomaly_threshold", "score_threshold", "decision_threshold", "reconstruction_threshold"),
    *("reconstruction_error_threshold", "error_threshold", "mse_threshold", "loss_threshold", "cutoff"),
)
_MEANS = ("mean", "means", "mean_", "scaler_mean", "scaler_mean_", "feature_mean", "feature_means", "x_mean")
_SCALES = (
    *("scale", "scales", "scale_", "scaler_scale", "scaler_scale_", "std", "stds", "stddev", "standard_deviation"),
    *("scaler_std", "feature_std", "feature_stds", "feature_scale", "x_std"),
)
_MINIMA = ("minimum", "data_min", "data_min_", "scaler_min", "scaler_data_min", "feature_min", "x_min")
_MAXIMA = ("maximum", "data_max", "data_max_", "scaler_max", "scaler_data_max", "feature_max", "x_max")
"""Keys of metadata that are read, as `_key` writes them."""
FAMILIES = ({"mean": _MEANS, "scale": _SCALES}, {"minimum": _MINIMA, "maximum": _MAXIMA})
_LIKELY = ("thresh", "mean", "std", "scale", "norm", "min_max", "minmax")


def stated_threshold(stated: Mapping[str, str], where: str) -> float | None:
    """Return the metadata's threshold, if there is one.

    Raises:
        ExportError: it is no finite number, or there are several.
    """
    found = _entry(stated, _THRESHOLDS, where, "--threshold")
    if found is None:
        return None
    key, text = found
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(f"{where}: metadata {key} = {text[:60]!r} is not a finite number; pass --threshold")
    return value


def stated_scaling(
    given: Mapping[str, Sequence[float] | None],
    stated: Mapping[str, str],
    where: str,
    row_shape: tuple[int, ...],
) -> Scaling | None:
    """Return the given scaling, or else the metadata's; None if there is neither.

    Args:
        given: mean and scale, or minimum and maximum; None for each that is not given.
        stated: the metadata, key -> text.
        where: name of the file, for messages.
        row_shape: shape of one row.

    Raises:
        ExportError: not finite numbers for such rows, or a scale that is not above 0.
    """
    chosen: dict[str, Any] = {key: given.get(key) for keys in FAMILIES for key in keys}
    # What is given as an option goes before metadata of the other kind.
    families = [keys for keys in FAMILIES if any(chosen[key] is not None for key in keys)] or FAMILIES
    for key, spellings in [(key, spelling) for keys in families for key, spelling in keys.items()]:
        if chosen[key] is None and (entry := _entry(stated, spellings, where, f"--{key}")) is not None:
            chosen[key] = _listed(entry[1])
    return given_scaling(**chosen, row_shape=row_shape, where=where)


def given_scaling(
    mean: Sequence[float] | None,
    scale: Sequence[float] | None,
    minimum: Sequence[float] | None,
    maximum: Sequence[float] | None,
    row_shape: tuple[int, ...],
    where: str = "scaling",
) -> Scaling | None:
    """Return the scaling that was given, as mean and scale or as minimum and maximum; None where none was.

    Each is one number, or one for each column; of rows with more axes one for each channel, along the first or
    the last axis, whichever has so many.

    Raises:
        ExportError: one without the other, both kinds, or numbers that do not fit such rows.
    """
    given = (("mean", mean), ("scale", scale), ("minimum", minimum), ("maximum", maximum))
    found = {key: _numbers(value, key, where, row_shape) for key, value in given if value is not None}
    if not found:
        return None
    pair = ("minimum", "maximum") if "minimum" in found or "maximum" in found else ("mean", "scale")
    if len(found) > 2:
        raise ExportError(f"{where}: {', '.join(found)} were given; give mean and scale, or minimum and maximum")
    if set(found) != set(pair):
        raise ExportError(
            f"{where}: {' and '.join(pair)} are expected together, found {' and '.join(found)} alone; give both"
        )
    shift, divisor = found[pair[0]], found[pair[1]]
    what, remedy = "scale must be above 0", "give 1"
    if pair[0] == "minimum":
        what, remedy, divisor = "maximum must be above minimum", "give minimum + 1", divisor - shift
    # The smallest that a standard deviation in float32 data can be: below, dividing overflows.
    if not (divisor >= np.finfo(np.float32).tiny).all():
        raise ExportError(f"{where}: {what}, found {divisor.min():g}; {remedy} for a column that is constant")
    return Scaling(shift, divisor)


def unread(stated: Mapping[str, str]) -> list[str]:
    """Return the keys of metadata that look like a threshold or a scaler, and are not read."""
    known = {*_THRESHOLDS, *_MEANS, *_SCALES, *_MINIMA, *_MAXIMA}
    return [key for key in stated if _key(key) not in known and any(word in _key(key) for word in _LIKELY)]


def _key(text: str) -> str:
    """Normalise a key: `Scaler.Mean` becomes `scaler_mean`."""
    return re.sub(r"[^a-z0-9_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower())


def _entry(stated: Mapping[str, str], keys: Sequence[str], where: str, option: str) -> tuple[str, str] | None:
    found = {key: value for key, value in stated.items() if _key(key) in keys}
    if len(set(found.values())) > 1:
        raise ExportError(
            f"{where}: its metadata has different values under {', '.join(found)}; choose one with {option}"
        )
    return next(iter(found.items()), None)


def _listed(text: str) -> Any:
    """Parse a list in JSON, or numbers separated by commas or spaces, with or without brackets."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [float(part) for part in text.strip("[]() \n").replace(",", " ").split()]
    except ValueError:
        return text


def _numbers(values: object, key: str, where: str, row_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an array that fits rows of `row_shape`."""
    listed = (
        list(values) if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) else [values]
    )
    usable = all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
        for value in listed
    )
    if not usable or not listed:
        raise ExportError(
            f"{where}: {key} must be finite numbers, found {str(values)[:60]!r}; pass --{key} NUMBER,NUMBER,..."
        )
    if len(listed) == 1:
        return np.asarray(listed, np.float64)
    first, last = row_shape[0] == len(listed), row_shape[-1] == len(listed)
    if not (first or last) or (first and last and len(row_shape) > 1):
        what = "column" if len(row_shape) == 1 else "channel, the first or the last axis"
        raise ExportError(
            f"{where}: {key} must be one number, or one for each {what} of rows of shape {row_shape}; found "
            f"{len(listed)}; correct --{key}"
        )
    numbers = np.asarray(listed, np.float64)
    return numbers if last else numbers.reshape(-1, *[1] * (len(row_shape) - 1))


# Two ONNX files, an encoder and a decoder, as one graph.


def join(encoder: ModelProto, decoder: ModelProto, embedding: str, outputs: Sequence[str]) -> ModelProto:
    """Join two models: the output `embedding` of `encoder` becomes the input of `decoder`.

    Args:
        encoder: the first model.
        decoder: the second model.
        embedding: an output of the encoder.
        outputs: names for the model's outputs: of the embedding, and of every output of the decoder in order.

    Raises:
        ExportError: the two need other versions of a set of operators.
    """
    opset = max(standard_opset(encoder), standard_opset(decoder))
    first, second = bring_down(encoder, opset), bring_down(decoder, opset)
    domains = {entry.domain: entry.version for entry in first.opset_import}
    for entry in second.opset_import:
        if domains.setdefault(entry.domain, entry.version) != entry.version:
            raise ExportError(
                f"the two files use versions {domains[entry.domain]} and {entry.version} of the operators of "
                f"{entry.domain!r}; export both with the same version"
            )
    taken = real_inputs(second)[0].name
    made = [value.name for value in second.graph.output]
    names = {taken: outputs[0], **dict(zip(made, outputs[1:], strict=True))}
    rename_values(first.graph, lambda name: outputs[0] if name == embedding else f"encoder/{name}")
    rename_values(second.graph, lambda name: names.get(name, f"decoder/{name}"))
    for prefix, model in (("encoder", first), ("decoder", second)):
        for node in nodes(model.graph):
            node.name = node.name and f"{prefix}/{node.name}"
    graph = helper.make_graph(
        [*first.graph.node, *second.graph.node],
        "autoencoder",
        real_inputs(first),
        [value for value in first.graph.output if value.name == outputs[0]] + list(second.graph.output),
        [*first.graph.initializer, *second.graph.initializer],
    )
    joined = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in domains.items()],
        ir_version=max(first.ir_version, second.ir_version),
    )
    joined.producer_name = encoder.producer_name
    stated = {entry.key: entry.value for model in (decoder, encoder) for entry in model.metadata_props}
    helper.set_model_props(joined, stated)
    return joined
