"""`export_pyod`: make a proven bundle of a fitted PyOD detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aetool.errors import InputError, VerificationError
from aetool.export._module import columns, finite_scores, given_baseline, publish_scored, real_rows, score_rule
from aetool.export._module_checks import reference_of, some_rows
from aetool.export.publish import Exported, ExportOptions, prepare
from aetool.export.threshold import Threshold, choose_threshold, keep_decisions
from aetool.model.foreign.pyod import PyodAutoencoder, from_pyod

TOLERANCE = 1e-5
"""Relative difference that is allowed between the detector's score and the bundle's."""


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
        rows: real rows in raw units, (rows, n_features): they are compared, and some become golden vectors. Of a
            VAE they should be the rows it was fitted to: it samples when it scores, so that its bundle, which
            takes the mean, has the threshold that the same rule makes of these rows.
        path: the bundle's directory.
        names: names of the columns.
        options: name, threshold and opset of the bundle.

    Raises:
        ExportError: not such a detector, or not fitted.
        VerificationError: the graphs do not compute what the detector does; nothing is published.

    A bundle takes float32, PyOD computes its scaling in float64. Scores are compared with the detector's on
    `rows` as they are given, or as float32 holds them: of a column that lies at 100,000 and varies by 1, float32
    keeps two digits less, and the two differ. Subtract such an offset before training.
    """
    options = options or ExportOptions()
    path = prepare(path, options)
    read = detector if isinstance(detector, PyodAutoencoder) else from_pyod(detector)
    real = real_rows(rows, None)
    if real.shape[1:] != (read.n_features,):
        raise InputError(f"rows: expected shape (rows, {read.n_features}), found {real.shape}; give raw rows")
    sample = some_rows(real)
    reference = reference_of(read.scored, sample)
    if not read.random and detector is not read:  # what was read alone cannot be held to the detector any more
        _require_equal(detector, np.asarray(rows, np.float64), reference.evaluate(real)["score"])
    # A detector that samples when it scores: its own scores, and a threshold made of them, are another matter.
    scores = finite_scores(reference.evaluate(real)) if read.random else read.scores
    if options.threshold is None and options.contamination is None:
        threshold = _own_threshold(read, scores)
    else:
        threshold = choose_threshold(scores, options.contamination, options.threshold)
    features = columns(names or [f"X_{i}" for i in range(read.n_features)], real)
    return publish_scored(
        read.scored,
        reference,
        sample,
        real,
        threshold,
        path,
        options,
        score=score_rule("euclidean", scaled=read.scored.scaled),
        features=features,
        provenance={"detector": read.kind, "torch": torch.__version__},
        baseline=given_baseline(real, features, scores),
    )


def _own_threshold(read: PyodAutoencoder, scores: NDArray[np.float64]) -> Threshold:
    """Return `threshold_`; if it was made of sampled scores, the same rule's result for `scores`, ascending."""
    rule: dict[str, Any] = {"method": f"threshold_ of {read.kind}", "rows": len(scores)}
    value = read.threshold
    if read.random:
        # PyOD's own rule; a threshold that PyThresh chose says by its share of the training rows what it flags.
        share = float(np.mean(read.scores > read.threshold)) if read.contamination is None else read.contamination
        value = float(np.percentile(scores, 100 * (1 - share)))
        rule["method"] = (
            f"{1 - share:.6g} quantile of the given rows; {read.kind} samples its scores and threshold_"
        )
        rule["flagged_share"] = float(np.mean(scores > value))
    if read.contamination is not None:
        rule["contamination"] = read.contamination
    return Threshold(keep_decisions(scores, value), rule)


def _require_equal(detector: Any, rows: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """Raise unless the detector's own scores equal those of the module read from it."""
    training = [part for part in detector.model.modules() if part.training]
    given = np.asarray(detector.decision_function(rows), np.float64)
    held = np.asarray(detector.decision_function(rows.astype(np.float32).astype(np.float64)), np.float64)
    for part in training:
        part.training = True
    difference = np.minimum(np.abs(found - given) / np.abs(given), np.abs(found - held) / np.abs(held))
    worst = int(np.argmax(np.nan_to_num(difference, nan=np.inf)))
    if not difference[worst] <= TOLERANCE:
        raise VerificationError(
            f"{type(detector).__name__}: decision_function gives {given[worst]:.6g} for row {worst}, the exported "
            f"model {found[worst]:.6g}; use a supported version of PyOD, and rows without NaN"
        )
