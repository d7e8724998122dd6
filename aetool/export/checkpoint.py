"""`export_checkpoint`: what `aetool train` made, proven, as a bundle."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

from aetool.baseline import Baseline, baseline_of
from aetool.errors import InputError
from aetool.export.candidate import Candidate, Reference, Rows, expected_outputs, out_of_range
from aetool.export.compatibility import target
from aetool.export.folding import DoublePipeline, FoldedPipeline
from aetool.export.graphs import WithDecision, export_graph
from aetool.export.publishing import Exported, ExportOptions, prepare, publish_candidate
from aetool.export.threshold import choose_threshold
from aetool.manifest import Feature
from aetool.model.checkpoint import TrainedAutoencoder, load_checkpoint
from aetool.model.pipeline import evaluate_rows
from aetool.parity import compare_graph

FOLDING_TOLERANCE = 2e-6
"""Range-scaled difference that folding may cost; a fifth of what verification allows."""
SCORE: dict[str, Any] = {
    "kind": "mse",
    "definition": "mean over features of the squared difference between the standardised row and its "
    "reconstruction",
    "scaled": True,
    "direction": "higher is more abnormal",
    "is_anomaly": "not (score <= threshold)",
}


def export_checkpoint(
    checkpoint: str | Path | TrainedAutoencoder, path: str | Path, options: ExportOptions | None = None
) -> Exported:
    """Export a trained autoencoder, verify it against PyTorch in float64, and publish it as a bundle.

    Args:
        checkpoint: a directory written by `aetool train`, or the result of `aetool.model.train`.
        path: the bundle's directory.

    Raises:
        CheckpointError: no checkpoint, or a damaged one.
        ExportError: it cannot become a deployable graph.
        VerificationError: the graphs do not compute what was trained; nothing is published.
        OutputError: `path` exists, or cannot be written.
    """
    options = options or ExportOptions()
    path = prepare(path, options)
    opset, max_ir = target(options.opset, options.onnxruntime_min)
    trained = checkpoint if isinstance(checkpoint, TrainedAutoencoder) else load_checkpoint(checkpoint)
    rows = trained.held_out.features
    if len(rows) == 0:
        raise InputError("the checkpoint holds no rows to verify with; train again")
    threshold = choose_threshold(trained.held_out.scores, options.contamination, options.threshold)
    form, pipeline = _leanest(trained, rows, threshold.value)
    # Two rows or more to trace with, or the exporter would fix the batch.
    sample = torch.from_numpy(np.resize(rows, (3, rows.shape[1])))

    def graph_of(form: nn.Module) -> ModelProto:
        options.progress("tracing")
        return export_graph(WithDecision(form, threshold.value), sample, opset, max_ir)

    candidate = Candidate(
        graph=graph_of(pipeline),
        evaluate=partial(evaluate_rows, trained.pipeline(torch.float64), dtype=torch.float64),
        in_float32=partial(evaluate_rows, trained.pipeline(), dtype=torch.float32),
        reference="PyTorch in float64",
        rows=rows,
        threshold=threshold,
        score=_score(trained),
        features=tuple(Feature(name, categories=trained.categories.get(name)) for name in trained.names),
        imputes=trained.statistics.fill is not None,
        figures={"form": form},
        provenance={
            **trained.provenance,
            "architecture": asdict(trained.network.config),
            "training": asdict(trained.training),
            "epochs": len(trained.history),
            "history": [dict(epoch) for epoch in trained.history],
        },
        baseline=_baseline(trained),
    )

    def in_double() -> Candidate | None:
        if not DoublePipeline.can_hold(trained.network):
            return None
        double = DoublePipeline(trained.pipeline(torch.float64))
        return replace(candidate, graph=graph_of(double), figures={"form": "float64"})

    return publish_candidate(candidate, path, options, otherwise=in_double)


def _score(trained: TrainedAutoencoder) -> dict[str, Any]:
    """The manifest's definition of the score."""
    categories = "; each category is a feature, 0 or 1" if trained.categories else ""
    missing = "; missing values are left out" if trained.statistics.leaves_out else ""
    return {**SCORE, "definition": f"{SCORE['definition']}{categories}{missing}"}


def _baseline(trained: TrainedAutoencoder) -> Baseline | None:
    if not trained.baseline:
        return None
    rows = int(trained.provenance["rows_trained"])
    return baseline_of("rows that it was trained on", rows, trained.baseline, trained.held_out.scores)


def _leanest(trained: TrainedAutoencoder, rows: Rows, threshold: float) -> tuple[str, FoldedPipeline]:
    """The form of the pipeline with the fewest operations that still computes the same in float32."""
    pipeline = trained.pipeline(torch.float64)
    evaluate = partial(evaluate_rows, pipeline, dtype=torch.float64)
    cases = [
        (features, expected_outputs(evaluate, features, threshold))
        for features in (rows, out_of_range(rows, rows))
    ]
    folded = FoldedPipeline(pipeline)
    lost = _difference(folded, cases, threshold)
    if lost <= FOLDING_TOLERANCE:
        return "folded", folded
    centre = np.nanmedian(np.where(np.isfinite(rows), rows, np.nan), axis=0).astype(np.float32)
    centred = FoldedPipeline(pipeline, torch.from_numpy(np.nan_to_num(centre)))
    return ("centred", centred) if _difference(centred, cases, threshold) < lost else ("folded", folded)


def _difference(form: FoldedPipeline, cases: Sequence[tuple[Rows, Reference]], threshold: float) -> float:
    """Largest range-scaled difference of `form` to the reference."""
    worst = 0.0
    for features, expected in cases:
        found = dict(evaluate_rows(form, features, torch.float32))
        records = compare_graph("form", expected, found, features=features, threshold=threshold)
        # A difference that is no number (something overflowed) is the worst of all; max() would pass it over.
        worst = max(worst, *(np.nan_to_num(record.max_scaled, nan=np.inf) for record in records))
    return float(worst)
