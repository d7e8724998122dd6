"""One recipe made and measured: graphs, threshold, how faithful they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import aetool
from aetool.bundle import Bundle
from aetool.export.compatibility import standard_opset
from aetool.export.graphs import slice_graphs
from aetool.export.threshold import Threshold
from aetool.fidelity import Answers, Fidelity, fidelity
from aetool.manifest import Tolerances
from aetool.parity import EXACT, MARGIN, SCALED, column_scale, compare_graph
from aetool.quantize.calibration import Floats
from aetool.quantize.checks import Outputs, require_repeatable, require_rows_apart, require_structure, run
from aetool.quantize.convert import Converter, Precision, Recipe
from aetool.quantize.own_threshold import matched_threshold
from aetool.quantize.rows import Split
from aetool.quantize.whole import set_threshold, whole_graph
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import open_session
from aetool.selftest import read_golden

WILD = 30.0
"""How many times the range of nine tenths of its rows a column may have before it is to blame."""
_CHUNK = 1024
_OUTPUTS = ("embedding", "reconstruction", "score")


@dataclass(frozen=True, slots=True)
class Trial:
    recipe: Recipe
    graphs: dict[str, bytes]
    threshold: Threshold
    fidelity: Fidelity
    answers: Answers
    """For the rows judged."""


class Workbench:
    """A bundle with everything that its variants are made from and judged by."""

    def __init__(self, bundle: Bundle, split: Split) -> None:
        self.bundle, self.split = bundle, split
        self.float32 = {name: bundle.graph(name) for name in bundle.variant("fp32").files}
        self._whole = whole_graph(bundle)
        self.converter = Converter(self._whole, split.calibration)
        self._sessions = _open(self.float32)
        self._calibration_scores = run_many(self._sessions["detector"], split.calibration)["score"]
        self.answers = _answers(self._sessions, split.judged)

    def scores(self, recipe: Recipe, rows: Floats) -> NDArray[np.float32]:
        """What a recipe's detector gives for `rows`, (rows,)."""
        return self._scores(self.converter.convert(recipe), recipe.precision, rows)

    def make(self, recipe: Recipe) -> Trial:
        """The graphs of a recipe, judged."""
        model = self.converter.convert(recipe)
        # The scores do not depend on the threshold: it is chosen by them, and set in a second cut.
        scores = self._scores(model, recipe.precision, self.split.calibration)
        old = self.bundle.variant("fp32").threshold
        threshold = matched_threshold(self._calibration_scores, scores, old)
        graphs = self._cut(model, recipe.precision, threshold.value)
        answers = _answers(_open(graphs), self.split.judged)
        found = fidelity(self.answers, answers, self.split.labels)
        return Trial(recipe, graphs, threshold, found, answers)

    def prove(self, trial: Trial) -> Tolerances:
        """What a trial's graphs may differ from the golden rows, after everything that no precision may lose.

        Raises:
            VerificationError, ExportError: naming what was lost.
        """
        sessions = _open(trial.graphs)
        require_structure(trial.graphs, standard_opset(self._whole))
        golden = read_golden(self.bundle)
        feeds = {name: golden["embedding" if name == "decoder" else "features"] for name in sessions}
        feeds = {name: feed.astype(np.float32) for name, feed in feeds.items()}
        allowed = self._tolerances(sessions, feeds, golden, trial)
        require_repeatable(sessions, feeds, allowed)
        names = self.bundle.manifest.feature_names
        require_rows_apart(self._sessions["detector"], sessions["detector"], self.split.judged, names)
        return allowed

    def error_ratio(self, trial: Trial) -> float | None:
        """Root mean squared reconstruction error of the normal rows, in each column's range: the variant's to the
        model's. None where nothing is left of it."""
        first, second = (np.sqrt(np.mean(error)) for error in self._errors(trial))
        return float(second / first) if first > 0 and np.isfinite(second) else None

    def worst_column(self, trial: Trial) -> str | None:
        """The column to blame, in words: one with wild values, else the one whose reconstruction got worst."""
        features = self.bundle.manifest.features
        names = [feature.name for feature in features if feature.categories is None]
        if not names:
            return None
        numbers = np.array([feature.categories is None for feature in features])
        with np.errstate(all="ignore"):
            low, *usual, high = np.nanpercentile(self.split.calibration[:, numbers], [0, 5, 95, 100], axis=0)
            wild = np.nan_to_num((high - low) / (usual[1] - usual[0]), nan=0.0, posinf=0.0)
        if wild.max() > WILD:
            return f"column {names[int(wild.argmax())]} has values {wild.max():.0f} times its usual range"
        before, after = (np.mean(error, axis=0) for error in self._errors(trial))
        worst = int(np.argmax(np.nan_to_num(after - before, nan=np.inf, posinf=np.inf)))
        return f"column {names[worst]} suffers most"

    def _errors(self, trial: Trial) -> list[NDArray[np.float64]]:
        """Squared reconstruction errors of the normal rows, as shares of the columns' ranges."""
        normal, features = self.split.normal, self.bundle.manifest.features
        rows = self.split.judged[normal]
        scale = np.broadcast_to(np.asarray(column_scale(rows, rows), np.float64), rows.shape[1:])
        numbers = np.array([feature.categories is None for feature in features]) if features else ...
        errors = []
        with np.errstate(all="ignore"):
            for answers in (self.answers, trial.answers):
                error = ((answers.reconstruction[normal] - rows) / np.where(scale > 0, scale, 1.0)) ** 2
                errors.append(np.nan_to_num(error[:, numbers] if features else error, nan=0.0))
        return errors

    def _scores(self, model: onnx.ModelProto, precision: Precision, rows: Floats) -> NDArray[np.float32]:
        sessions = _open({"detector": self._cut(model, precision, 0.0)["detector"]})
        scores: NDArray[np.float32] = run_many(sessions["detector"], rows)["score"]
        return scores

    def _cut(self, model: onnx.ModelProto, precision: Precision, threshold: float) -> dict[str, bytes]:
        set_threshold(model, threshold)
        detector = onnx.load_from_string(self.float32["detector"])
        metadata = {entry.key: entry.value for entry in detector.metadata_props if entry.key != "graph"}
        metadata |= {"precision": precision, "threshold": repr(threshold)}
        graphs = slice_graphs(model, metadata, aetool.__version__)
        return {name: graphs[name] for name in self.float32}

    def _tolerances(
        self, sessions: Mapping[str, Any], feeds: Mapping[str, Floats], golden: Outputs, trial: Trial
    ) -> Tolerances:
        records = []
        for name, session in sessions.items():
            found = {key: value for key, value in run(session, feeds[name]).items() if key in golden}
            records += compare_graph(
                name, golden, found, features=golden["features"], threshold=trial.threshold.value
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


def run_many(session: Any, rows: Floats) -> Outputs:
    """All outputs for many rows, in chunks."""
    parts = [run(session, rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(sessions: Mapping[str, Any], rows: Floats) -> Answers:
    found = run_many(sessions["autoencoder"], rows) | run_many(sessions["detector"], rows)
    return Answers(found.get("embedding"), found["reconstruction"], found["score"], found["is_anomaly"])


def _open(graphs: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: open_session(graph, PROVIDERS["cpu"], where=name) for name, graph in graphs.items()}


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float(np.finfo(np.float32).max)
