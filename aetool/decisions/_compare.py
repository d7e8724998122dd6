"""`compare`: an old model and a new one on the same rows, and whether the new one is better."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.manifest import Manifest
from aetool.checks.evaluation import Auroc, finite_last, ranking
from aetool.checks.parity import rank_correlation
from aetool.errors import InputError
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession, load
from aetool.suggest import few, hint

Labels = NDArray[np.bool_]
Scores = NDArray[np.float32]
KINDS = 8
"""Groups of similar rows, of normal ones and of anomalies each, that are drawn anew as a whole."""
_QUANTILE = 2.365
"""Of Student's t with KINDS - 1 degrees of freedom, for 95 %."""
_SAMPLES = 300
MOST_TIMED = 16_384
"""Most rows of the measurement of many rows."""
_ROUNDS, _ROUND_S = 7, 0.02


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models."""

    name: str
    id: str
    threshold: float
    flagged: int
    """Rows above its threshold."""
    bytes: int
    """Size of its graphs in the precision compared."""
    one_row_s: float
    """Seconds of the score of one row."""
    rows_per_s: float
    """Scores per second, of many rows at once."""
    auroc: float | None = None
    recall: float | None = None
    false_alarms: float | None = None
    """Proportion of normal rows above its threshold."""
    false_alarms_at_recall: float | None = None
    """The same at the threshold where its recall is the one of the old model at its own."""


@dataclass(frozen=True, slots=True, repr=False)
class ModelComparison:
    """An old model and a new one on the same rows."""

    verdict: str
    """One of "no difference", "no clear difference", "better", "worse", "different"."""
    sentence: str
    """The verdict with its reason."""
    rows: int
    old: Side
    new: Side
    rank_correlation: float
    """Spearman's, of the scores."""
    now_flagged: NDArray[np.int64]
    """Rows that the new model alone flags, by their new scores, highest first."""
    no_longer_flagged: NDArray[np.int64]
    """Rows that the old model alone flags, by their old scores, highest first."""
    auroc_change: float | None
    """AUROC of the new model less that of the old; None without labels."""
    auroc_interval: tuple[float, float] | None
    """Its 95 % interval, from bootstrap samples of kinds of rows."""
    scores: tuple[Scores, Scores]
    """Scores of both, (rows,)."""
    labels: Labels | None

    @property
    def changed(self) -> float:
        """Proportion of rows whose decision changes."""
        return (len(self.now_flagged) + len(self.no_longer_flagged)) / self.rows

    def __repr__(self) -> str:
        """Return the verdict."""
        return f"<ModelComparison of {self.old.name!r} and {self.new.name!r}: {self.verdict}>"


def compare(
    old: str | Path,
    new: str | Path,
    rows: Any,
    labels: Labels | None = None,
    *,
    provider: ProviderName = "auto",
    precision: str = "auto",
    limits: Limits = DEFAULT_LIMITS,
    timed: bool = True,
) -> ModelComparison:
    """Compare two bundles on the same rows.

    With labels, the new model is better or worse if the 95 % interval of the difference of AUROC lies on one side
    of 0. Two models differ on similar rows alike, so that KINDS of rows are drawn anew, not single ones: these
    would take another seed for a better model. Without labels, the decisions that change say that it is different.

    Args:
        old: the bundle in use.
        new: the bundle that might replace it.
        rows: (rows, n_features) in raw units, or columns by name, of which neither was trained.
        labels: (rows,) True for anomalies.
        provider: execution provider, see `load`.
        precision: a precision that both have.
        limits: bounds on what is read of the bundles, see `load`.
        timed: measure the speed too, a second.

    Raises:
        InputError: their columns differ, or labels of one kind only.
        BundleError: a bundle is damaged.
    """
    given: dict[str, Any] = {"provider": provider, "precision": precision, "limits": limits}
    with load(old, **given) as first, load(new, **given) as second:
        if differences := columns_that_differ(first.manifest, second.manifest):
            raise InputError(
                f"{old} and {new} take different rows: {'; '.join(differences)}; compare models of the same "
                "columns"
            )
        values = first.to_rows(rows).reshape(-1, *first.input_shape)
        if len(values) == 0:
            raise InputError("compare: expected one row or more, found none; give rows")
        if labels is not None and np.shape(labels) != (len(values),):
            raise InputError(f"labels: expected one per row, {len(values):,}, found {np.shape(labels)}")
        models = first, second
        scores = first.score(values), second.score(values)
        flagged = [~(score <= model.threshold) for score, model in zip(scores, models, strict=True)]
        times = _times(models, values) if timed else [(0.0, 0.0)] * 2
        quality = _quality(scores, flagged, labels)
        sides = [
            Side(
                name=model.name,
                id=model.manifest.id,
                threshold=model.threshold,
                flagged=int(found.sum()),
                bytes=_size(model),
                one_row_s=one,
                rows_per_s=many,
                **figures,
            )
            for model, found, (one, many), figures in zip(models, flagged, times, quality, strict=True)
        ]
    change = interval = None
    if labels is not None:
        change = (sides[1].auroc or 0.0) - (sides[0].auroc or 0.0)
        half = _QUANTILE * _spread_of_change(scores, labels, kinds_of(values, labels))
        interval = change - half, change + half
    now, no_longer = flagged[1] & ~flagged[0], flagged[0] & ~flagged[1]
    same = np.array_equal(*scores, equal_nan=True) and not (now.any() or no_longer.any())
    verdict, sentence = _verdict(same, change, interval, int(now.sum()), int(no_longer.sum()), len(values))
    return ModelComparison(
        verdict=verdict,
        sentence=sentence,
        rows=len(values),
        old=sides[0],
        new=sides[1],
        rank_correlation=1.0 if same else rank_correlation(*scores),
        now_flagged=_highest(now, scores[1]),
        no_longer_flagged=_highest(no_longer, scores[0]),
        auroc_change=change,
        auroc_interval=interval,
        scores=scores,
        labels=labels,
    )


def columns_that_differ(old: Manifest, new: Manifest) -> list[str]:
    """Return in words how the rows of two models differ; empty where they take the same."""
    if old.input_shape != new.input_shape and not (old.features and new.features):
        return [f"rows of shape {old.input_shape} and {new.input_shape}"]
    names = old.feature_names, new.feature_names
    found = [
        f"{what} {few([repr(name) for name in missing], 5)}"
        for what, missing in (
            ("the new one has no", [name for name in names[0] if name not in names[1]]),
            ("the old one has no", [name for name in names[1] if name not in names[0]]),
        )
        if missing
    ]
    if not found and names[0] != names[1]:
        found.append("the same columns in another order")
    for name, texts in old.categories.items():
        if name in names[1] and new.categories.get(name) != texts:
            found.append(f"other categories of {name!r}")
    found += [
        f"categories of {name!r} in the new one alone"
        for name in new.categories
        if name in names[0] and name not in old.categories
    ]
    return found


def _verdict(
    same: bool,
    change: float | None,
    interval: tuple[float, float] | None,
    now: int,
    no_longer: int,
    rows: int,
) -> tuple[str, str]:
    decisions = f"{now + no_longer:,} of {rows:,} decisions change"
    if same:
        return "no difference", f"No difference: every score and decision of {rows:,} rows is the same."
    if change is None or interval is None:
        if now + no_longer == 0:
            return "no clear difference", f"No clear difference: no decision of {rows:,} rows changes."
        return "different", f"Different: {decisions}; without labels it cannot be said which is better."
    told = f"AUROC {change:+.4f} (95 %: {interval[0]:+.4f} to {interval[1]:+.4f}); {decisions}."
    if interval[0] > 0:
        return "better", f"Better: {told}"
    if interval[1] < 0:
        return "worse", f"Worse: {told}"
    return "no clear difference", f"No clear difference: {told}"


def kinds_of(rows: Scores, labels: Labels) -> NDArray[np.intp]:
    """Return the kind of each row, (rows,): normal rows and anomalies, each halved again and again.

    They are halved along their main axis: the first principal component of the standardised columns, by power
    iteration.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
        flat = np.where(np.isfinite(flat), flat, np.nan)
        known = np.isfinite(flat)
        counts = np.maximum(known.sum(axis=0), 1)
        centred = np.where(known, flat - np.where(known, flat, 0).sum(axis=0) / counts, 0)
        scale = np.sqrt((centred**2).mean(axis=0))
        z = np.clip(centred / np.where(scale > 0, scale, 1), -10, 10).astype(np.float32)
    kinds = labels.astype(np.intp)
    for _ in range(KINDS.bit_length() - 1):
        halves = kinds * 2
        for kind in np.unique(kinds):
            here = np.flatnonzero(kinds == kind)
            order = np.argsort(_along_main_axis(z[here]), kind="stable")
            halves[here[order[len(here) // 2 :]]] += 1
        kinds = halves
    return np.unique(kinds, return_inverse=True)[1]


def _along_main_axis(rows: Scores) -> Scores:
    centred = rows - rows.mean(axis=0)
    axis = (centred**2).sum(axis=0)
    some = centred[:: max(1, len(centred) // 2000)]
    for _ in range(10):
        axis = some.T @ (some @ axis)
        axis /= max(float(np.linalg.norm(axis)), 1e-30)
    found: Scores = centred @ axis
    return found


def _spread_of_change(scores: Sequence[Scores], labels: Labels, kinds: NDArray[np.intp]) -> float:
    """Return the standard error of AUROC(second) - AUROC(first) when kinds of rows are drawn anew.

    The cluster bootstrap of Cameron, Gelbach & Miller 2008.
    """
    random = np.random.default_rng(0)
    first, second = (Auroc(score, labels) for score in scores)
    parts = [np.unique(kinds[chosen]) for chosen in (labels, ~labels)]
    changes = np.empty(_SAMPLES)
    weights = np.empty(len(kinds))
    for sample in range(_SAMPLES):
        for part in parts:
            weights[part] = np.bincount(random.integers(0, len(part), len(part)), minlength=len(part))
        drawn = weights[kinds]
        changes[sample] = second.of(drawn) - first.of(drawn)
    return float(changes.std())


def _quality(
    scores: Sequence[Scores], flagged: Sequence[Labels], labels: Labels | None
) -> list[dict[str, float | None]]:
    if labels is None:
        return [{}, {}]
    if labels.all() or not labels.any():
        which = "an anomaly" if not labels.any() else "normal"
        raise InputError(f"labels: no row is labelled {which}; give rows of both kinds, or leave the labels out")
    recall = float(flagged[0][labels].mean())
    found: list[dict[str, float | None]] = []
    for score, flags in zip(scores, flagged, strict=True):
        values = finite_last(score)
        at = np.sort(values[labels])[::-1]
        hits = round(recall * len(at))
        found.append(
            {
                "auroc": ranking(score, labels)["auroc"],
                "recall": float(flags[labels].mean()),
                "false_alarms": float(flags[~labels].mean()),
                "false_alarms_at_recall": float((values[~labels] >= at[hits - 1]).mean()) if hits else 0.0,
            }
        )
    return found


def _times(models: Sequence[AutoencoderSession], rows: Scores) -> list[tuple[float, float]]:
    """Return seconds of one row, and rows per second; the models take turns, the median of rounds counts."""
    many = np.resize(rows, (min(MOST_TIMED, max(len(rows), 1024)), *rows.shape[1:]))
    one = rows[:1]
    ones: list[list[float]] = [[], []]
    bulks: list[list[float]] = [[], []]
    for turn in range(_ROUNDS + 1):  # the first warms up
        for place, model in enumerate(models):
            spent = _seconds_each(model.score, one), _seconds_each(model.score, many)
            if turn:
                ones[place].append(spent[0])
                bulks[place].append(spent[1])
    return [
        (float(np.median(single)), len(many) / float(np.median(bulk)))
        for single, bulk in zip(ones, bulks, strict=True)
    ]


def _seconds_each(run: Callable[[Any], Any], rows: Scores) -> float:
    begin, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - begin) < _ROUND_S or count == 0:
        run(rows)
        count += 1
    return spent / count


def _size(model: AutoencoderSession) -> int:
    files = model.manifest.files
    return sum(files[name].size for name in model.manifest.variants[model.precision].files.values())


def _highest(chosen: Labels, score: Scores) -> NDArray[np.int64]:
    places = np.flatnonzero(chosen)
    return places[np.argsort(-finite_last(score[places]), kind="stable")]


# Requirements such as "auroc>=old-0.002, changed<=1%", for pipelines.

FIGURES: Mapping[str, Callable[[ModelComparison], tuple[float | None, float | None]]] = {
    "auroc": lambda found: (found.old.auroc, found.new.auroc),
    "recall": lambda found: (found.old.recall, found.new.recall),
    "false_alarms": lambda found: (found.old.false_alarms, found.new.false_alarms),
    "false_alarms_at_recall": lambda found: (found.old.false_alarms_at_recall, found.new.false_alarms_at_recall),
    "changed": lambda found: (0.0, found.changed),
    "rank_correlation": lambda found: (1.0, found.rank_correlation),
    "one_row": lambda found: (found.old.one_row_s * 1e6, found.new.one_row_s * 1e6),
    "rows_per_s": lambda found: (found.old.rows_per_s, found.new.rows_per_s),
    "bytes": lambda found: (found.old.bytes, found.new.bytes),
}
"""Figure -> its values for the old model and the new one; one_row in microseconds."""
_REQUIREMENT = re.compile(
    r"(?P<name>[a-z_]+)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?:(?P<old>old)\s*(?:(?P<change>[-+*])\s*(?P<by>[0-9.e-]+%?))?|(?P<value>[0-9.e-]+%?))"
)
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


class Requirement:
    """A condition on the new model, such as `auroc>=old-0.002`, `changed<=1%` or `one_row<=old*1.1`.

    Raises:
        InputError: it cannot be read, or names no figure of FIGURES.
    """

    def __init__(self, text: str) -> None:
        """Read the condition."""
        self.text = " ".join(text.split())
        found = _REQUIREMENT.fullmatch(self.text)
        if found is None:
            raise InputError(
                f"requirement {text!r:.60}: expected FIGURE>=VALUE, such as auroc>=old-0.002 or changed<=1%"
            )
        self.figure = found["name"]
        if self.figure not in FIGURES:
            raise InputError(
                f"requirement {text!r:.60}: no figure {self.figure!r}{hint(self.figure, FIGURES)}; choose one of "
                f"{', '.join(FIGURES)}"
            )
        self._sign, self._from_old, self._change = found["sign"], found["old"] is not None, found["change"]
        self._number = _number(found["by"] or found["value"] or "0", text)

    def unmet(self, found: ModelComparison) -> str | None:
        """Return in words why a comparison does not meet it; None if it does.

        Raises:
            InputError: it needs labels, and there were none.
        """
        before, after = FIGURES[self.figure](found)
        if before is None or after is None:
            raise InputError(f"requirement {self.text}: needs labels; name their column with --label")
        limit = self._number
        if self._from_old:
            limit = before * limit if self._change == "*" else before + (-limit if self._change == "-" else limit)
        if _SIGNS[self._sign](after, limit):
            return None
        return f"{self.text}: {self.figure} is {after:.6g}, {self._sign} {limit:.6g} was required"


def requirements(text: str) -> list[Requirement]:
    """Read conditions with commas between them."""
    return [Requirement(part) for part in text.split(",")]


def _number(text: str, whole: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise InputError(f"requirement {whole!r:.60}: {text!r} is not a number") from error
