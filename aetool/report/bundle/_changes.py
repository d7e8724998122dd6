"""Distributions of the columns that drifted, in the bins of baseline.json."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import FeatureBaseline, read_baseline
from aetool.bundle.bundle import Bundle
from aetool.checks.drift import Drift
from aetool.report.bundle.records import ColumnChange
from aetool.report.draw.units import figure

_MOST_COLUMNS, _MOST_CATEGORIES = 9, 10


def changes_of(bundle: Bundle, rows: NDArray[Any], drift: Drift) -> tuple[ColumnChange, ...]:
    """Return the columns of (rows, n_features) that drifted; none where the bundle has no baseline."""
    baseline = read_baseline(bundle)
    if baseline is None:
        return ()
    columns = {feature.name: (feature, rows[:, i]) for i, feature in enumerate(baseline.features)}
    changed = [column.name for column in drift.features if column.verdict in ("drift", "moderate")]
    categories = bundle.manifest.categories
    return tuple(_change(*columns[name], categories.get(name, ())) for name in changed[:_MOST_COLUMNS])


def _change(feature: FeatureBaseline, column: NDArray[Any], categories: tuple[str, ...]) -> ColumnChange:
    values = column.astype(np.float64)
    now = [count / len(values) for count in feature.counts_of(values).tolist()]
    before = list(feature.shares)
    if feature.categories is not None:
        names = [*categories, "other values", "missing"]
    else:
        edges = [figure(edge) for edge in feature.edges]
        names = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        names = [f"up to {edges[0]}", *names, f"above {edges[-1]}", "missing"] if edges else ["values", "missing"]
        if feature.range is not None:
            # Values beyond those of the training rows are shown apart.
            low, high = feature.range
            below, above = (float(np.mean(beyond)) for beyond in (values < low, values > high))
            names = [f"below {figure(low)}: new", *names[:-1], f"above {figure(high)}: new", names[-1]]
            before = [0.0, *before[:-1], 0.0, before[-1]]
            now = [below, *now[:-1], above, now[-1]]
            now[1] -= below
            now[-3] -= above
    shown = [i for i in range(len(names)) if before[i] > 0 or now[i] > 0]
    if len(shown) > _MOST_CATEGORIES and feature.categories is not None:
        shown = sorted(sorted(shown, key=lambda i: -abs(now[i] - before[i]))[:_MOST_CATEGORIES])
    return ColumnChange(
        feature.name,
        tuple(names[i] for i in shown),
        tuple(before[i] for i in shown),
        tuple(now[i] for i in shown),
    )
