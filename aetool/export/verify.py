"""The proof: exported graphs against PyTorch in float64."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.checks.parity import OutputParity, compare_graph
from aetool.checks.verify import in_precision, run_all_graphs
from aetool.errors import BundleError, ExportError, InputError, VerificationError, reason_of
from aetool.export._export_input import (
    GOLDEN,
    OUT_OF_RANGE,
    PROBE_ROWS,
    ExportInput,
    Probe,
    Reference,
    Rows,
    expected_outputs,
    finite_rows,
    out_of_range,
    probes,
)
from aetool.export.graphs import require_deployable
from aetool.export.opset import NATIVE_OPSET, standard_opset
from aetool.model.checkpoint import TrainedAutoencoder
from aetool.runtime.ort import open_session, require_memory
from aetool.runtime.providers import PROVIDERS, ProviderName
from aetool.runtime.session import load
from aetool.suggest import few

BATCHES = (1, 2, 3, 7, 17, 64)
_LARGEST_BATCH = 1000


def verify_graphs(
    graphs: Mapping[str, bytes], candidate: ExportInput, progress: Callable[[str], None]
) -> list[OutputParity]:
    """Compare freshly exported graphs with the reference before they are published; see docs/proof.md.

    Real rows and rows 100 times out of range are compared in batches of every size of BATCHES and of up to
    _LARGEST_BATCH, as far as the cost of a row allows; then the sets of `probes`, each row alone as well. Two
    runs must be identical; NaN and Inf must stay in their row and be flagged.

    Raises:
        ExportError: a graph holds what a deployed one may not.
        VerificationError: a graph does not repeat itself, or lets NaN or Inf through.
    """
    opset = standard_opset(candidate.graph)
    for model in graphs.values():  # the very bytes that ship, whatever was done to them since the export
        require_deployable(onnx.load_from_string(model), opset)
    try:
        sessions = {
            name: open_session(model, PROVIDERS["cpu"], where=f"{name}.onnx") for name, model in graphs.items()
        }
    except BundleError as error:
        raise ExportError(f"{error} (opset {opset}; the most widely known is {NATIVE_OPSET})") from error
    records = _compare_golden(sessions, candidate, progress)
    for probe in probes(candidate.rows, candidate.cost.rows(PROBE_ROWS, least=1)):
        progress(f"comparing {probe.name} rows")
        records += _compare_probe(sessions, candidate, probe)
    _require_rows_apart(sessions["detector"], candidate)
    return records


def _compare_golden(
    sessions: Mapping[str, Any], candidate: ExportInput, progress: Callable[[str], None]
) -> list[OutputParity]:
    """Compare real rows, and the same out of range, repeated in batches of every size."""
    largest = candidate.cost.rows(_LARGEST_BATCH)
    records = []
    for kind in (GOLDEN, OUT_OF_RANGE):
        progress(f"comparing {kind} rows")
        rows = candidate.rows[:largest]
        rows = rows if kind == GOLDEN else out_of_range(rows, candidate.rows)
        references = _references(candidate, rows, required=kind == GOLDEN)
        if references is None:
            continue
        features = _repeated(rows, largest)
        expected, rounded = (
            {key: _repeated(value, largest) for key, value in part.items()} for part in references
        )
        for name, session in sessions.items():
            feed = expected["embedding"].astype(np.float32) if name == "decoder" else features
            whole = _run(name, session, feed)
            if kind == GOLDEN:
                _require_repeatable(name, session, feed, whole)
            common: dict[str, Any] = {"features": features, "threshold": candidate.threshold.value}
            # Where a row's answers are the same bits at each of its places, the first place stands for all.
            once = len(rows) if _repeats(whole, len(rows)) else largest
            wanted, given, alone = (
                {key: value[:once] for key, value in part.items()} for part in (expected, whole, rounded)
            )
            few = {**common, "features": features[:once]}
            records += compare_graph(name, wanted, given, rounded=alone, rows=kind, **few)
            if kind == GOLDEN:
                records += _compare_normal(name, wanted, given, alone, **few)
            for batch in (size for size in BATCHES if size < largest):
                part = _run(name, session, feed[:batch])
                if all(np.array_equal(value, whole[key][:batch], equal_nan=True) for key, value in part.items()):
                    continue  # compared already
                # A few rows have no range of their own: they are put in the place of the first of many, and
                # held to the range of all.
                mixed = {key: np.concatenate([value, whole[key][batch:]]) for key, value in part.items()}
                label = f"{kind}, batch {batch}"
                compared = compare_graph(name, expected, mixed, rounded=rounded, rows=label, **common)
                records += [record for record in compared if not record.passed]
    return records


def _compare_probe(sessions: Mapping[str, Any], candidate: ExportInput, probe: Probe) -> list[OutputParity]:
    """Compare the rows of a probe in one batch, and each alone."""
    references = _references(candidate, probe.rows, required=False)
    if references is None:
        return []
    expected, rounded = references
    if not probe.finite:
        expected = _where_accepted(expected)
    records = []
    for name, session in sessions.items():
        feed = probe.rows
        if name == "decoder":
            with np.errstate(over="ignore"):
                feed = expected["embedding"].astype(np.float32)
            if not np.isfinite(feed).all():
                continue
        together = _run(name, session, feed)
        alone = [_run(name, session, feed[i : i + 1]) for i in range(len(feed))]
        apart = {key: np.concatenate([part[key] for part in alone]) for key in together}
        for label, outputs in ((probe.name, together), (f"{probe.name}, one by one", apart)):
            compared = compare_graph(
                name,
                expected,
                outputs,
                features=probe.rows,
                threshold=candidate.threshold.value,
                rounded=rounded,
                rows=label,
                lenient=not probe.finite,
            )
            records += [record for record in compared if label == probe.name or not record.passed]
    return records


def _where_accepted(expected: Reference) -> Reference:
    """Return embedding and reconstruction of the rows whose outputs are finite; NaN for all else.

    Which numbers of another row become NaN is a matter of kernels; its score must, and that is judged apart.
    """
    compared: list[str] = [key for key in ("embedding", "reconstruction") if key in expected]
    parts = [expected[key].reshape(len(expected[key]), -1) for key in compared]
    accepted = np.all([np.isfinite(part).all(axis=1) for part in parts], axis=0)
    kept: Reference = {
        key: np.where(accepted.reshape(-1, *[1] * (expected[key].ndim - 1)), expected[key], np.nan)
        for key in compared
    }
    rest: Reference = {key: np.full(value.shape, np.nan) for key, value in expected.items() if key not in compared}
    return {**rest, **kept, "is_anomaly": expected["is_anomaly"]}


def _references(candidate: ExportInput, rows: Rows, *, required: bool) -> tuple[Reference, Reference] | None:
    """Return the reference outputs, and the same shifted by float32 rounding; None if it does not take such
    rows."""
    try:
        expected = candidate.expected(rows)
        return expected, candidate.rounded(rows, expected)
    except ExportError:
        if required:
            raise
        return None  # a forward that asserts what its rows may be has no answer to compare with


def verify_against(
    bundle: str | Path, trained: TrainedAutoencoder, rows: Rows | None = None, *, provider: ProviderName = "auto"
) -> list[OutputParity]:
    """Compare a bundle, through this machine's runtime, with the checkpoint it came from.

    Args:
        bundle: the bundle's directory.
        trained: the training result behind the bundle.
        rows: (rows, n_features); the checkpoint's held-out rows by default. They are compared as they are
            and, in a precision that is exact, 100 times out of range.
        provider: execution provider.

    Raises:
        InputError: no rows, or rows of another width.
    """
    opened = Bundle.open(bundle)
    if opened.manifest.feature_names != trained.names:
        raise InputError(
            f"{bundle}: has features {', '.join(opened.manifest.feature_names)}; the checkpoint has "
            f"{', '.join(trained.names)}; give the checkpoint of the bundle"
        )
    if opened.manifest.categories != trained.categories:
        raise InputError(
            f"{bundle}: has other categories than the checkpoint; give the checkpoint that it was exported from"
        )
    rows = trained.held_out.features if rows is None else np.asarray(rows)
    if len(rows) == 0:
        raise InputError("no rows to compare; give a table with rows")
    with np.errstate(over="ignore"):
        rows = np.asarray(rows, dtype=np.float32) if rows.dtype.kind in "biuf" else rows
    trained.evaluate(rows[:0])  # refuses another width or type
    records = []
    threshold = opened.manifest.variants["fp32"].threshold
    for precision in opened.manifest.variants:
        with load(bundle, provider=provider, precision=precision) as model:
            kinds = [("given", rows), ("out of range", out_of_range(rows, rows))]
            if precision != "fp32" and opened.manifest.variants[precision].tolerances is not None:
                kinds = kinds[:1]  # 8 bits end where the calibration ended: only the scores go on, in float
            for kind, features in kinds:
                reference = expected_outputs(trained.evaluate, features, threshold)
                records += run_all_graphs(model, features, reference, in_precision(kind, precision))
    return records


def require_parity(records: Sequence[OutputParity], what: str, reference: str) -> None:
    """Raise what failed; `reference` is what `what` was compared with.

    Raises:
        VerificationError: naming every graph and output that failed, and why.
    """
    failed = [f"{r.graph} {r.output} on {r.rows} rows: {r.reason}" for r in records if not r.passed]
    if failed:
        raise VerificationError(
            f"{what} does not compute what {reference} does: {few(failed, 4, '; ')}; not published. "
            "Where float32 alone differs by about as much, scale the rows before training; else the export "
            "changed the model: try another --opset or a simpler forward"
        )


def _repeated(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat the rows to `count` rows."""
    return np.resize(values, (count, *values.shape[1:]))


def _repeats(outputs: Reference, count: int) -> bool:
    """Return True if every value equals that of `count` rows before it."""
    return all(
        np.array_equal(value[count:], value[:-count], equal_nan=value.dtype.kind == "f")
        for value in outputs.values()
        if len(value) > count
    )


def _compare_normal(
    name: str, reference: Reference, found: Reference, rounded: Reference, features: Rows, threshold: float
) -> list[OutputParity]:
    """Compare the normal rows by themselves: beside one far anomaly, their range is nothing."""
    normal = ~reference["is_anomaly"]
    if normal.all() or not normal.any():
        return []
    expected, actual, alone = (
        {key: value[normal] for key, value in part.items()} for part in (reference, found, rounded)
    )
    return compare_graph(
        name,
        expected,
        actual,
        features=features[normal],
        threshold=threshold,
        rounded=alone,
        rows="normal golden",
    )


def _run(name: str, session: Any, rows: Rows) -> dict[str, NDArray[Any]]:
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {session.get_inputs()[0].name: rows})
    except Exception as error:  # onnxruntime's errors share no public base
        require_memory(error, f"{name}: {len(rows):,} rows of shape {rows.shape[1:]}")
        raise VerificationError(
            f"{name}: does not run on {len(rows)} rows ({reason_of(error, 200)}); its forward may hold constants "
            "that fit the example rows alone"
        ) from error
    return dict(zip(names, values, strict=True))


def _require_repeatable(name: str, session: Any, rows: Rows, first: Reference) -> None:
    for output, values in _run(name, session, rows).items():
        if not np.array_equal(values, first[output], equal_nan=values.dtype.kind == "f"):
            raise VerificationError(
                f"{name}: two runs on the same rows differ in {output}; the graph is not deterministic"
            )


class RowsApart(NamedTuple):
    """Answers to rows with one cell that is no number, each before a whole row."""

    cells: list[tuple[int, float]]
    """Column and value of each such cell."""
    scores: NDArray[Any]
    passes: NDArray[np.bool_]
    """True where such a row counts as normal, or its score as a number."""
    spreads: bool
    """True if the whole rows score otherwise than among themselves."""


def rows_apart(
    run: Callable[[Rows], Reference], rows: Rows, columns: Sequence[int], values: Sequence[float], tolerance: float
) -> RowsApart:
    """Put each of the values into each of the columns, in a row of its own, between whole rows.

    Args:
        run: runs the detector.
        rows: real ones, of which the finite are taken, in turn.
        columns: places in the row.
        values: NaN or infinity.
        tolerance: allowed relative difference of a whole row's score.
    """
    finite = finite_rows(rows)
    cells = [(column, value) for column in columns for value in values]
    whole = np.resize(finite if len(finite) else rows, (2 * len(cells), *rows.shape[1:]))
    spoilt = whole.copy()
    for row, (column, value) in zip(spoilt[::2], cells, strict=True):
        row.flat[column] = value
    outputs, clean = run(spoilt), run(whole)["score"][1::2]
    scores, is_anomaly = outputs["score"], outputs["is_anomaly"][::2]
    same = np.allclose(scores[1::2], clean, rtol=tolerance, atol=0, equal_nan=True)
    return RowsApart(cells, scores[::2], ~is_anomaly | np.isfinite(scores[::2]), not same)


def _require_rows_apart(session: Any, candidate: ExportInput) -> None:
    """Raise unless a row with NaN or Inf is flagged, and its neighbours do not change.

    Not where it stands for no category, which is a value like any other.
    """
    names = [feature.name for feature in candidate.features] or range(candidate.rows[0].size)
    numbers = [column for column, name in enumerate(names) if name not in candidate.categories]
    if not numbers:
        return
    columns = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]})
    for value in (np.inf, -np.inf) if candidate.imputes else (np.nan, np.inf, -np.inf):
        apart = rows_apart(partial(_run, "detector", session), candidate.rows, columns, [value], 1e-5)
        if apart.passes.any():
            score = apart.scores[apart.passes][0]
            raise VerificationError(
                f"detector: a row holding {value} scores {score} and passes as normal; not publishable"
            )
        if apart.spreads:
            raise VerificationError(
                f"detector: a row holding {value} changes the scores of its neighbours; make each row a "
                "matter of its own, with no mean over the batch"
            )
