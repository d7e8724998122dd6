"""`export_module`: any PyTorch autoencoder, proven, as a bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from aetool.bundle import Feature
from aetool.errors import InputError
from aetool.export.candidate import Candidate, Rows
from aetool.export.compatibility import target
from aetool.export.evidence import reference_of, require_function, usable_sample
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.publishing import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.threshold import Threshold, choose_threshold
from aetool.model.adapter import AdaptedModule, Latent
from aetool.model.scored import SCORES, Score, ScoredModule

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
    sample = usable_sample(module, real)
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
    evaluate, reference = reference_of(scored, sample)
    if rows is None and options.threshold is None:
        threshold = Threshold(float(np.finfo(np.float32).max), {"method": "none: no rows to choose it from"})
    else:
        scores = np.sort(evaluate(real)["score"])
        threshold = choose_threshold(scores, options.contamination, options.threshold)
    candidate = Candidate(
        graph=traced(scored, threshold, sample, options),
        evaluate=evaluate,
        reference=reference,
        rows=spread(real),
        threshold=threshold,
        score=score_rule(reading.score),
        features=tuple(Feature(name) for name in names),
        provenance={"module": type(module).__name__, "torch": torch.__version__},
    )
    return publish_candidate(candidate, path, options)


def traced(scored: ScoredModule, threshold: Threshold, sample: Tensor, options: ExportOptions) -> ModelProto:
    """One graph of a scored module, in the opset that the options ask for, with a free batch."""
    opset, max_ir = target(options.opset, options.onnxruntime_min)
    return export_graph(WithDecision(scored.in_float32(), threshold.value), sample, opset, max_ir)


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
        if not input_shape or not all(size >= 1 for size in input_shape):
            raise InputError(f"input shape: expected sizes of 1 or more such as 3,32,32, found {input_shape}")
        made: Rows = np.random.default_rng(0).standard_normal((MADE_ROWS, *input_shape)).astype(np.float32)
        return made
    with np.errstate(over="ignore"):
        found: Rows = np.ascontiguousarray(rows, dtype=np.float32)
    if found.ndim < 2 or len(found) == 0:
        raise InputError(
            f"rows: expected one or more rows, (rows, ...), found shape {found.shape}; give real rows"
        )
    return found
