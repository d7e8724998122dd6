"""`adopt`: an autoencoder that is an ONNX file already, proven, as a bundle."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, compose, helper

from aetool.errors import AetoolError, ExportError
from aetool.export.batch import BATCH, has_dynamic_batch, lift_batch
from aetool.export.candidate import Candidate, Reference, Rows
from aetool.export.compatibility import NATIVE_OPSET, OLDEST_OPSET, bring_down, standard_opset, target
from aetool.export.inspection import require_sane
from aetool.export.module import columns, finite_scores, real_rows, score_rule, spread
from aetool.export.onnx_file import read_onnx
from aetool.export.publishing import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.scoring_nodes import add_scoring, rename
from aetool.export.threshold import choose_threshold
from aetool.model.roles import recognise
from aetool.model.scored import Scaling, Score
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import open_session


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """What an ONNX file does not say itself; each may also stand in its metadata, as JSON."""

    outputs: Sequence[str] = ()
    """Roles of the outputs in order, or ROLE=NAME; recognised by default."""
    mean: Sequence[float] | None = None
    """z = (x - mean) / scale goes in front of the file's graph."""
    scale: Sequence[float] | None = None
    score: Score = "mse"


def adopt(
    model: str | Path,
    path: str | Path,
    rows: NDArray[Any],
    *,
    names: Sequence[str] = (),
    options: ExportOptions | None = None,
    reading: AdoptOptions | None = None,
) -> Exported:
    """Make a bundle of an ONNX file, proven equal to running that file one row at a time.

    Args:
        model: the .onnx file; external data must lie beside it.
        path: the bundle's directory.
        rows: real normal rows, (rows, ...), as the file (or the scaling in front of it) expects them.
        names: of the columns, where the rows are those of a table.

    Raises:
        ExportError: not an autoencoder, or one that cannot be trusted; the message tells why.
        VerificationError: the bundle would not compute what the file does; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options, reading = options or ExportOptions(), reading or AdoptOptions()
    path, where = prepare(path, options), str(model)
    original = read_onnx(model)
    require_sane(original, where)
    source = _only_input(original, where)
    stated = {entry.key: entry.value for entry in original.metadata_props}
    scaling = _scaling(reading, stated, where)
    real = real_rows(rows, None)
    row_by_row = _RowByRow(original, source, scaling, reading, where, real)
    given_threshold = options.threshold
    if given_threshold is None and options.contamination is None:
        given_threshold = _stated_number(stated, "threshold", where)
    scores = finite_scores(row_by_row(real))
    threshold = choose_threshold(scores, options.contamination, given_threshold)
    graph = _graph(original, row_by_row, source, options, where)
    add_scoring(graph, score=reading.score, threshold=threshold.value, scaling=scaling, row_shape=real.shape[1:])
    candidate = Candidate(
        graph=graph,
        evaluate=row_by_row,
        reference="the file itself, one row at a time",
        rows=spread(real),
        threshold=threshold,
        score=score_rule(reading.score),
        features=columns(names, real),
        provenance={"adopted": Path(model).name, "producer": original.producer_name or "unknown"},
    )
    return publish_candidate(candidate, path, options)


class _RowByRow:
    """The original file as the reference: each row in a run of its own, the score in float64."""

    def __init__(
        self,
        model: ModelProto,
        source: str,
        scaling: Scaling | None,
        reading: AdoptOptions,
        where: str,
        rows: Rows,
    ) -> None:
        try:
            self.session = open_session(model.SerializeToString(), PROVIDERS["cpu"], where=where)
        except AetoolError as error:
            raise ExportError(str(error)) from error
        self.source, self.scaling, self.score = source, scaling, reading.score
        self.names = [output.name for output in self.session.get_outputs()]
        first = self._run(rows[:1], where)
        shaped = {name: value for name, value in first.items() if value.dtype.kind == "f"}
        roles = recognise(shaped, rows[:1], reading.outputs)  # type: ignore[arg-type]
        self.reconstruction, self.embedding = roles.reconstruction, roles.embedding

    def __call__(self, rows: Rows) -> Reference:
        z = rows.astype(np.float64)
        if self.scaling is not None:
            z = (z - self.scaling.mean) / self.scaling.scale
        single = z.astype(np.float32)
        runs = [self._run(single[i : i + 1], "the file") for i in range(len(single))]
        y = np.concatenate([run[self.reconstruction] for run in runs]).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            residual = (z - y).reshape(len(z), -1)
            score = {
                "mse": lambda: np.mean(residual**2, axis=1),
                "mae": lambda: np.mean(np.abs(residual), axis=1),
                "euclidean": lambda: np.sqrt(np.sum(residual**2, axis=1)),
            }[self.score]()
            if self.scaling is not None:
                y = y * self.scaling.scale + self.scaling.mean
        outputs: Reference = {"reconstruction": y, "score": score}
        if self.embedding is not None:
            outputs["embedding"] = np.concatenate([run[self.embedding] for run in runs]).astype(np.float64)
        return outputs

    def _run(self, row: Rows, where: str) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(self.names, self.session.run(self.names, {self.source: row}), strict=True))
        except Exception as error:  # onnxruntime's errors share no public base
            reason = " ".join(str(error).split())[:200]
            raise ExportError(
                f"{where}: onnxruntime cannot run it on a row of shape {row.shape}: {reason}; check --data"
            ) from error


def _graph(
    original: ModelProto, reference: _RowByRow, source: str, options: ExportOptions, where: str
) -> ModelProto:
    """z -> y (and embedding), with a free batch, in the opset wanted."""
    model = original if has_dynamic_batch(original) else lift_batch(original)
    found = standard_opset(model)
    if options.opset is None and options.onnxruntime_min is None:
        wanted, max_ir = max(found, OLDEST_OPSET), None
    else:
        wanted, max_ir = target(options.opset, options.onnxruntime_min)
        wanted = wanted if options.opset else min(max(found, OLDEST_OPSET), max(wanted, NATIVE_OPSET))
    model = bring_down(model, wanted, max_ir)
    model = compose.add_prefix(model, "model/")
    names = {f"model/{source}": "z", f"model/{reference.reconstruction}": "y"}
    keep = {"y"}
    if reference.embedding is not None:
        names[f"model/{reference.embedding}"] = "embedding"
        keep.add("embedding")
    rename(model, names)
    outputs = [value for value in model.graph.output if value.name in keep]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]
    helper.set_model_props(model, {})
    return model


def _only_input(model: ModelProto, where: str) -> str:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ExportError(
            f"{where}: one input is expected, found {len(inputs)} ({', '.join(i.name for i in inputs)}); "
            "aetool takes autoencoders of one tensor"
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        raise ExportError(
            f"{where}: input {inputs[0].name!r} must be float32, found {name}; export it with float32"
        )
    return str(inputs[0].name)


def _scaling(reading: AdoptOptions, stated: Mapping[str, str], where: str) -> Scaling | None:
    mean = reading.mean if reading.mean is not None else _stated_list(stated, "mean", where)
    scale = reading.scale if reading.scale is not None else _stated_list(stated, "scale", where)
    if mean is None and scale is None:
        return None
    if mean is None or scale is None or len(mean) != len(scale):
        raise ExportError(f"{where}: mean and scale are expected together, equally long; give both or neither")
    values = Scaling(np.asarray(mean, np.float64), np.asarray(scale, np.float64))
    if not (np.isfinite(values.mean).all() and np.isfinite(values.scale).all() and (values.scale > 0).all()):
        raise ExportError(
            f"{where}: mean and scale must be finite, scale above 0; found mean {mean}, scale {scale}"
        )
    return values


def _stated_number(stated: Mapping[str, str], key: str, where: str) -> float | None:
    if key not in stated:
        return None
    try:
        value = float(stated[key])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(
            f"{where}: its metadata say {key} = {stated[key]!r}, a finite number is expected; pass --{key}"
        )
    return value


def _stated_list(stated: Mapping[str, str], key: str, where: str) -> list[float] | None:
    if key not in stated:
        return None
    try:
        values = json.loads(stated[key])
    except ValueError:
        values = None
    usable = isinstance(values, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values
    )
    if not usable:
        raise ExportError(
            f"{where}: its metadata say {key} = {stated[key][:60]!r}, a JSON list of finite numbers is expected; "
            f"pass --{key}"
        )
    return [float(value) for value in values]
