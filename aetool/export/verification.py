"""The proof: exported graphs against PyTorch in float64."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from aetool.bundle import Bundle
from aetool.errors import BundleError, ExportError, InputError, VerificationError
from aetool.export.candidate import Candidate, Reference, Rows, expected_outputs, out_of_range
from aetool.export.compatibility import NATIVE_OPSET, standard_opset
from aetool.export.graphs import require_deployable
from aetool.model.checkpoint import TrainedAutoencoder
from aetool.parity import OutputParity, compare_graph
from aetool.runtime.autoencoder import load
from aetool.runtime.providers import PROVIDERS, ProviderName
from aetool.runtime.session import open_session
from aetool.selftest import in_precision, run_all_graphs

BATCHES = (1, 2, 7, 64, 1000)


def verify_graphs(graphs: Mapping[str, bytes], candidate: Candidate) -> list[OutputParity]:
    """Compare freshly exported graphs with the reference before anybody can use them.

    Real rows and rows 100 times out of range are compared at 1000 rows; every batch size of BATCHES is run
    and must agree as well; two runs must be identical; NaN and Inf must stay in their row and be flagged.

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
    rows, threshold = candidate.rows, candidate.threshold.value
    records = []
    for kind, once in (("golden", rows), ("out of range", candidate.out_of_range(rows))):
        features = _repeated(once)
        try:
            reference = {key: _repeated(values) for key, values in candidate.expected(once).items()}
        except ExportError:
            if kind == "golden":
                raise
            continue  # a forward that asserts what its rows may be has no answer to compare with
        for name, session in sessions.items():
            feed = reference["embedding"].astype(np.float32) if name == "decoder" else features
            whole = _run_twice(name, session, feed)
            records += compare_graph(name, reference, whole, features=features, threshold=threshold, rows=kind)
            if kind == "golden":
                records += _compare_normal(name, reference, whole, features, threshold)
            for batch in BATCHES[:-1]:
                part = _run_twice(name, session, feed[:batch])
                if all(np.array_equal(value, whole[key][:batch], equal_nan=True) for key, value in part.items()):
                    continue  # compared already
                # A few rows have no range of their own: they are put in the place of the first of many, and
                # held to the range of all.
                mixed = {key: np.concatenate([value, whole[key][batch:]]) for key, value in part.items()}
                label = f"{kind}, batch {batch}"
                compared = compare_graph(
                    name, reference, mixed, features=features, threshold=threshold, rows=label
                )
                records += [record for record in compared if not record.passed]
    _require_rows_apart(sessions["detector"], candidate)
    return records


def verify_against(
    bundle: str | Path, trained: TrainedAutoencoder, rows: Rows | None = None, *, provider: ProviderName = "auto"
) -> list[OutputParity]:
    """Compare a bundle, through this machine's runtime, with the checkpoint it came from.

    Args:
        rows: (rows, n_features); the checkpoint's held-out rows by default. They are compared as they are
            and, in a precision that is exact, 100 times out of range.

    Raises:
        InputError: no rows, or rows of another width.
    """
    opened = Bundle.open(bundle)
    if opened.manifest.feature_names != trained.names:
        raise InputError(
            f"{bundle}: has features {', '.join(opened.manifest.feature_names)}; the checkpoint has "
            f"{', '.join(trained.names)}; give the checkpoint that the bundle was exported from"
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
            if opened.manifest.variants[precision].tolerances is not None:
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
        more = f" and {len(failed) - 4} more" if len(failed) > 4 else ""
        raise VerificationError(
            f"{what} does not compute what {reference} does: {'; '.join(failed[:4])}{more}; it was not published. "
            "Train again with more dropout or a narrower network if rounding is to blame"
        )


def _repeated(values: NDArray[Any]) -> NDArray[Any]:
    """The rows over and over, as many as the largest batch has."""
    return np.resize(values, (max(BATCHES), *values.shape[1:]))


def _compare_normal(
    name: str, reference: Reference, found: Reference, features: Rows, threshold: float
) -> list[OutputParity]:
    """The normal rows by themselves: beside one far anomaly, their range is nothing."""
    normal = ~reference["is_anomaly"]
    if normal.all() or not normal.any():
        return []
    expected, actual = ({key: value[normal] for key, value in part.items()} for part in (reference, found))
    return compare_graph(
        name, expected, actual, features=features[normal], threshold=threshold, rows="normal golden"
    )


def _run(name: str, session: Any, rows: Rows) -> dict[str, NDArray[Any]]:
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {session.get_inputs()[0].name: rows})
    except Exception as error:  # onnxruntime's errors share no public base
        reason = " ".join(str(error).split())[:200]
        raise VerificationError(
            f"{name}: does not run on {len(rows)} rows ({reason}); make forward free of constants"
        ) from error
    return dict(zip(names, values, strict=True))


def _run_twice(name: str, session: Any, rows: Rows) -> dict[str, NDArray[Any]]:
    first, second = _run(name, session, rows), _run(name, session, rows)
    for output, values in first.items():
        if not np.array_equal(values, second[output], equal_nan=values.dtype.kind == "f"):
            raise VerificationError(
                f"{name}: two runs on the same rows differ in {output}; the graph is not deterministic"
            )
    return first


def _require_rows_apart(session: Any, candidate: Candidate) -> None:
    """A row with NaN or Inf is flagged, and its neighbours do not notice.

    Not where it stands for no category, which is a value like any other.
    """
    sample = np.resize(candidate.rows, (7, *candidate.rows.shape[1:]))
    names = [feature.name for feature in candidate.features] or range(sample[0].size)
    numbers = [column for column, name in enumerate(names) if name not in candidate.categories]
    clean = _run("detector", session, sample)["score"]
    columns = sorted({numbers[0], numbers[len(numbers) // 2], numbers[-1]}) if numbers else []
    for value in (np.inf, -np.inf) if candidate.imputes else (np.nan, np.inf, -np.inf):
        for column in columns:
            spoilt = sample.copy()
            spoilt[3].flat[column] = value
            found = _run("detector", session, spoilt)
            score, is_anomaly = found["score"], found["is_anomaly"]
            others = np.arange(7) != 3
            if not is_anomaly[3] or np.isfinite(score[3]):
                raise VerificationError(
                    f"detector: a row holding {value} scores {score[3]} and passes as normal; not publishable"
                )
            if not np.allclose(score[others], clean[others], rtol=1e-5, atol=0, equal_nan=True):
                raise VerificationError(
                    f"detector: a row holding {value} changes the scores of its neighbours; make each row a "
                    "matter of its own, with no mean over the batch"
                )
