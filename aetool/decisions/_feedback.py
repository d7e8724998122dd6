"""`feedback`: what rows turned out to be, and what that says about the threshold and the training rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.checks.evaluation import finite_last
from aetool.decisions._calibrate import Calibrated, calibrate
from aetool.decisions._choice import Goal, ThresholdOutcome, choose, outcome, sorted_scores
from aetool.errors import InputError
from aetool.runtime.explain import explained, feature_labels
from aetool.runtime.session import load

Labels = NDArray[np.bool_]
PROPOSED = (Goal(costs=(1, 1)), Goal(fdr=0.1), Goal(recall=0.95))
"""Goals whose thresholds are always computed, where the labels allow."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A threshold that the labels imply."""

    goal: Goal
    threshold: float
    outcome: ThresholdOutcome
    """What it does on these rows."""


@dataclass(frozen=True, slots=True, repr=False)
class Feedback:
    """What the labels say."""

    rows: int
    anomalies: int
    threshold: float
    """The bundle's."""
    outcome: ThresholdOutcome
    """What it does on these rows."""
    only_flagged: bool
    """True: all of these rows were flagged, so that they tell nothing about rows below the threshold."""
    false_alarms: NDArray[np.int64]
    """Rows that were flagged and are normal, the highest score first."""
    missed: NDArray[np.int64]
    """Anomalies that were not flagged, the lowest score first."""
    scores: NDArray[np.float32]
    """(rows,)"""
    causes: Mapping[str, int]
    """Feature -> number of false alarms that it contributes most to; the most first."""
    proposals: tuple[Proposal, ...]
    published: Calibrated | None
    """The new bundle; None without a goal."""

    def __repr__(self) -> str:
        """Return the number of rows and of false alarms."""
        counts = f"{len(self.false_alarms):,} false alarms, {len(self.missed):,} missed"
        return f"<Feedback on {self.rows:,} rows: {counts}>"


def feedback(
    path: str | Path,
    rows: Any,
    labels: Labels,
    *,
    goal: Goal | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    source: str = "the rows given",
    limits: Limits = DEFAULT_LIMITS,
) -> Feedback:
    """Compare a bundle's decisions with what the rows turned out to be, and move the threshold if a goal is given.

    p-values stay as they are: labelled rows are seldom a fair sample, since flagged rows are looked at first.

    Args:
        path: the bundle.
        rows: (rows, n_features) in raw units, or columns by name.
        labels: (rows,) True for anomalies.
        goal: what the threshold is chosen for; None: only report.
        output: where to publish the new bundle; None: in place of `path`.
        overwrite: replace a bundle at `output`.
        source: name of the rows, for people.
        limits: bounds on what is read of the bundle, see `load`.

    Raises:
        InputError: no rows, or too few for the goal; or all were flagged, and the goal needs others too.
        BundleError: the bundle is damaged.
    """
    with load(path, provider="cpu", precision="fp32", limits=limits) as model:
        values = model.to_rows(rows).reshape(-1, *model.input_shape)
        if len(values) == 0 or np.shape(labels) != (len(values),):
            raise InputError(f"labels: expected one per row, {len(values):,} rows, found {np.shape(labels)}")
        score, threshold = model.score(values), model.threshold
        flagged = ~(score <= threshold)
        order = finite_last(score)
        alarms, missed = np.flatnonzero(flagged & ~labels), np.flatnonzero(~flagged & labels)
        alarms = alarms[np.argsort(-order[alarms], kind="stable")]
        causes: Mapping[str, int] = {}
        if len(alarms) and "explainer" in model.graphs:
            names, largest = feature_labels(model), explained(model, values[alarms]).largest(1)[:, 0]
            causes = dict(Counter(names[place] for place in largest.tolist()).most_common())
    normal, anomalous = sorted_scores(score[~labels]), sorted_scores(score[labels])
    normal = normal[np.isfinite(normal)]
    only_flagged = bool(flagged.all())
    proposals = []
    for each in PROPOSED:
        if not (only_flagged and each.recall is not None) and len(normal) and len(anomalous):
            try:
                chosen = _chosen(each, normal, anomalous, threshold, only_flagged)
            except InputError:  # too few
                continue
            proposals.append(Proposal(each, chosen, outcome(chosen, normal, anomalous, each)))
    published = None
    if goal is not None:
        if only_flagged and (goal.false_alarms is not None or goal.recall is not None):
            raise InputError(
                "all of these rows were flagged: they tell which alarms were false, not how often normal rows "
                "raise one or how many anomalies are missed; choose --fdr or the costs, or label other rows too"
            )
        chosen = _chosen(goal, normal, anomalous, threshold, only_flagged)
        wanted = {key: value for key, value in asdict(goal).items() if value is not None}
        told = {"data": source, "rows": len(values), "anomalies": int(labels.sum()), "goal": goal.text}
        published = calibrate(
            path,
            goal=Goal(threshold=chosen),
            output=output,
            overwrite=overwrite,
            limits=limits,
            record={"feedback": told, "goal": wanted},
        )
    return Feedback(
        rows=len(values),
        anomalies=int(labels.sum()),
        threshold=threshold,
        outcome=outcome(threshold, normal, anomalous, Goal(threshold=threshold)),
        only_flagged=only_flagged,
        false_alarms=alarms,
        missed=missed[np.argsort(order[missed], kind="stable")],
        scores=score,
        causes=causes,
        proposals=tuple(proposals),
        published=published,
    )


def _chosen(
    goal: Goal, normal: NDArray[np.float64], anomalous: NDArray[np.float64], threshold: float, only_flagged: bool
) -> float:
    """Return the threshold for a goal; as it is, where all rows were flagged and still would be."""
    found = choose(goal, normal, anomalous)
    lowest = min(float(scores[0]) for scores in (normal, anomalous) if len(scores))
    return threshold if only_flagged and found < lowest else found
