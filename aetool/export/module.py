"""`export_module`: any PyTorch autoencoder, proven, as a bundle."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from aetool.baseline import Baseline, baseline_of, features_of
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export.candidate import FLOAT32_MAX, Candidate, Reference, Rows
from aetool.export.compatibility import target
from aetool.export.evidence import reference_of, require_function, usable_sample
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.publishing import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.threshold import Threshold, choose_threshold
from aetool.manifest import Feature
from aetool.model.adapter import AdaptedModule, Latent
from aetool.model.scored import SCORES, InDouble, Score, ScoredModule

GOLDEN_ROWS = 256
MADE_ROWS = 64


@dataclass(frozen=True, slots=True)
class ModuleOptions:
    """How to read a module."""

    outputs: Sequence[str] = ()
    """Roles of its outputs in order (embedding, reconstruction, -), or ROLE=NAME; recognised by default."""
    encoder: str = "encoder"
    """Attribute that gives the embedding, where forward does not."""
    decoder: str = "decoder"
    """Attribute that gives the reconstruction of an embedding."""
    latent: Latent | None = None
    """"mean": a variational autoencoder without its sampling, from encode(x) -> (mean, log_variance)."""
    score: Score = "mse"
    """How far input and reconstruction are apart."""


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
        input_shape: of one row, instead of `rows`: random rows are compared, and unless a threshold is given
            only rows that are not numbers are flagged.
        names: of the columns, where the rows are those of a table.

    Raises:
        ExportError: the module is random, mixes the rows of a batch, or cannot be traced.
        VerificationError: the graphs do not compute what the module does; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options, reading = options or ExportOptions(), reading or ModuleOptions()
    path = prepare(path, options)
    real = real_rows(rows, input_shape)
    features = columns(names, real)
    with contextlib.redirect_stdout(sys.stderr):  # a forward may print, and stdout is for results
        sample = usable_sample(module, real)
        scored = _scored(module, sample, reading)
        evaluate, reference = reference_of(scored, sample)
        if rows is None and options.threshold is None:
            threshold = Threshold(FLOAT32_MAX, {"method": "none: no rows to choose it from"})
        else:
            scores = finite_scores(evaluate(real))
            threshold = choose_threshold(scores, options.contamination, options.threshold)
        candidate = Candidate(
            graph=traced(scored.in_float32(), threshold, sample, options),
            evaluate=evaluate,
            reference=reference,
            rows=spread(real),
            threshold=threshold,
            score=score_rule(reading.score),
            features=features,
            provenance={"module": type(module).__name__, "torch": torch.__version__},
            baseline=None if rows is None else given_baseline(real, features, evaluate(real)["score"]),
        )
        return publish_scored(candidate, scored, sample, path, options)


def _scored(module: nn.Module, sample: Tensor, reading: ModuleOptions) -> ScoredModule:
    network = AdaptedModule(
        module,
        sample,
        outputs=reading.outputs,
        encoder=reading.encoder,
        decoder=reading.decoder,
        latent=reading.latent,
    )
    scored = ScoredModule(network, reading.score)
    require_function(scored, sample, module)
    return scored


def traced(module: nn.Module, threshold: Threshold, sample: Tensor, options: ExportOptions) -> ModelProto:
    """One graph of a scored module, in the opset that the options ask for, with a free batch."""
    opset, max_ir = target(options.opset, options.onnxruntime_min)
    return export_graph(WithDecision(module, threshold.value), sample, opset, max_ir)


def publish_scored(
    candidate: Candidate, scored: ScoredModule, sample: Tensor, path: Path, options: ExportOptions
) -> Exported:
    """`publish_candidate`, with a graph in float64 where float32 rounds too much to be proven.

    Rows far from zero for their spread and deep networks need it; it is larger and slower.
    """
    try:
        return publish_candidate(candidate, path, options)
    except VerificationError as error:
        try:
            graph = traced(InDouble(scored), candidate.threshold, sample, options)
            wide = replace(candidate, graph=graph, figures={**candidate.figures, "form": "float64 inside"})
            return publish_candidate(wide, path, options)
        except (ExportError, VerificationError):  # rounding was not to blame, or onnxruntime has no such operator
            raise error from None


def columns(names: Sequence[str], rows: Rows) -> tuple[Feature, ...]:
    """The names as features of `rows`.

    Raises:
        InputError: not a distinct name for each column.
    """
    if names and (rows.shape[1:] != (len(names),) or len(set(names)) != len(names)):
        raise InputError(
            f"names: expected distinct names for the columns of rows of shape {rows.shape}, found {len(names)}, "
            f"{len(set(names))} distinct; leave them out where the rows are no table's"
        )
    return tuple(Feature(name) for name in names)


def given_baseline(rows: Rows, features: Sequence[Feature], scores: NDArray[np.float64]) -> Baseline:
    """Of the rows that a bundle is made with; images and windows leave their scores alone."""
    names = [feature.name for feature in features]
    if rows.ndim == 2 and not names:
        names = [f"X_{i}" for i in range(rows.shape[1])]
    binned = features_of(rows, names, {}) if names else ()
    return baseline_of("rows that it was exported with", len(rows), binned, scores)


def finite_scores(outputs: Reference) -> NDArray[np.float64]:
    """Scores in ascending order; a row that holds NaN tells nothing of where normal ends."""
    scores: NDArray[np.float64] = outputs["score"]
    return np.sort(scores[np.isfinite(scores)])


def spread(rows: Rows) -> Rows:
    """Golden rows: evenly from all of them."""
    spaced = np.linspace(0, len(rows) - 1, min(len(rows), GOLDEN_ROWS)).round().astype(int)
    picked: Rows = rows[np.unique(spaced)]
    return picked


def score_rule(score: Score) -> dict[str, str]:
    """The manifest's definition of a score."""
    return {
        "kind": score,
        "definition": SCORES[score],
        "direction": "higher is more abnormal",
        "is_anomaly": "not (score <= threshold)",
    }


def real_rows(rows: NDArray[Any] | None, input_shape: Sequence[int] | None) -> Rows:
    """The rows to compare on, float32: those given, or random ones of `input_shape`."""
    if rows is None:
        if not input_shape or not all(isinstance(size, int) and size >= 1 for size in input_shape):
            raise InputError(f"input shape: expected sizes of 1 or more such as 3,32,32, found {input_shape}")
        made: Rows = np.random.default_rng(0).standard_normal((MADE_ROWS, *input_shape)).astype(np.float32)
        return made
    array = np.asarray(rows)
    if array.dtype.kind not in "biuf":
        raise InputError(f"rows: expected numbers, found {array.dtype!s:.40}; give an array of float32")
    with np.errstate(over="ignore"):
        found: Rows = np.ascontiguousarray(array, dtype=np.float32)
    if found.ndim < 2 or found.size == 0:
        raise InputError(
            f"rows: expected one or more rows, (rows, ...), found shape {found.shape}; give real rows"
        )
    return found
