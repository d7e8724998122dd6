"""`adopt`: an autoencoder that is an ONNX file already, proven, as a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from aetool.errors import AetoolError, ExportError
from aetool.export.batch import BATCH, has_free_input, lift_batch, real_inputs, require_free_or_one
from aetool.export.candidate import Candidate, Reference, Rows
from aetool.export.compatibility import OLDEST_OPSET, bring_down, limits, standard_opset, target
from aetool.export.evidence import some_rows
from aetool.export.inspection import rename_values, require_sane
from aetool.export.module import columns, finite_scores, given_baseline, real_rows, score_rule, spread
from aetool.export.onnx_file import read_onnx
from aetool.export.publishing import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.scoring_nodes import add_scoring
from aetool.export.stated import stated_scaling, stated_threshold
from aetool.export.threshold import choose_threshold
from aetool.model.roles import Roles, recognise
from aetool.model.scored import SCORES, SMALLEST, Scaling, Score
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import open_session

OLDEST_IR = 8
"""In which weights need not be inputs; every onnxruntime of the table loads it."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """What an ONNX file does not say itself; mean and scale may also stand in its metadata, as JSON lists."""

    outputs: Sequence[str] = ()
    """Roles of the outputs in order, or ROLE=NAME; recognised by default."""
    mean: Sequence[float] | None = None
    """z = (x - mean) / scale goes in front of the file's graph; a number for each column, or one for all."""
    scale: Sequence[float] | None = None
    minimum: Sequence[float] | None = None
    """Instead of mean and scale: z = (x - minimum) / (maximum - minimum)."""
    maximum: Sequence[float] | None = None
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
    require_free_or_one(original)
    stated = {entry.key: entry.value for entry in original.metadata_props}
    if "bundle" in stated and original.producer_name == "aetool":
        raise ExportError(
            f"{where}: is a graph of an aetool bundle already; use the bundle {stated.get('name', '')}"
        )
    if reading.score not in SCORES:
        raise ExportError(
            f"score: expected one of {', '.join(SCORES)}, found {reading.score!r}; choose one of them"
        )
    real = real_rows(rows, None)
    features = columns(names, real)
    scaling = stated_scaling(
        reading.mean, reading.scale, reading.minimum, reading.maximum, stated, where, real.shape[1:]
    )
    file = _File(original, source, where)
    sample = _standardised(some_rows(real).numpy(), scaling)
    file.run(sample[:1])  # refuses rows that it cannot take, before anything else is blamed
    graph, together, found = _for_any_batch(_in_opset(original, options), sample, source, where)
    roles = _roles(found, sample, reading, where)
    reference = _RowByRow(file, together, roles, scaling, reading.score)
    given = options.threshold
    if given is None and options.contamination is None:
        given = stated_threshold(stated, where)
    known = reference(real)
    threshold = choose_threshold(finite_scores(known), options.contamination, given)
    _name_roles(graph, source, roles, found, scaled=scaling is not None)
    add_scoring(graph, score=reading.score, threshold=threshold.value, scaling=scaling, row_shape=real.shape[1:])
    candidate = Candidate(
        graph=graph,
        evaluate=reference,
        in_float32=reference.in_float32,
        reference="the file itself, one row at a time",
        rows=spread(real),
        threshold=threshold,
        score=score_rule(reading.score),
        features=features,
        provenance={"adopted": Path(model).name, "producer": original.producer_name or "unknown"},
        baseline=given_baseline(real, features, known["score"]),
    )
    return publish_candidate(candidate, path, options)


class _File:
    """A model in a session of its own."""

    def __init__(self, model: ModelProto, source: str, where: str) -> None:
        try:
            self.session = open_session(model.SerializeToString(), PROVIDERS["cpu"], where=where)
        except AetoolError as error:
            raise ExportError(str(error)) from error
        self.source, self.where = source, where
        self.names = [output.name for output in self.session.get_outputs()]

    def run(self, rows: Rows) -> Arrays:
        try:
            found = self.session.run(self.names, {self.source: rows})
        except Exception as error:  # onnxruntime's errors share no public base
            reason = " ".join(str(error).split())[:200]
            raise ExportError(
                f"{self.where}: onnxruntime cannot run it on rows of shape {rows.shape}: {reason}; check --data"
            ) from error
        # Sequences and maps, which classifiers give, are no arrays.
        return {
            name: value for name, value in zip(self.names, found, strict=True) if isinstance(value, np.ndarray)
        }


@dataclass(frozen=True, slots=True)
class _RowByRow:
    """The original file as the reference: each row in a run of its own, the score in float64."""

    file: _File
    together: _File
    """The same with a free batch."""
    roles: Roles
    scaling: Scaling | None
    score: Score

    def __call__(self, rows: Rows) -> Reference:
        single = _standardised(rows, self.scaling)
        runs = [self.file.run(single[i : i + 1]) for i in range(len(single))]
        found = {name: np.concatenate([run[name] for run in runs]) for name in self._names}
        return self._scored(rows, found, np.float64)

    def in_float32(self, rows: Rows) -> Reference:
        """Return the same of many rows in one run, the score in float32: what rounding alone explains."""
        return self._scored(rows, self.together.run(_standardised(rows, self.scaling)), np.float32)

    @property
    def _names(self) -> list[str]:
        return [name for name in (self.roles.reconstruction, self.roles.embedding) if name is not None]

    def _scored(self, rows: Rows, found: Arrays, kind: type[np.floating[Any]]) -> Reference:
        y = found[self.roles.reconstruction].astype(kind)
        z = rows.astype(kind)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scaling is not None:
                z = ((rows - self.scaling.mean) / self.scaling.scale).astype(kind)
            residual = (z - y).reshape(len(z), -1)
            distance = np.abs(residual) if self.score == "mae" else residual**2
            if self.score == "euclidean":
                score = np.sqrt(np.sum(distance, axis=1))
                contribution = distance / np.maximum(score, SMALLEST)[:, None]
            else:
                score = np.mean(distance, axis=1)
                contribution = distance / distance.shape[1]
            if self.scaling is not None:
                y = y * self.scaling.scale + self.scaling.mean
        outputs: Reference = {"reconstruction": y, "score": score, "contribution": contribution.reshape(z.shape)}
        if self.roles.embedding is not None:
            outputs["embedding"] = found[self.roles.embedding].astype(np.float64)
        return outputs


def _standardised(rows: Rows, scaling: Scaling | None) -> Rows:
    """As the file's graph takes them."""
    if scaling is None:
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        z: Rows = ((rows.astype(np.float64) - scaling.mean) / scaling.scale).astype(np.float32)
    return z


def _only_input(model: ModelProto, where: str) -> str:
    inputs = real_inputs(model)
    if len(inputs) != 1:
        raise ExportError(
            f"{where}: one input is expected, found {len(inputs)} ({', '.join(i.name for i in inputs)}); "
            "aetool takes autoencoders of one tensor"
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        # Not cast: whoever fed it float64 or codes would get other results from the bundle, and none would tell.
        name = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        raise ExportError(
            f"{where}: input {inputs[0].name!r} must be float32, found {name}; export it with float32"
        )
    return str(inputs[0].name)


def _in_opset(original: ModelProto, options: ExportOptions) -> ModelProto:
    """The file in the opset wanted; its own where nothing is asked for."""
    wanted, max_ir = max(standard_opset(original), OLDEST_OPSET), None
    if options.opset is not None or options.onnxruntime_min is not None:
        asked, max_ir = target(options.opset, options.onnxruntime_min)
        newest = limits(options.onnxruntime_min)[0] if options.onnxruntime_min is not None else asked
        wanted = min(wanted, newest) if options.opset is None else asked
    model = bring_down(original, wanted)
    model.ir_version = max(model.ir_version, OLDEST_IR)
    return bring_down(model, wanted, max_ir)


def _for_any_batch(model: ModelProto, sample: Rows, source: str, where: str) -> tuple[ModelProto, _File, Arrays]:
    """`model` with a free batch, in a session, and what it gives for the sample, several rows at once."""
    if has_free_input(model):
        try:
            file = _File(model, source, where)
            return model, file, file.run(sample)
        except ExportError:  # it says that any batch will do, and holds a constant that knows better
            pass
    lifted = lift_batch(model)
    try:
        file = _File(lifted, source, where)
        return lifted, file, file.run(sample)
    except ExportError as error:
        raise ExportError(
            f"{where}: takes one row at a time, and its batch cannot be freed ({error}); export it with a dynamic "
            "batch"
        ) from error


def _roles(found: Arrays, sample: Rows, reading: AdoptOptions, where: str) -> Roles:
    numbers = {name: value for name, value in found.items() if value.dtype == np.float32}
    if not numbers:
        raise ExportError(f"{where}: an output of float32 numbers is expected, found none; it is no autoencoder")
    try:
        return recognise(numbers, sample, reading.outputs)  # type: ignore[arg-type]
    except ExportError as error:
        raise ExportError(f"{where}: {error}") from error


def _name_roles(graph: ModelProto, source: str, roles: Roles, found: Arrays, *, scaled: bool) -> None:
    """The names that `add_scoring` goes by, everything else out of their way; one input, the outputs needed."""
    z, y = ("z", "y") if scaled else ("features", "reconstruction")
    outputs = {roles.reconstruction: y}
    if roles.embedding is not None:
        outputs[roles.embedding] = "embedding"
    made = {name for node in graph.graph.node for name in node.output}
    for output in [name for name in outputs if name not in made]:  # the input itself, or a weight
        same = f"same {output}"
        while same in made:
            same += "_"
        graph.graph.node.append(helper.make_node("Identity", [output], [same]))
        outputs[same] = outputs.pop(output)
    fixed = {source: z, **outputs}
    rename_values(graph.graph, lambda name: fixed.get(name, f"model/{name}"))
    del graph.graph.input[:], graph.graph.output[:], graph.graph.value_info[:]
    if roles.embedding is not None:
        shape = [BATCH, *found[roles.embedding].shape[1:]]
        graph.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape))
    helper.set_model_props(graph, {})
