"""`export_checkpoint`: from a trained autoencoder to a published bundle."""

import contextlib
import hashlib
import io
import json
import os
import platform
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxscript
import torch
from torch import Tensor, nn

import aetool
from aetool.bundle import GOLDEN, Bundle, Feature, Manifest, Variant, publish, record_files
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export.card import model_card
from aetool.export.folding import DoublePipeline, FoldedPipeline
from aetool.export.graphs import DEFAULT_OPSET, WithDecision, export_graph, require_opset_known, slice_graphs
from aetool.export.threshold import Threshold, choose_threshold
from aetool.export.verification import (
    Reference,
    Rows,
    out_of_range,
    reference_outputs,
    require_parity,
    verify_graphs,
)
from aetool.model.checkpoint import TrainedAutoencoder, load_checkpoint
from aetool.model.pipeline import evaluate_rows
from aetool.parity import OutputParity, compare_graph
from aetool.storage import require_new

FOLDING_TOLERANCE = 2e-6
"""Range-scaled difference that folding may cost; a fifth of what verification allows."""
SCORE = {
    "definition": "mean over features of the squared difference between the standardised row and its "
    "reconstruction",
    "direction": "higher is more abnormal",
    "is_anomaly": "not (score <= threshold)",
}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    name: str | None = None
    """Name of the bundle; the directory's by default."""
    contamination: float | None = None
    """Share of held-out normal rows to flag; 0.01 by default."""
    threshold: float | None = None
    """A fixed threshold instead."""
    opset: int = DEFAULT_OPSET
    """ONNX operator set of the graphs."""
    overwrite: bool = False
    """Replace a bundle that is there already."""


@dataclass(frozen=True, slots=True)
class Exported:
    bundle: Bundle
    parity: list[OutputParity]
    """What was proven before publishing."""


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
    path = Path(path)
    name = options.name or path.name
    if not name.isprintable():
        raise InputError(f"name: expected one line of printable characters, found {name!r}; pass another --name")
    require_opset_known(options.opset)
    require_new(path, options.overwrite)
    created = _now()
    trained = checkpoint if isinstance(checkpoint, TrainedAutoencoder) else load_checkpoint(checkpoint)
    rows = trained.held_out.features
    if len(rows) == 0:
        raise InputError("the checkpoint holds no rows to verify with; train again")
    threshold = choose_threshold(trained.held_out.scores, options.contamination, options.threshold)
    identity = _identity(trained, threshold, options.opset)
    metadata = {
        "name": name,
        "bundle": identity,
        "precision": "fp32",
        "threshold": repr(threshold.value),
        "feature_names": json.dumps(trained.names, ensure_ascii=False),
        "score": SCORE["definition"],
    }
    form, pipeline = _leanest(trained, rows, threshold.value)
    proven = _prove(pipeline, trained, threshold.value, options.opset, metadata)
    if not proven.passed and DoublePipeline.can_hold(trained.network):
        # If that fails too, the leaner form's reasons are the ones to tell.
        with contextlib.suppress(ExportError, VerificationError):
            double = DoublePipeline(trained.pipeline(torch.float64))
            exact = _prove(double, trained, threshold.value, options.opset, metadata)
            form, proven = ("float64", exact) if exact.passed else (form, proven)
    require_parity(proven.parity, name)
    graphs, parity = proven.graphs, proven.parity
    golden = reference_outputs(trained, rows, threshold.value)
    files = {f"{graph}.onnx": content for graph, content in graphs.items()}
    files[GOLDEN] = _golden(rows, golden)
    manifest = Manifest(
        name=name,
        id=identity,
        created=created,
        tools=_tools(),
        features=tuple(Feature(feature) for feature in trained.names),
        embedding_dim=trained.network.config.embedding_dim,
        opset=options.opset,
        ir_version=proven.ir_version,
        score=SCORE,
        threshold={"value": threshold.value, **threshold.rule},
        variants={
            "fp32": Variant(
                files={graph: f"{graph}.onnx" for graph in graphs},
                threshold=threshold.value,
                figures={
                    "form": form,
                    "max_scaled_difference": max(record.max_scaled for record in parity),
                    "flipped_decisions": sum(record.flipped or 0 for record in parity),
                    "bytes": {graph: len(content) for graph, content in graphs.items()},
                },
            )
        },
        provenance={
            **trained.provenance,
            "architecture": asdict(trained.network.config),
            "training": asdict(trained.training),
            "epochs": len(trained.history),
            "history": [dict(epoch) for epoch in trained.history],
        },
        files={},
    )
    files["README.md"] = model_card(manifest).encode()
    manifest = replace(manifest, files=record_files(files))
    published = publish(path, manifest, files, overwrite=options.overwrite)
    return Exported(published, parity)


@dataclass(frozen=True, slots=True)
class _Proven:
    graphs: dict[str, bytes]
    ir_version: int
    parity: list[OutputParity]

    @property
    def passed(self) -> bool:
        return all(record.passed for record in self.parity)


def _prove(
    pipeline: nn.Module, trained: TrainedAutoencoder, threshold: float, opset: int, metadata: Mapping[str, str]
) -> _Proven:
    """The graphs of one form of the pipeline, and how far they lie from the reference."""
    rows = trained.held_out.features
    model = export_graph(WithDecision(pipeline, threshold), _sample(rows), opset)
    graphs = slice_graphs(model, metadata, aetool.__version__)
    return _Proven(graphs, model.ir_version, verify_graphs(graphs, trained, rows, threshold, opset))


def _leanest(trained: TrainedAutoencoder, rows: Rows, threshold: float) -> tuple[str, FoldedPipeline]:
    """The form of the pipeline with the fewest operations that still computes the same in float32."""
    pipeline = trained.pipeline()
    cases = [
        (features, reference_outputs(trained, features, threshold))
        for features in (rows, out_of_range(rows, trained))
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


def _sample(rows: Rows) -> Tensor:
    """Rows to trace with: two or more, or the exporter would fix the batch."""
    return torch.from_numpy(np.resize(rows, (3, rows.shape[1])))


def _identity(trained: TrainedAutoencoder, threshold: Threshold, opset: int) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(trained.network.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    for part in asdict(trained.statistics).values():
        digest.update(b"-" if part is None else part.tobytes())
    rest: dict[str, Any] = {
        "architecture": asdict(trained.network.config),
        "features": trained.names,
        "threshold": threshold.value,
        "opset": opset,
    }
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()


def _golden(rows: Rows, outputs: Reference) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, features=rows, **outputs)
    return stream.getvalue()


def _now() -> str:
    """The time of export; SOURCE_DATE_EPOCH where it is set, so that two exports can be the same bytes."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"SOURCE_DATE_EPOCH: expected seconds since 1970, found {reprlib.repr(epoch)}") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _tools() -> dict[str, str]:
    return {
        "aetool": aetool.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
