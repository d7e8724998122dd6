"""`adopt`: make a proven bundle of an autoencoder that is an ONNX file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from aetool.checks.first_run import crash_of
from aetool.choices import SCORES, Score
from aetool.errors import AetoolError, ExportError, VerificationError, reason_of
from aetool.export._dynamic_batch import BATCH, has_free_input, lift_batch, real_inputs, require_free_or_one
from aetool.export._export_input import ExportInput, Reference, RowCost, Rows
from aetool.export._graph_checks import nodes, rename_values, require_sane, tensors
from aetool.export._module import (
    columns,
    given_baseline,
    naming_columns,
    notes_on,
    real_rows,
    score_rule,
    spread,
    standardised,
    threshold_for,
)
from aetool.export._module_checks import cost_of, some_rows
from aetool.export._onnx_input import FAMILIES, join, read_onnx, stated_scaling, stated_threshold, unread
from aetool.export._scoring_nodes import add_scoring, in_another_shape, why_none_fits
from aetool.export.opset import OLDEST_OPSET, bring_down, limits, standard_opset, target
from aetool.export.publish import Exported, ExportOptions, prepare, publish_candidate
from aetool.model.foreign.output_roles import Roles, recognise
from aetool.model.foreign.scored_module import SMALLEST, Scaling
from aetool.runtime.ort import open_session, require_memory
from aetool.runtime.providers import PROVIDERS

OPTIONAL = ("decoder", "explainer")
"""Graphs without which a bundle is one, where they cannot be proven."""
_DYNAMIC = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat"}
)
_EIGHT_BITS = frozenset(
    {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"}
)
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_OLDEST_IR = 8
"""Oldest IR version in which weights need not be inputs; every onnxruntime of the table loads it."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """Facts that an ONNX file may lack; mean and scale may also be in its metadata, as JSON lists."""

    outputs: Sequence[str] = ()
    """Roles of the outputs in order, or ROLE=NAME; recognised by default."""
    mean: Sequence[float] | None = None
    """z = (x - mean) / scale goes in front of the file's graph; one number, or one for each column or channel."""
    scale: Sequence[float] | None = None
    minimum: Sequence[float] | None = None
    """Instead of mean and scale: z = (x - minimum) / (maximum - minimum)."""
    maximum: Sequence[float] | None = None
    score: Score = "mse"
    decoder: str | Path | None = None
    """The .onnx file of the decoder, where the model is the encoder alone."""


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
        names: column names, if the rows are a table's.
        options: name, threshold and opset of the bundle.
        reading: facts that the file lacks.

    Raises:
        ExportError: not an autoencoder, or one that cannot be trusted; the message gives the reason.
        VerificationError: the bundle would not compute what the file does; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options, reading = options or ExportOptions(), reading or AdoptOptions()
    path, where = prepare(path, options), str(model)
    if reading.score not in SCORES:
        raise ExportError(
            f"score: expected one of {', '.join(SCORES)}, found {reading.score!r}; choose one of them"
        )
    real = real_rows(rows, None)
    features = columns(names, real)
    original = _read(model)
    stated = {entry.key: entry.value for entry in original.metadata_props}
    scaling = stated_scaling(
        {key: getattr(reading, key) for keys in FAMILIES for key in keys}, stated, where, real.shape[1:]
    )
    sample = standardised(some_rows(real).numpy(), scaling)
    if reading.decoder is None:
        file: _Runs = _File(original, where, sample)
    else:
        original, file = _joined(original, _read(reading.decoder), where, str(reading.decoder), sample)
    source = real_inputs(original)[0].name
    with naming_columns(names):
        graph, together, found = _for_any_batch(_in_opset(original, options), sample, where)
    flat = in_another_shape(found, sample, reading.outputs)
    if flat is not None:
        found[flat] = found[flat].reshape(sample.shape)
    roles = _roles(found, sample, reading, where)
    cost = cost_of(graph, sample.shape[1:])
    reference = _RowByRow(file, together, roles, scaling, reading.score, cost)
    given = options.threshold
    if given is None and options.contamination is None:
        given = stated_threshold(stated, where)
    known = reference.scores(real)
    threshold = threshold_for(reference, real, known, options.contamination, given)
    notes = [*_notes(stated, scaling, options, reading), *notes_on(rows, real, features, scaling, threshold)]
    if roles.embedding is None and not reading.outputs:
        notes.append(_no_embedding(found, roles))
    if flat is not None:
        _reshape(graph, flat, sample.shape[1:])
        notes.append(f"its output {flat!r} is reshaped to rows of shape {sample.shape[1:]}")
    _name_roles(graph, source, roles, found, scaled=scaling is not None)
    add_scoring(graph, score=reading.score, threshold=threshold.value, scaling=scaling, row_shape=real.shape[1:])
    candidate = ExportInput(
        graph=graph,
        evaluate=reference,
        in_float32=reference.in_float32,
        reference="the file itself, one row at a time",
        rows=spread(real, cost),
        threshold=threshold,
        score=score_rule(reading.score, scaled=scaling is not None),
        features=features,
        provenance={
            "adopted": " and ".join(Path(file).name for file in (model, reading.decoder) if file is not None),
            "producer": original.producer_name or "unknown",
        },
        baseline=given_baseline(real, features, known["score"]),
        cost=cost,
        notes=tuple(notes),
    )
    try:
        return publish_candidate(candidate, path, options, optional=OPTIONAL)
    except VerificationError as error:
        raise VerificationError(f"{error}{_coarse_remedy(original)}") from error


def _read(model: str | Path) -> ModelProto:
    """Read a file and require that it is a function of one tensor of rows, as far as its bytes show."""
    original, where = read_onnx(model), str(model)
    require_sane(original, where)
    _require_one_input(original, where)
    require_free_or_one(original)
    stated = {entry.key: entry.value for entry in original.metadata_props}
    if "bundle" in stated and original.producer_name == "aetool":
        raise ExportError(
            f"{where}: is a graph of an aetool bundle already; use the bundle {stated.get('name', '')}"
        )
    return original


def _joined(
    encoder: ModelProto, decoder: ModelProto, where: str, beside: str, sample: Rows
) -> tuple[ModelProto, "_Pair"]:
    """Join encoder and decoder to one model; return it and the two files as its reference."""
    first = _File(encoder, where, sample)
    refused = []
    for name, value in first.run(sample[:1]).items():
        try:
            second = _File(decoder, beside, value)
        except ExportError as error:
            refused.append(f"{name} {value.shape}: {error}")
            continue
        pair = _Pair(first, second, name)
        return join(encoder, decoder, name, pair.names), pair
    raise ExportError(
        f"{beside}: takes no output of {where} ({'; '.join(refused) or 'it has none'}); give the encoder, and "
        "with --decoder its own decoder"
    )


class _Runs(Protocol):
    """A runner of the user's files, one row at a time."""

    def run(self, rows: Rows) -> Arrays:
        """Return the outputs by name."""
        ...


class _File:
    """A model in a session of its own."""

    def __init__(self, model: ModelProto, where: str, rows: Rows, *, apart: bool = True) -> None:
        """Open a session and try `rows`, in a child process first if `apart`."""
        self.where, self.source = where, real_inputs(model)[0].name
        content = model.SerializeToString()
        if apart and (how := crash_of(content, rows)) is not None:
            raise ExportError(
                f"{where}: onnxruntime {how} on rows of shape {rows.shape}; export the model in another way, as "
                "float32 or with another opset, or update onnxruntime"
            )
        try:
            self.session = open_session(content, PROVIDERS["cpu"], where=where)
        except AetoolError as error:
            raise ExportError(str(error)) from error
        self.names = [output.name for output in self.session.get_outputs()]
        self.run(rows[:1])  # refuses rows that it cannot take, before anything else is blamed

    def run(self, rows: Rows) -> Arrays:
        try:
            found = self.session.run(self.names, {self.source: rows})
        except Exception as error:  # onnxruntime's errors share no public base
            require_memory(error, f"{self.where}: {len(rows)} rows of shape {rows.shape[1:]}")
            raise ExportError(self._refusal(rows, reason_of(error, 200))) from error
        # Sequences and maps, which classifiers give, are no arrays.
        return {
            name: value for name, value in zip(self.names, found, strict=True) if isinstance(value, np.ndarray)
        }

    def _refusal(self, rows: Rows, reason: str) -> str:
        takes, gives = self.session.get_inputs()[0].shape[1:], [o.shape[1:] for o in self.session.get_outputs()]
        if takes != list(rows.shape[1:]) and list(rows.shape[1:]) in gives:
            return (
                f"{self.where}: takes rows of shape {tuple(takes)} and gives {rows.shape[1:]}, that of --data: it "
                "is half an autoencoder, the decoder; give the encoder's file, and this one with --decoder"
            )
        return f"{self.where}: onnxruntime cannot run it on rows of shape {rows.shape}: {reason}; check --data"


class _Pair:
    """An encoder and its decoder, one after the other."""

    def __init__(self, encoder: _File, decoder: _File, embedding: str) -> None:
        self.encoder, self.decoder, self.embedding = encoder, decoder, embedding
        ends = decoder.names
        self.names = ["embedding", *(["reconstruction"] if len(ends) == 1 else [f"decoded {end}" for end in ends])]

    def run(self, rows: Rows) -> Arrays:
        embedding = self.encoder.run(rows)[self.embedding]
        return dict(zip(self.names, [embedding, *self.decoder.run(embedding).values()], strict=True))


@dataclass(frozen=True, slots=True)
class _RowByRow:
    """The original file as the reference: each row in a run of its own, the score in float64."""

    file: _Runs
    together: "_File"
    """The same with a free batch."""
    roles: Roles
    scaling: Scaling | None
    score: Score
    cost: RowCost

    def __call__(self, rows: Rows) -> Reference:
        single = standardised(rows, self.scaling)
        runs = [self.file.run(single[i : i + 1]) for i in range(len(single))]
        found = {
            name: np.concatenate([self._of_rows(run, name, rows[:1]) for run in runs]) for name in self._names
        }
        return self._scored(rows, found, np.float64)

    def in_float32(self, rows: Rows) -> Reference:
        """Return the same of many rows in one run, the score in float32: what rounding alone explains."""
        run = self.together.run(standardised(rows, self.scaling))
        return self._scored(rows, {name: self._of_rows(run, name, rows) for name in self._names}, np.float32)

    def _of_rows(self, run: Arrays, name: str, rows: Rows) -> NDArray[Any]:
        """Return an output; a reconstruction in another shape is reshaped like the rows."""
        return run[name].reshape(rows.shape) if name == self.roles.reconstruction else run[name]

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
            total = np.sum(distance, axis=1)
            if self.score == "euclidean":
                score = np.sqrt(total)
                contribution = distance / np.maximum(score, SMALLEST)[:, None]
            else:
                score = total / distance.shape[1]
                contribution = distance / distance.shape[1]
            if self.scaling is not None:
                y = y * self.scaling.scale + self.scaling.mean
        outputs: Reference = {"reconstruction": y, "score": score, "contribution": contribution.reshape(z.shape)}
        if self.roles.embedding is not None:
            outputs["embedding"] = found[self.roles.embedding].astype(np.float64)
        return outputs

    def scores(self, rows: Rows) -> Reference:
        """Return the scores of many rows, without holding the other outputs of all of them."""
        block = self.cost.batch
        parts = [self(rows[i : i + block])["score"] for i in range(0, len(rows), block)]
        return {"score": np.concatenate(parts)}


def _require_one_input(model: ModelProto, where: str) -> None:
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
        kept = ", or convert it with keep_io_types" if kind == TensorProto.FLOAT16 else ""
        raise ExportError(
            f"{where}: input {inputs[0].name!r} must be float32, found {name}; export it with float32{kept}"
        )
    if (node := next((node for node in nodes(model.graph) if node.op_type in _DYNAMIC), None)) is not None:
        raise ExportError(
            f"{where}: is quantized dynamically (node {node.name!r}, {node.op_type}): a row's steps depend on the "
            "other rows of its batch, and so would its score; adopt the float32 file that it was made from, then "
            "aetool quantize"
        )


def _in_opset(original: ModelProto, options: ExportOptions) -> ModelProto:
    """Return the file in the requested opset; unchanged if none is requested."""
    wanted, max_ir = max(standard_opset(original), OLDEST_OPSET), None
    if options.opset is not None or options.onnxruntime_min is not None:
        asked, max_ir = target(options.opset, options.onnxruntime_min)
        newest = limits(options.onnxruntime_min)[0] if options.onnxruntime_min is not None else asked
        wanted = min(wanted, newest) if options.opset is None else asked
    model = bring_down(original, wanted)
    model.ir_version = max(model.ir_version, _OLDEST_IR)
    return bring_down(model, wanted, max_ir)


def _for_any_batch(model: ModelProto, sample: Rows, where: str) -> tuple[ModelProto, _File, Arrays]:
    """Return `model` with a free batch, its session, and its outputs for the sample, several rows at once."""
    if has_free_input(model):
        try:
            file = _File(model, where, sample, apart=False)  # it was tried with the file itself
            return model, file, file.run(sample)
        except ExportError:  # it says that any batch will do, and holds a constant that knows better
            pass
    lifted = lift_batch(model)
    try:
        file = _File(lifted, where, sample)
        return lifted, file, file.run(sample)
    except ExportError as error:
        raise ExportError(
            f"{where}: takes one row at a time, and its batch cannot be made dynamic ({error}); export it with "
            "a dynamic batch"
        ) from error


def _roles(found: Arrays, sample: Rows, reading: AdoptOptions, where: str) -> Roles:
    numbers = {name: value for name, value in found.items() if value.dtype == np.float32}
    if not numbers:
        raise ExportError(
            f"{where}: an output of float32 numbers is expected, found none; it is not an autoencoder"
        )
    if (why := why_none_fits(numbers, sample)) is not None:
        raise ExportError(f"{where}: {why}")
    try:
        return recognise(numbers, sample, reading.outputs)  # type: ignore[arg-type]
    except ExportError as error:
        raise ExportError(f"{where}: {error}") from error


def _reshape(graph: ModelProto, output: str, row: tuple[int, ...]) -> None:
    """Give the numbers of an output the shape of rows, under its own name."""
    flat, shape = f"{output}/in another shape", f"{output}/shape of rows"
    rename_values(graph.graph, lambda name: flat if name == output else name)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([-1, *row], np.int64), shape))
    graph.graph.node.append(helper.make_node("Reshape", [flat, shape], [output]))


def _coarse_remedy(model: ModelProto) -> str:
    """Return advice for a low-precision file that does not agree with itself; empty for others."""
    kinds = {node.op_type for node in nodes(model.graph)}
    if kinds & _EIGHT_BITS or any(t.data_type in _HALVES for t in tensors(model.graph)):
        return (
            ". How its 8 or 16 bits round depends on the batch and the machine: adopt the float32 file that it "
            "was made from, then aetool quantize"
        )
    return ""


def _notes(
    stated: Mapping[str, str], scaling: Scaling | None, options: ExportOptions, reading: AdoptOptions
) -> Iterator[str]:
    """Yield notes on what was read from the metadata, and what was ignored."""
    if scaling is not None and all(getattr(reading, key) is None for keys in FAMILIES for key in keys):
        yield "the scaling in its metadata is included"
    if options.threshold is None and options.contamination is None and stated_threshold(stated, "") is not None:
        yield "the threshold in its metadata is used"
    if keys := unread(stated):
        yield f"{', '.join(map(repr, keys))} in its metadata: not read; pass --threshold, or --mean and --scale"


def _no_embedding(found: Arrays, roles: Roles) -> str:
    """Return advice on getting the embedding that was not found."""
    others = [name for name, value in found.items() if name != roles.reconstruction and value.ndim >= 2]
    if others:
        return (
            f"no embedding: output {' or '.join(others)} may be the embedding; name it, such as --outputs "
            f"reconstruction={roles.reconstruction},embedding={others[0]}"
        )
    return "no embedding: the file returns only the reconstruction; --outputs reconstruction leaves this note out"


def _name_roles(graph: ModelProto, source: str, roles: Roles, found: Arrays, *, scaled: bool) -> None:
    """Rename outputs as `add_scoring` expects and the others out of the way; leave one input and the needed
    outputs."""
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
