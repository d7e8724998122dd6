"""`export_module`: make a proven bundle of any PyTorch autoencoder."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from aetool.bundle.baseline import Baseline, baseline_of, features_of
from aetool.bundle.golden import evenly
from aetool.bundle.manifest import Feature
from aetool.choices import Score
from aetool.errors import ExportError, InputError
from aetool.export._export_input import FEW, FLOAT32_MAX, ExportInput, Reference, RowCost, Rows, probes
from aetool.export._module_checks import (
    ModuleReference,
    reference_of,
    require_repeatable,
    require_rows_apart,
    some_rows,
    usable_sample,
)
from aetool.export._onnx_input import given_scaling
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.opset import target
from aetool.export.publish import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.threshold import Threshold, choose_threshold, rounding_of
from aetool.model.foreign.adapter import AdaptedModule, Latent
from aetool.model.foreign.scored_module import DEFINITIONS, InDouble, Scaling, ScoredModule
from aetool.suggest import few

GOLDEN_ROWS = 256
_MADE_ROWS = 64
_ROUNDED_ROWS = 256
"""Number of rows whose scores show the size of rounding errors."""
_COLUMNS = 8
"""Shown of a table."""
_WIDE_VARIANCES = 100
"""Times as much as another that a column may vary before large columns decide the score."""


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """Options for reading a module."""

    outputs: Sequence[str] = ()
    """Roles of its outputs in order (embedding, reconstruction, -), or ROLE=NAME; recognised by default."""
    encoder: str | None = None
    """Attribute that gives the embedding, where forward does not; "encoder" by default. Named without a decoder,
    it may also be a part whose output forward goes on with in its own way."""
    decoder: str | None = None
    """Attribute that gives the reconstruction of an embedding; "decoder" by default."""
    latent: Latent | None = None
    """"mean": a variational autoencoder without its sampling, from encode(x) -> (mean, log_variance)."""
    score: Score = "mse"
    """Distance of input and reconstruction."""
    mean: Sequence[float] | None = None
    """z = (x - mean) / scale goes in front of the module: one number, one a column, or one a channel."""
    scale: Sequence[float] | None = None
    minimum: Sequence[float] | None = None
    """Instead of mean and scale: z = (x - minimum) / (maximum - minimum)."""
    maximum: Sequence[float] | None = None


def export_module(
    module: nn.Module,
    path: str | Path,
    *,
    rows: NDArray[Any] | None = None,
    input_shape: Sequence[int] | None = None,
    names: Sequence[str] = (),
    options: ExportOptions | None = None,
    reading: ModuleOptions | None = None,
) -> Exported:
    """Export any PyTorch autoencoder as a bundle, verified like every other.

    A copy of `module` is exported, in eval mode, float32 and on the CPU; the module itself is left as it is.

    Args:
        module: forward takes (batch, ...) and gives the reconstruction, alone or among other outputs.
        path: the bundle's directory.
        rows: real normal rows, (rows, ...), in the units the module expects: they are compared, some become
            golden vectors, and the threshold comes from their scores.
        input_shape: shape of one row, instead of `rows`: random rows are compared, and unless a threshold is given
            only rows that are not numbers are flagged.
        names: column names, if the rows are a table's.
        options: name, threshold and opset of the bundle.
        reading: how the module is read: its outputs, parts and scaling.

    Raises:
        ExportError: the module is random, mixes the rows of a batch, or cannot be traced.
        VerificationError: the graphs do not compute what the module does; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options, reading = options or ExportOptions(), reading or ModuleOptions()
    path = prepare(path, options)
    real = real_rows(rows, input_shape)
    features = columns(names, real)
    scaling = given_scaling(reading.mean, reading.scale, reading.minimum, reading.maximum, real.shape[1:])
    with contextlib.redirect_stdout(sys.stderr):  # a forward may print, and stdout is for results
        with naming_columns(names):
            scored, sample = _scored(module, real, reading, scaling)
        options.progress("running the module on rows alone and together")
        require_repeatable(scored, sample, module)
        reference = reference_of(scored, sample)
        require_rows_apart(reference, sample, module)
        known = reference.scores(real)
        if rows is None and options.threshold is None:
            threshold = Threshold(FLOAT32_MAX, {"method": "none: no rows to choose it from"})
        else:
            threshold = threshold_for(reference, real, known, options.contamination, options.threshold)
        return publish_scored(
            scored,
            reference,
            sample,
            real,
            threshold,
            path,
            options,
            score=score_rule(reading.score, scaled=scaling is not None),
            features=features,
            figures={"rows": "real" if rows is not None else "random"},
            provenance={"module": type(module).__name__, "torch": torch.__version__},
            baseline=None if rows is None else given_baseline(real, features, known["score"]),
            notes=(*scored.network.notes, *notes_on(rows, real, features, scaling, threshold)),
        )


def _scored(
    module: nn.Module, real: Rows, reading: ModuleOptions, scaling: Scaling | None
) -> tuple[ScoredModule, Tensor]:
    """Return the module between its scaling and its score, and raw rows to trace it with."""
    standard = standardised(real, scaling)
    sample = usable_sample(module, standard)
    network = AdaptedModule(
        module,
        sample,
        outputs=reading.outputs,
        encoder=reading.encoder,
        decoder=reading.decoder,
        latent=reading.latent,
        others={
            probe.name: torch.from_numpy(probe.rows[: len(sample)])
            for probe in probes(standard, max(FEW, len(sample)))
        },
    )
    return ScoredModule(network, reading.score, scaling), some_rows(real)[: len(sample)]


def standardised(rows: Rows, scaling: Scaling | None) -> Rows:
    """Return rows as the model behind a scaling takes them."""
    if scaling is None:
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        return ((rows.astype(np.float64) - scaling.mean) / scaling.scale).astype(np.float32)


@contextlib.contextmanager
def naming_columns(names: Sequence[str]) -> Iterator[None]:
    """Add the columns that the model was given to errors inside the block."""
    try:
        yield
    except ExportError as error:
        if not names:
            raise
        raise ExportError(
            f"{error}. The {len(names)} columns given are {few(names, _COLUMNS)}; leave out with --drop what is "
            "no feature"
        ) from error


def notes_on(
    given: object, real: Rows, features: Sequence[Feature], scaling: Scaling | None, threshold: Threshold
) -> list[str]:
    """Return notes for the user on the rows."""
    notes = []
    if threshold.rule["method"].startswith("quantile"):
        notes.append(
            f"the threshold is to flag {threshold.rule['contamination']:.1%} of the {len(real):,} rows given; if "
            "the module was trained on them, it flags more of new ones: give normal rows that it has not seen"
        )
    if given is not None and scaling is None and real.ndim == 2:
        variance = np.var(np.where(np.isfinite(real), real, 0.0), axis=0, dtype=np.float64)
        varying = variance[variance > 0]
        if len(varying) > 1 and varying.max() > _WIDE_VARIANCES * varying.min():
            large, small = int(variance.argmax()), int(np.where(variance > 0, variance, np.inf).argmin())
            names = [feature.name for feature in features] or [f"column {i}" for i in range(real.shape[1])]
            notes.append(
                f"the score is an error in raw units, and {names[large]} varies "
                f"{variance[large] / variance[small]:.0e} times as much as {names[small]}: large columns "
                "decide it; if it was trained on scaled rows and does not scale them itself, give --mean and "
                "--scale, or --minimum and --maximum"
            )
    return notes


def publish_scored(
    scored: ScoredModule,
    reference: ModuleReference,
    sample: Tensor,
    real: Rows,
    threshold: Threshold,
    path: Path,
    options: ExportOptions,
    **facts: Any,
) -> Exported:
    """Trace a scored module and publish it, with a graph in float64 where float32 rounds too much to be proven.

    That is larger and slower. Rows far from zero for their spread, and modules that reconstruct almost perfectly,
    may need it.

    Args:
        scored: the module between its scaling and its score.
        reference: what the graph must equal.
        sample: raw rows to trace with.
        real: raw rows, some of which become golden vectors.
        threshold: highest normal score.
        path: the bundle's directory.
        options: options of the export.
        facts: other fields of `ExportInput`.
    """

    def traced(module: nn.Module) -> ModelProto:
        options.progress("tracing the module")
        opset, max_ir = target(options.opset, options.onnxruntime_min)
        return export_graph(WithDecision(module, threshold.value), sample, opset, max_ir)

    def in_double() -> ExportInput:
        figures = {**candidate.figures, "form": "float64 inside"}
        return replace(candidate, graph=traced(InDouble(scored)), figures=figures)

    candidate = ExportInput(
        graph=traced(scored.in_float32()),
        evaluate=reference.evaluate,
        in_float32=reference.in_float32,
        reference=reference.name,
        rows=spread(real, reference.cost),
        threshold=threshold,
        cost=reference.cost,
        **facts,
    )
    return publish_candidate(candidate, path, options, otherwise=in_double)


def columns(names: Sequence[str], rows: Rows) -> tuple[Feature, ...]:
    """Return the names as features of `rows`.

    Raises:
        InputError: not a distinct name for each column.
    """
    if names and (rows.shape[1:] != (len(names),) or len(set(names)) != len(names)):
        raise InputError(
            f"names: expected distinct names for the columns of rows of shape {rows.shape}, found {len(names)}, "
            f"{len(set(names))} distinct; leave them out if the rows are not a table"
        )
    return tuple(Feature(name) for name in names)


def given_baseline(rows: Rows, features: Sequence[Feature], scores: NDArray[np.float64]) -> Baseline:
    """Return the baseline of the rows that a bundle is made with; for images and windows, of the scores alone."""
    names = [feature.name for feature in features]
    if rows.ndim == 2 and not names:
        names = [f"X_{i}" for i in range(rows.shape[1])]
    binned = features_of(rows, names, {}) if names else ()
    return baseline_of("rows that it was exported with", len(rows), binned, scores)


def finite_scores(outputs: Reference) -> NDArray[np.float64]:
    """Return the finite scores in ascending order; a row that holds NaN is left out."""
    scores: NDArray[np.float64] = outputs["score"]
    return np.sort(scores[np.isfinite(scores)])


def threshold_for(
    reference: Any, real: Rows, known: Reference, contamination: float | None, given: float | None
) -> Threshold:
    """Return the threshold chosen from `known`, the scores of `real`; `reference` has `in_float32` and `cost`."""
    rounded = reference.in_float32(real[: reference.cost.rows(_ROUNDED_ROWS)])
    scores, rounding = finite_scores(known), rounding_of(known, rounded)
    return choose_threshold(scores, contamination, given, rows="the rows given", rounding=rounding)


def spread(rows: Rows, cost: RowCost) -> Rows:
    """Return golden rows: evenly from all of them, as many as their cost allows."""
    return rows[evenly(len(rows), cost.rows(GOLDEN_ROWS))]


def score_rule(score: Score, *, scaled: bool = False) -> dict[str, Any]:
    """Return the manifest's definition of a score."""
    definition = DEFINITIONS[score].replace("the input", "the scaled input") if scaled else DEFINITIONS[score]
    return {
        "kind": score,
        "definition": definition,
        "scaled": scaled,
        "direction": "higher is more abnormal",
        "is_anomaly": "not (score <= threshold)",
    }


def real_rows(rows: NDArray[Any] | None, input_shape: Sequence[int] | None) -> Rows:
    """Return the rows to compare on, float32: those given, or random ones of `input_shape`."""
    if rows is None:
        if not input_shape or not all(isinstance(size, int) and size >= 1 for size in input_shape):
            raise InputError(f"input shape: expected sizes of 1 or more such as 3,32,32, found {input_shape}")
        return np.random.default_rng(0).standard_normal((_MADE_ROWS, *input_shape)).astype(np.float32)
    array = np.asarray(rows)
    if array.dtype.kind not in "biuf":
        raise InputError(f"rows: expected numbers, found {array.dtype!s:.40}; give an array of float32")
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, dtype=np.float32)
    if floats.ndim < 2 or floats.size == 0:
        raise InputError(
            f"rows: expected one or more rows, (rows, ...), found shape {floats.shape}; give real rows"
        )
    return floats
