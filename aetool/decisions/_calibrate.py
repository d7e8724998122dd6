"""`calibrate`: the threshold, p-values and probabilities of a bundle, from rows of the place where it runs."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import BASELINE, MOST_SCORES, baseline_of, column_names, features_of, read_baseline
from aetool.bundle.bundle import GOLDEN, Bundle
from aetool.bundle.card import CARD, model_card
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import MODEL_SIGNATURE, SIGNATURE, Manifest, Series, Variant
from aetool.bundle.write import publish
from aetool.checks.drift import FEWEST_ROWS, measure_drift
from aetool.checks.fidelity import same_share
from aetool.checks.parity import MARGIN
from aetool.checks.verify import verify_bundle
from aetool.decisions._choice import Goal, ThresholdOutcome, choose, outcome, sorted_scores
from aetool.decisions._graph import Logistic, calibrator
from aetool.decisions._probability import fit_logistic, reliability
from aetool.decisions._tail import fit_tail
from aetool.errors import BundleError, InputError, VerificationError
from aetool.onnx_check.edit import with_metadata, with_threshold
from aetool.runtime.session import load
from aetool.runtime.threshold import as_threshold
from aetool.version import __version__

Labels = NDArray[np.bool_]
CALIBRATOR = "calibrator.onnx"
FEWEST_SCORES = 20
"""Fewest scores of normal rows that p-values are made of."""


@dataclass(frozen=True, slots=True, repr=False)
class Calibrated:
    """Result of `calibrate`."""

    bundle: Bundle
    """The published bundle."""
    before: float
    """Threshold of fp32 before."""
    outcome: ThresholdOutcome | None
    """What the new one does on the rows given; None without rows."""
    segments: tuple[dict[str, Any], ...]
    """Per segment: segment, threshold, rows, false_alarms, too_few; empty unless asked for."""
    drift: tuple[str, ...]
    """Reasons why the rows differ from those that the model was made for; empty where they do not."""
    was_signed: bool
    """True: the bundle had a signature, which it has lost."""

    def __repr__(self) -> str:
        """Return the bundle's name and its threshold."""
        manifest = self.bundle.manifest
        return f"<Calibrated {manifest.name!r}: threshold {manifest.variants['fp32'].threshold:.6g}>"


@dataclass(frozen=True, slots=True)
class _Precision:
    """One precision, calibrated."""

    threshold: float
    outcome: ThresholdOutcome | None = None
    kept: NDArray[np.float32] | None = None
    """Scores of normal rows that p-values are made of, ascending."""
    scores: NDArray[np.float64] | None = None
    """All of them."""
    logistic: Logistic | None = None
    reliability: tuple[dict[str, float], ...] = ()
    segments: tuple[dict[str, Any], ...] = ()
    golden: NDArray[np.float64] | None = None
    """Scores of the golden rows."""


def calibrate(
    path: str | Path,
    rows: Any = None,
    labels: Labels | None = None,
    *,
    goal: Goal,
    output: str | Path | None = None,
    overwrite: bool = False,
    source: str = "the rows given",
    probability: bool = False,
    per_segment: bool = False,
    record: Mapping[str, Any] | None = None,
    row_scores: NDArray[np.float64] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Calibrated:
    """Set the threshold of every precision of a bundle for a goal, and publish the bundle with it.

    The threshold for rows of a log follows that for windows: the same share of normal rows lies above it.

    Args:
        path: the bundle.
        rows: (rows, n_features) in raw units, or columns by name, not used for training; None for a given
            threshold.
        labels: (rows,) True for anomalies; None: all rows are normal.
        goal: what the threshold is chosen for.
        output: where to publish; None: in place of `path`, in one step.
        overwrite: replace a bundle at `output`.
        source: name of the rows, for people.
        probability: also fit a probability of an anomaly; needs labels.
        per_segment: also choose a threshold for each segment; needs segments, and false alarms as the goal.
        record: entries for the manifest's record of the calibration, beside its own.
        row_scores: ascending scores of the normal rows of the log that `rows` are windows of, in fp32, see
            `aetool.stream.logs.normal_row_scores`; without, those that the bundle keeps.
        limits: bounds on what is read of the bundle, see `load`.

    Raises:
        InputError: rows of another shape, too few, without a finite score or all alike; no labels where they are
            needed.
        BundleError: the bundle is damaged, or its graphs do not decide by a threshold.
        OutputError: `output` exists and `overwrite` is false, or the disk refuses.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    _require_complete(bundle, rows, labels, goal, probability, per_segment)
    drift: tuple[str, ...] = ()
    chosen: dict[str, _Precision] = {}
    golden = read_golden(bundle)
    values = None
    for precision, variant in bundle.manifest.variants.items():
        with load(path, provider="cpu", precision=precision, limits=limits) as model:
            at_golden = model.score(golden["features"]).astype(np.float64)
            given = None if goal.threshold is None else _moved(goal.threshold, bundle, variant)
            if rows is None:
                assert given is not None
                chosen[precision] = _Precision(given, golden=at_golden)
                continue
            if values is None:
                values = model.to_rows(rows).reshape(-1, *model.input_shape)
            segment = model.segment(values) if per_segment else None
            score = model.score(values).astype(np.float64)
        is_normal = np.ones(len(score), bool) if labels is None else ~labels
        chosen[precision] = _calibrated(
            score, is_normal, segment, goal, bundle.manifest, probability, at_golden, given
        )
    normal = None if values is None else values if labels is None else values[~labels]
    if normal is not None and len(normal) >= FEWEST_ROWS:
        drift = measure_drift(path, normal, provider="cpu", limits=limits).reasons
    was_signed = any((bundle.path / name).exists() for name in (SIGNATURE, MODEL_SIGNATURE))
    where = output, overwrite
    first = chosen["fp32"]
    of_rows = None if row_scores is None or first.scores is None else row_scores
    series = _with_row_threshold(bundle, first, of_rows)
    published = _published(
        bundle, chosen, normal, goal, golden, source, drift, where, record or {}, limits, series, of_rows
    )
    before = bundle.manifest.variants["fp32"].threshold
    return Calibrated(published, before, first.outcome, first.segments, drift, was_signed)


def _require_complete(
    bundle: Bundle, rows: Any, labels: Labels | None, goal: Goal, probability: bool, per_segment: bool
) -> None:
    if rows is None and (goal.threshold is None or probability or per_segment):
        raise InputError("rows are needed to calibrate with; give --data, or a threshold alone")
    if probability and labels is None:
        raise InputError("--probability: labelled anomalies are needed; name their column with --label")
    if per_segment and goal.false_alarms is None:
        raise InputError("--per-segment goes with --false-alarms; give a rate of false alarms")
    if per_segment and not bundle.manifest.segments:
        raise InputError(f"{bundle.where}: has no segments; make some: aetool segment learn {bundle.where} TABLE")


def _moved(threshold: float, bundle: Bundle, variant: Variant) -> float:
    """Return a given threshold as this precision has it: as far from its old one as that of fp32."""
    before = bundle.manifest.variants["fp32"].threshold
    ratio = variant.threshold / before if before > 0 else 1.0
    return as_threshold(threshold if variant.threshold == before else threshold * ratio)


def _with_row_threshold(
    bundle: Bundle, first: _Precision, row_scores: NDArray[np.float64] | None
) -> Series | None:
    """Return the series of a bundle with the threshold of rows that belongs to the new one of windows in fp32."""
    series, before = bundle.manifest.series, bundle.manifest.variants["fp32"].threshold
    if series is None or series.row_threshold is None or first.threshold == before:
        return series
    known = read_baseline(bundle)
    if row_scores is not None and len(row_scores) and first.scores is not None:
        value = same_share(first.scores, row_scores, first.threshold)
    elif known is not None and known.row_scores:
        value = same_share(np.array(known.scores), np.array(known.row_scores), first.threshold)
    else:
        value = series.row_threshold * (first.threshold / before if before > 0 else 1.0)
    return series._replace(row_threshold=as_threshold(value))


def _calibrated(
    score: NDArray[np.float64],
    is_normal: Labels,
    segment: NDArray[np.int64] | None,
    goal: Goal,
    manifest: Manifest,
    probability: bool,
    golden: NDArray[np.float64],
    given: float | None,
) -> _Precision:
    lost = int(np.count_nonzero(~np.isfinite(score[is_normal])))
    if lost:
        raise InputError(
            f"{lost:,} of {int(is_normal.sum()):,} normal rows have no finite score (missing or extreme values): "
            "they cannot calibrate; fill them in, or leave these rows out"
        )
    normal, anomalous = sorted_scores(score[is_normal]), sorted_scores(score[~is_normal])
    if not len(normal):
        raise InputError("no normal rows, which calibration needs; give a table with such rows")
    threshold = choose(goal, normal, anomalous) if given is None else given
    logistic: Logistic | None = None
    bins: tuple[dict[str, float], ...] = ()
    if probability:
        logistic = fit_logistic(normal, anomalous)
        bins = reliability(logistic, normal, anomalous)
    segments = () if segment is None else _of_segments(score, is_normal, segment, goal, manifest, threshold)
    return _Precision(
        threshold,
        outcome(threshold, normal, anomalous, goal),
        kept_of(normal),
        normal,
        logistic,
        bins,
        segments,
        golden,
    )


def kept_of(normal: NDArray[np.float64]) -> NDArray[np.float32] | None:
    """Return the scores that p-values are made of, of all ascending ones; None for too few, or all alike."""
    if len(normal) < FEWEST_SCORES or normal[0] == normal[-1]:
        return None
    places = np.linspace(0, len(normal) - 1, min(len(normal), MOST_SCORES)).round().astype(int)
    kept: NDArray[np.float32] = normal[places].astype(np.float32)
    return kept


def calibrator_of(manifest: Manifest, scores: Sequence[float]) -> tuple[str, bytes] | None:
    """Return the calibrator of a new bundle in fp32, its name and content, from ascending scores of normal rows.

    None for fewer than 20, or all alike.
    """
    known = np.asarray(scores, np.float64)
    kept = kept_of(known)
    told = {"bundle": manifest.id, "threshold": repr(manifest.variants["fp32"].threshold)}
    return None if kept is None else (CALIBRATOR, _graph(manifest, "fp32", kept, known, None, told))


def _graph(
    manifest: Manifest,
    precision: str,
    kept: NDArray[np.float32],
    scores: NDArray[np.float64],
    logistic: Logistic | None,
    told: Mapping[str, str],
) -> bytes:
    return calibrator(
        kept,
        fit_tail(scores),
        logistic,
        opset=max(manifest.opset, LEAST_OPSET),
        ir_version=manifest.ir_version,
        producer=__version__,
        metadata={"name": manifest.name, "precision": precision, **told},
    )


def _of_segments(
    score: NDArray[np.float64],
    is_normal: Labels,
    segment: NDArray[np.int64],
    goal: Goal,
    manifest: Manifest,
    threshold: float,
) -> tuple[dict[str, Any], ...]:
    """Return a threshold for each segment: the common one where the segment has too few rows."""
    found = []
    none = np.empty(0)
    for number in range(int(manifest.segments["clusters"])):
        normal = sorted_scores(score[is_normal & (segment == number)])
        try:
            own, too_few = choose(goal, normal, none), False
        except InputError:
            own, too_few = threshold, True
        shares = [outcome(each, normal, none, goal).false_alarms for each in (own, threshold)]
        after, before = (None if each is None else asdict(each) for each in shares)
        found.append(
            {
                "segment": number,
                "threshold": own,
                "rows": len(normal),
                "too_few": too_few,
                "false_alarms": after,
                "false_alarms_of_common": before,
            }
        )
    return tuple(found)


def _published(
    bundle: Bundle,
    chosen: Mapping[str, _Precision],
    normal: NDArray[Any] | None,
    goal: Goal,
    golden: Mapping[str, NDArray[Any]],
    source: str,
    drift: tuple[str, ...],
    where: tuple[str | Path | None, bool],
    record: Mapping[str, Any],
    limits: Limits,
    series: Series | None,
    row_scores: NDArray[np.float64] | None,
) -> Bundle:
    manifest, first = bundle.manifest, chosen["fp32"]
    identity = _identity(manifest.id, chosen, None if series is None else series.row_threshold)
    with np.errstate(invalid="ignore"):
        decisions = ~(golden["score"] <= first.threshold)
    files = {name: bundle.read(name) for name in manifest.files}
    variants = {}
    for precision, variant in manifest.variants.items():
        variants[precision] = _variant(bundle, files, precision, variant, chosen[precision], identity, decisions)
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **{**golden, "is_anomaly": decisions})
    files[GOLDEN] = stream.getvalue()
    if normal is not None and first.scores is not None:
        names = column_names(manifest)
        features = features_of(normal, names, manifest.categories) if names else ()
        made = baseline_of(
            f"rows that it was calibrated on ({source})", len(normal), features, first.scores, row_scores
        )
        files[BASELINE] = made.to_json().encode()
    manifest = manifest._replace(
        id=identity,
        threshold=_rule(goal, first, source, series),
        variants=variants,
        series=series,
        provenance={**manifest.provenance, "calibrated_from": manifest.id},
        calibration={**_record(goal, first, source, drift, manifest), **record},
    )
    files[CARD] = model_card(manifest).encode()
    if Bundle.open(bundle.path, limits=limits).manifest != bundle.manifest:
        raise BundleError(f"{bundle.path}: was replaced by another bundle in the meantime; calibrate it again")
    unused = set(files) - _used(manifest)
    files = {name: content for name, content in files.items() if name not in unused}

    def check(folder: Path) -> None:
        records = verify_bundle(folder, provider="cpu", limits=limits)
        if failed := [record for record in records if not record.passed]:
            raise VerificationError(
                f"{bundle.path}: {failed[0].graph} {failed[0].output} of the golden rows differ with the new "
                f"threshold ({failed[0].reason}); nothing was changed"
            )

    output, overwrite = where
    place = bundle.path if output is None else output
    return publish(place, manifest, files, overwrite=overwrite or output is None, check=check)


def _used(manifest: Manifest) -> set[str]:
    """Return the files of a manifest without calibrators that no precision names any more."""
    named = {variant.calibrator for variant in manifest.variants.values()}
    old = {name for name in manifest.files if PurePosixPath(name).name == CALIBRATOR and name not in named}
    return (set(manifest.files) | {name for name in named if name} | {CARD, GOLDEN, BASELINE}) - old


def _variant(
    bundle: Bundle,
    files: dict[str, bytes],
    precision: str,
    variant: Variant,
    chosen: _Precision,
    identity: str,
    decisions: Labels,
) -> Variant:
    """Put the graphs of a precision into `files`, with the new threshold, and return its entry."""
    told = {"bundle": identity, "threshold": repr(chosen.threshold)}
    for graph, name in variant.files.items():
        content = files[name]
        if graph == "detector":
            try:
                content = with_threshold(content, chosen.threshold)
            except ValueError as error:
                raise BundleError(f"{bundle.path / name}: {error}; export the bundle again") from error
        files[name] = with_metadata(content, told)
    at = None
    if chosen.kept is not None and chosen.scores is not None:
        at = (PurePosixPath(variant.files["detector"]).parent / CALIBRATOR).as_posix()
        files[at] = _graph(bundle.manifest, precision, chosen.kept, chosen.scores, chosen.logistic, told)
    elif chosen.outcome is None and variant.calibrator is not None:
        at = variant.calibrator
        files[at] = with_metadata(files[at], told)
    tolerances = variant.tolerances
    if tolerances is not None and chosen.golden is not None:
        moved = float(np.mean(~(chosen.golden <= chosen.threshold) != decisions))
        if moved > tolerances.flips:
            tolerances = tolerances._replace(flips=MARGIN * moved + 1 / len(decisions))
    figures = variant.figures
    if isinstance(figures.get("threshold"), Mapping):
        figures = {**figures, "threshold": {"value": chosen.threshold, "method": "calibrated"}}
    return variant._replace(
        threshold=chosen.threshold,
        tolerances=tolerances,
        figures=figures,
        calibrator=at,
        segment_thresholds=tuple(each["threshold"] for each in chosen.segments) or None,
    )


LEAST_OPSET = 9
"""Opset from which onnxruntime's Where and IsNaN are there."""


def _identity(before: str, chosen: Mapping[str, _Precision], row_threshold: float | None) -> str:
    """Return the id of the calibrated bundle: sha256 of the old one and of all that decides its results anew."""
    found = hashlib.sha256(before.encode())
    found.update(b"" if row_threshold is None else json.dumps(row_threshold).encode())
    for precision, each in sorted(chosen.items()):
        content = [precision, each.threshold, each.logistic, [part["threshold"] for part in each.segments]]
        found.update(json.dumps(content).encode())
        found.update(b"" if each.kept is None else each.kept.astype("<f4").tobytes())
    return found.hexdigest()


def _rule(goal: Goal, first: _Precision, source: str, series: Series | None) -> dict[str, Any]:
    of_rows = None if series is None else series.row_threshold
    told = {} if of_rows is None else {"of_rows": {"value": of_rows}}
    if first.outcome is None or first.outcome.false_alarms is None:
        return {"value": first.threshold, "method": "given", **told}
    alarms = first.outcome.false_alarms
    return {
        "value": first.threshold,
        "method": f"{goal.text}, calibrated on {source}" if goal.threshold is None else "given",
        **({} if goal.false_alarms is None else {"contamination": goal.false_alarms}),
        "rows": alarms.rows,
        "flagged_share": alarms.share,
        **told,
    }


def _record(goal: Goal, first: _Precision, source: str, drift: tuple[str, ...], old: Manifest) -> dict[str, Any]:
    """Return the manifest's record of a calibration."""
    tail = None if first.scores is None or first.kept is None else fit_tail(first.scores)
    made = {
        "from": old.id,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aetool": __version__,
        "goal": {name: value for name, value in asdict(goal).items() if value is not None},
    }
    if first.outcome is None:
        kept = ("data", "scores", "tail", "reliability")
        return {**{key: old.calibration[key] for key in kept if key in old.calibration}, **made}
    return {
        **made,
        "data": source,
        **asdict(first.outcome),
        "scores": 0 if first.kept is None else len(first.kept),
        "tail": None if tail is None else tail._asdict(),
        "drift": list(drift),
        "segments": list(first.segments),
        "reliability": list(first.reliability),
    }
