"""p-values and probabilities of scores, and decisions with a bounded rate of false discoveries."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.files import Limits
from aetool.errors import BundleError, InputError
from aetool.onnx_check.check import require_admissible
from aetool.runtime._inputs import require_out
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS

BLOCK_ROWS = 65_536


class Calibrator:
    """What the calibrator of one precision computes, on the CPU."""

    def __init__(self, bundle: Bundle, precision: str, limits: Limits | None) -> None:
        """Open the graph.

        Raises:
            InputError: the bundle has none.
            BundleError: it is damaged, or belongs to another model.
        """
        name = bundle.variant(precision).calibrator
        if name is None:
            raise InputError(
                f"{bundle.where}: has no scores of normal rows in {precision} to compare with; keep some: aetool "
                f"calibrate {bundle.where} --data NORMAL.csv --false-alarms 1%"
            )
        where, content = f"{bundle.where}/{name}", bundle.read(name)
        if limits is not None:
            require_admissible(content, (), limits, where)
        self._session = open_session(content, PROVIDERS["cpu"], where=where)
        told = self._session.get_modelmeta().custom_metadata_map
        if (owner := told.get("bundle", bundle.manifest.id)) != bundle.manifest.id:
            raise BundleError(
                f"{where}: calibrates the scores of another model ({owner[:12]!r}, this one is "
                f"{bundle.manifest.id[:12]!r}); run aetool calibrate on this bundle"
            )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._names = [output.name for output in outputs]
        kinds = {entry.type for entry in (*inputs, *outputs)}
        count = told.get("scores", "")
        if (
            [entry.name for entry in inputs] != ["score"]
            or "p_value" not in self._names
            or kinds != {"tensor(float)"}
            or not (count.isdecimal() and 0 < len(count) < 10)
        ):
            raise BundleError(
                f"{where}: expected score in, p_value out, both float32, and the number of scores in its "
                "metadata; run aetool calibrate again"
            )
        self.least_counted = 1 / (int(count) + 1)
        """Smallest p-value that was counted; smaller ones are extrapolated."""

    def __call__(self, scores: Any) -> dict[str, Any]:
        """Return p_value, and probability where there is one, of scores: (rows,) or one -> the same shape each."""
        flat = np.ascontiguousarray(scores, np.float32).reshape(-1)
        blocks = [
            self._session.run(self._names, {"score": flat[start : start + BLOCK_ROWS]})
            for start in range(0, max(len(flat), 1), BLOCK_ROWS)
        ]
        parts = [np.concatenate(each) for each in zip(*blocks, strict=True)]
        shape = np.shape(scores)
        return {
            key: values.reshape(shape) if shape else values[0]
            for key, values in zip(self._names, parts, strict=True)
        }


def decide(session: Any, features: Any, out: Any, fdr: float | None, per_segment: bool) -> Any:
    """Return the decisions of a session for a batch by its p-values, or by a threshold per segment.

    Raises:
        InputError: both are asked for, or the bundle was not calibrated for it.
    """
    if fdr is not None and per_segment:
        raise InputError("fdr and per_segment are two rules; give one of them")
    if fdr is not None:
        score, calibrator = session.score(features), session.calibrator
        counted = np.maximum(calibrator(score)["p_value"], calibrator.least_counted)
        # Only what was counted: the tail is no guarantee. Rows without a score are anomalies anyway.
        decisions = discoveries(counted, fdr) | ~np.isfinite(score)
    else:
        manifest = session.manifest
        thresholds = manifest.variants[session.precision].segment_thresholds
        if thresholds is None or len(thresholds) != manifest.segments.get("clusters"):
            raise InputError(
                f"{session.name}: has no thresholds per segment in {session.precision}; make them: aetool "
                "calibrate --per-segment"
            )
        limits = np.array([*thresholds, session.threshold], np.float32)  # the last for rows in no segment, -1
        decisions = ~(session.score(features) <= limits[session.segment(features)])
    if out is None:
        return decisions if np.ndim(decisions) else np.bool_(decisions)
    require_out(out, decisions.shape, np.dtype(bool), features if isinstance(features, np.ndarray) else decisions)
    out[...] = decisions
    return out


def discoveries(p_value: Any, fdr: float) -> NDArray[np.bool_]:
    """Decide which rows of a batch are anomalies, with an expected share of false ones of at most `fdr`.

    The procedure of Benjamini & Hochberg (1995). It holds for conformal p-values that were counted, though they
    share their calibration rows (Bates, Candès, Lei, Romano & Sesia, Annals of Statistics 51, 2023).

    Raises:
        InputError: `fdr` is not between 0 and 1.
    """
    if isinstance(fdr, bool) or not isinstance(fdr, int | float) or not 0 < fdr < 1:
        raise InputError(f"fdr: expected a share between 0 and 1, such as 0.05, found {fdr!r}")
    values = np.asarray(p_value, np.float64)
    ordered = np.sort(values, axis=None)
    passing = np.flatnonzero(ordered <= fdr * np.arange(1, ordered.size + 1) / max(ordered.size, 1))
    limit = ordered[passing[-1]] if passing.size else -1.0
    return np.asarray(values <= limit)
