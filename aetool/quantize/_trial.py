"""One recipe, converted and measured: graphs, structural checks, threshold, fidelity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import evenly, read_golden
from aetool.bundle.manifest import Tolerances
from aetool.checks.fidelity import Answers, Fidelity, fidelity, matched
from aetool.checks.parity import EXACT, MARGIN, SCALED, column_scale, compare_graph, compare_values
from aetool.choices import Precision
from aetool.errors import VerificationError
from aetool.export.graphs import require_deployable, slice_graphs
from aetool.export.opset import standard_opset
from aetool.export.threshold import CLEAR_GAP, LARGEST_SCORE, Threshold, choose_threshold
from aetool.export.verify import rows_apart
from aetool.quantize._calibration import Floats, Split
from aetool.quantize._convert import Converter, Recipe
from aetool.quantize._merge_graphs import set_threshold, whole_graph
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS

# Each precision has its own scores, and so its own threshold.


def matched_threshold(model: NDArray[np.float32], variant: NDArray[np.float32], threshold: float) -> Threshold:
    """Return the threshold at which `variant` flags as many normal rows as the model at `threshold`.

    Between the same two scores in rank, and as far from them as it was; where no row is flagged, or every one, it
    moves as the highest score does, or the lowest.

    Args:
        model: the model's scores of normal rows, (rows,).
        variant: the variant's scores of the same rows.
        threshold: the model's threshold.
    """
    there = np.isfinite(model) & np.isfinite(variant)
    before, after = (np.sort(score[there]).astype(np.float64) for score in (model, variant))
    flagged = int(np.count_nonzero(~(before <= threshold)))
    share = flagged / max(len(before), 1)
    if threshold >= LARGEST_SCORE or len(before) == 0:
        return Threshold(threshold, {"method": "that of fp32", "rows": len(before), "flagged_share": share})
    value = matched(before, after, threshold)
    if 0 < flagged < len(before):
        method = "flags the share of normal rows that fp32 flags"
        if np.min(np.abs(after - value)) <= CLEAR_GAP * value:  # rounding would decide
            value = choose_threshold(after, share, None).value
    else:
        method = f"moved as the {'lowest' if flagged else 'highest'} score of the normal rows"
    rule = {
        "method": method,
        "rows": len(before),
        "flagged_share": float(np.mean(~(after <= value))),
        "fp32_flagged_share": share,
    }
    return Threshold(value, rule)


# Required of every precision, however coarse: repeatable results, and rows that do not affect each other.

Outputs = dict[str, NDArray[Any]]
BATCHES = (1, 2, 7)
ROWS = 64
_MOST_COLUMNS = 200


def run(session: Any, rows: NDArray[Any]) -> Outputs:
    """Return all outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))


def _require_structure(graphs: Mapping[str, bytes], opset: int) -> None:
    """Raise ExportError for what no deployed graph may hold."""
    for content in graphs.values():
        require_deployable(onnx.load_from_string(content), opset)


def require_repeatable(sessions: Mapping[str, Any], feeds: Mapping[str, Floats], allowed: Tolerances) -> None:
    """Raise unless rows give the same results twice, and few rows nearly the same as among many.

    Raises:
        VerificationError: naming the graph and the output.
    """
    for name, session in sessions.items():
        feed = feeds[name][:ROWS]
        whole, again = run(session, feed), run(session, feed)
        for output, values in whole.items():
            if not np.array_equal(values, again[output], equal_nan=values.dtype.kind == "f"):
                raise VerificationError(f"{name}: two runs on the same rows differ in {output}; it was not added")
        for batch in BATCHES:
            for output, values in run(session, feed[:batch]).items():
                if output in ("is_anomaly", "segment"):
                    continue
                mixed = np.concatenate([values, whole[output][len(values) :]])
                record = compare_values(
                    name, output, whole[output], mixed, tolerance=getattr(allowed, output), least_rank=-1.0
                )
                if not record.passed:
                    raise VerificationError(
                        f"{name}: {output} of {batch} rows differs among {len(feed)} rows ({record.reason}); it "
                        "was not added"
                    )


def require_rows_apart(model: Any, variant: Any, rows: Floats, names: Sequence[str]) -> None:
    """Raise unless a cell with NaN or Inf that the model flags is flagged by the variant, and other rows do not
    change.

    Args:
        model: session of the model's detector.
        variant: session of the variant's detector.
        rows: rows to put the cells into.
        names: names of the columns; empty if the rows are no table's.

    Raises:
        VerificationError: naming the column.
    """
    columns = evenly(rows[0].size, _MOST_COLUMNS).tolist()
    before, after = (
        rows_apart(partial(run, session), rows, columns, (np.nan, np.inf, -np.inf), 0.0)
        for session in (model, variant)
    )
    lost = np.flatnonzero(after.passes & ~before.passes)
    if len(lost):
        column, value = after.cells[lost[0]]
        where = names[column] if names else f"place {column}"
        raise VerificationError(
            f"detector: a row with {value} in {where} would seem normal: the score of this model does not "
            "depend on the row itself, but on what the lower precision cannot represent; it was not added"
        )
    if after.spreads:
        raise VerificationError("detector: a row with NaN or Inf changes its neighbours' scores; it was not added")


_WILD = 30.0
"""Ratio of a column's range to that of nine tenths of its rows from which the column is to blame."""
_CHUNK = 1024
_OUTPUTS = ("embedding", "reconstruction", "score")


@dataclass(frozen=True, slots=True)
class VariantTrial:
    """Graphs of one recipe, with their threshold and fidelity."""

    recipe: Recipe
    graphs: dict[str, bytes]
    threshold: Threshold
    fidelity: Fidelity
    answers: Answers
    """For the rows judged."""


class Workbench:
    """A bundle with everything that its variants are made from and judged by."""

    def __init__(self, bundle: Bundle, split: Split) -> None:
        """Open the bundle's graphs and compute the model's outputs."""
        self.bundle, self.split = bundle, split
        self.float32 = {name: bundle.graph(name) for name in bundle.variant("fp32").files}
        self._whole = whole_graph(bundle)
        self.converter = Converter(self._whole, split.calibration)
        self._sessions = _open(self.float32)
        self._calibration_scores = _run_many(self._sessions["detector"], split.calibration)["score"]
        self.answers = _answers(self._sessions, split.judged)

    def scores(self, recipe: Recipe, rows: Floats) -> NDArray[np.float32]:
        """Return the scores of a recipe's detector for `rows`, (rows,)."""
        return self._scores(self.converter.convert(recipe), recipe.precision, rows)

    def make(self, recipe: Recipe) -> VariantTrial:
        """Return the graphs of a recipe with their threshold and fidelity."""
        model = self.converter.convert(recipe)
        # The scores do not depend on the threshold: it is chosen by them, and set in a second cut.
        scores = self._scores(model, recipe.precision, self.split.calibration)
        old = self.bundle.variant("fp32").threshold
        threshold = matched_threshold(self._calibration_scores, scores, old)
        graphs = self._cut(model, recipe.precision, threshold.value)
        answers = _answers(_open(graphs), self.split.judged)
        result = fidelity(self.answers, answers, self.split.labels)
        return VariantTrial(recipe, graphs, threshold, result, answers)

    def prove(self, trial: VariantTrial) -> Tolerances:
        """Return the allowed difference of a trial's graphs from the golden rows, after the checks every
        precision must pass.

        Raises:
            VerificationError, ExportError: naming what was lost.
        """
        sessions = _open(trial.graphs)
        _require_structure(trial.graphs, standard_opset(self._whole))
        golden = read_golden(self.bundle)
        feeds = {name: golden["embedding" if name == "decoder" else "features"] for name in sessions}
        feeds = {name: feed.astype(np.float32) for name, feed in feeds.items()}
        allowed = self._tolerances(sessions, feeds, golden, trial)
        require_repeatable(sessions, feeds, allowed)
        names = self.bundle.manifest.feature_names
        require_rows_apart(self._sessions["detector"], sessions["detector"], self.split.judged, names)
        return allowed

    def error_ratio(self, trial: VariantTrial) -> float | None:
        """Return the ratio of root mean squared reconstruction errors, in each column's range, variant to model.

        Normal rows only; None if it is not finite.
        """
        first, second = (np.sqrt(np.mean(error)) for error in self._errors(trial))
        return float(second / first) if first > 0 and np.isfinite(second) else None

    def worst_column(self, trial: VariantTrial) -> str | None:
        """Return the column to blame, in words: one with wild values, else the one whose reconstruction got
        worst."""
        features = self.bundle.manifest.features
        names = [feature.name for feature in features if feature.categories is None]
        if not names:
            return None
        numbers = np.array([feature.categories is None for feature in features])
        with np.errstate(all="ignore"):
            low, *usual, high = np.nanpercentile(
                self._single(self.split.calibration)[:, numbers], [0, 5, 95, 100], axis=0
            )
            wild = np.nan_to_num((high - low) / (usual[1] - usual[0]), nan=0.0, posinf=0.0)
        if wild.max() > _WILD:
            return f"column {names[int(wild.argmax())]} has values {wild.max():.0f} times its usual range"
        before, after = (np.mean(error.reshape(-1, len(names)), axis=0) for error in self._errors(trial))
        worst = int(np.argmax(np.nan_to_num(after - before, nan=np.inf, posinf=np.inf)))
        return f"column {names[worst]} suffers most"

    def _single(self, rows: Floats) -> Floats:
        """Return the rows of windows, or the rows that are no windows."""
        return rows.reshape(-1, len(self.bundle.manifest.features))

    def _errors(self, trial: VariantTrial) -> list[NDArray[np.float64]]:
        """Return squared reconstruction errors of the normal rows, as shares of the columns' ranges."""
        normal, features = self.split.normal, self.bundle.manifest.features
        rows = self.split.judged[normal]
        scale = np.broadcast_to(np.asarray(column_scale(rows, rows), np.float64), rows.shape[1:])
        numbers = np.array([feature.categories is None for feature in features]) if features else ...
        errors = []
        with np.errstate(all="ignore"):
            for answers in (self.answers, trial.answers):
                error = ((answers.reconstruction[normal] - rows) / np.where(scale > 0, scale, 1.0)) ** 2
                errors.append(np.nan_to_num(error[..., numbers] if features else error, nan=0.0))
        return errors

    def _scores(self, model: onnx.ModelProto, precision: Precision, rows: Floats) -> NDArray[np.float32]:
        sessions = _open({"detector": self._cut(model, precision, 0.0)["detector"]})
        return _run_many(sessions["detector"], rows)["score"]

    def _cut(self, model: onnx.ModelProto, precision: Precision, threshold: float) -> dict[str, bytes]:
        set_threshold(model, threshold)
        detector = onnx.load_from_string(self.float32["detector"])
        metadata = {entry.key: entry.value for entry in detector.metadata_props if entry.key != "graph"}
        metadata |= {"precision": precision, "threshold": repr(threshold)}
        graphs = slice_graphs(model, metadata, aetool.__version__)
        return {name: graphs[name] for name in self.float32}

    def _tolerances(
        self, sessions: Mapping[str, Any], feeds: Mapping[str, Floats], golden: Outputs, trial: VariantTrial
    ) -> Tolerances:
        records = []
        for name, session in sessions.items():
            outputs = {key: value for key, value in run(session, feeds[name]).items() if key in golden}
            records += compare_graph(
                name, golden, outputs, features=golden["features"], threshold=trial.threshold.value
            )
        normal = self.split.normal
        for output in _OUTPUTS:
            expected, actual = getattr(self.answers, output), getattr(trial.answers, output)
            if expected is not None:
                pair = {output: expected[normal]}, {output: actual[normal]}
                rows = self.split.judged[normal]
                records += compare_graph("autoencoder", *pair, features=rows, threshold=trial.threshold.value)
        worst = {name: max((r.max_scaled for r in records if r.output == name), default=0.0) for name in SCALED}
        ranks = [r.rank_correlation for r in records if r.rank_correlation is not None]
        flips, moved = (
            max(((r.flipped or 0) / r.shape[0] for r in records if r.output == name), default=0.0)
            for name in ("is_anomaly", "segment")
        )
        exact = EXACT._replace(rank_correlation=0.0)
        return Tolerances(
            **{name: max(getattr(exact, name), MARGIN * _finite(worst[name])) for name in SCALED},
            rank_correlation=min(EXACT.rank_correlation, 1 - MARGIN * (1 - min(ranks))),
            flips=MARGIN * max(flips, trial.fidelity.flips) + 1 / len(golden["score"]),
            segments=MARGIN * moved + 1 / len(golden["score"]),
        )


def _run_many(session: Any, rows: Floats) -> Outputs:
    """Return all outputs for many rows, in chunks."""
    parts = [run(session, rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(sessions: Mapping[str, Any], rows: Floats) -> Answers:
    outputs = _run_many(sessions["autoencoder"], rows) | _run_many(sessions["detector"], rows)
    return Answers(outputs.get("embedding"), outputs["reconstruction"], outputs["score"], outputs["is_anomaly"])


def _open(graphs: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: open_session(graph, PROVIDERS["cpu"], where=name) for name, graph in graphs.items()}


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float(np.finfo(np.float32).max)
