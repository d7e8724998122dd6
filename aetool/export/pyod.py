"""`export_pyod`: a fitted PyOD detector, proven, as a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.export.candidate import Candidate
from aetool.export.evidence import reference_of, some_rows
from aetool.export.module import columns, publish_scored, real_rows, score_rule, spread, traced
from aetool.export.publishing import Exported, ExportOptions, prepare
from aetool.export.threshold import Threshold, choose_threshold, keep_decisions
from aetool.model.pyod_detector import PyodAutoencoder, from_pyod


def export_pyod(
    detector: Any,
    rows: NDArray[Any],
    path: str | Path,
    *,
    names: Sequence[str] = (),
    options: ExportOptions | None = None,
) -> Exported:
    """Export a fitted PyOD AutoEncoder, VAE or AE1SVM: its scaling, score and threshold inside the graph.

    Args:
        detector: fitted, or what `aetool.model.from_pyod` read of it.
        rows: real rows in raw units, (rows, n_features): they are compared, and some become golden vectors.

    Raises:
        ExportError: not such a detector, or not fitted.
        VerificationError: the graphs do not compute what the detector does; nothing is published.
    """
    options = options or ExportOptions()
    path = prepare(path, options)
    read = detector if isinstance(detector, PyodAutoencoder) else from_pyod(detector)
    real = real_rows(rows, None)
    if real.shape[1:] != (read.n_features,):
        raise InputError(f"rows: expected shape (rows, {read.n_features}), found {real.shape}; give raw rows")
    sample = some_rows(real)
    evaluate, reference = reference_of(read.scored, sample)
    if options.threshold is None and options.contamination is None:
        rule = {
            "method": f"threshold_ of {read.kind}",
            "contamination": read.contamination,
            "rows": len(read.scores),
        }
        threshold = Threshold(keep_decisions(read.scores, read.threshold), rule)
    else:
        threshold = choose_threshold(read.scores, options.contamination, options.threshold)
    candidate = Candidate(
        graph=traced(read.scored.in_float32(), threshold, sample, options),
        evaluate=evaluate,
        reference=reference,
        rows=spread(real),
        threshold=threshold,
        score=score_rule("euclidean"),
        features=columns(names or [f"X_{i}" for i in range(read.n_features)], real),
        provenance={"detector": read.kind, "torch": torch.__version__},
    )
    return publish_scored(candidate, read.scored, sample, path, options)
