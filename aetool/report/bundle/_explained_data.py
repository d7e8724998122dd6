"""Single rows: what was found, what was expected, and what each feature contributes to the score."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.images import shown_shape
from aetool.report.bundle._images import image_pair
from aetool.report.bundle._windows import channel_pairs
from aetool.report.bundle.records import ErrorGrid, ExplainedRow, FeatureOfRow
from aetool.runtime.explain import feature_labels, shares
from aetool.runtime.session import AutoencoderSession

Texts = Callable[[int], tuple[str, ...]]
"""Function from a row's position to its values in the kept columns."""
_MOST_FEATURES = 12
_GRID_ROWS, _GRID_FEATURES = 20, 15
_WORST, _BEST = 6, 3
_ENDS = (1, 99)


def explained(
    model: AutoencoderSession,
    rows: NDArray[Any],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    texts: Texts,
    kept: Mapping[str, NDArray[Any]],
) -> tuple[tuple[ExplainedRow, ...], tuple[ExplainedRow, ...]]:
    """Explain the worst and the best rows, of those with a finite score; of windows that overlap, one."""
    if "explainer" not in model.graphs:
        return (), ()
    order = _by_score(score)
    kept = {} if model.manifest.series is None else kept
    stretch = _stretches(score, model.threshold, kept)
    worst = _apart(order[::-1], stretch, kept, _WORST)
    best = _apart(order, stretch, kept, max(0, min(_BEST, len(order) - len(worst))))
    worst_rows, best_rows = (
        _explained_rows(model, rows, chosen, score, labels, texts) for chosen in (worst, best)
    )
    return worst_rows, best_rows


def _explained_rows(
    model: AutoencoderSession,
    rows: NDArray[Any],
    chosen: NDArray[np.intp],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    kept: Texts,
) -> tuple[ExplainedRow, ...]:
    """Explain the rows at `chosen`, in that order, of all `rows` (rows, n_features)."""
    if not len(chosen):
        return ()
    why = model.explain(rows[chosen])
    explained = [
        ExplainedRow(
            int(number),
            float(score[number]),
            not score[number] <= model.threshold,
            None if labels is None else bool(labels[number]),
            (),
            kept(int(number)),
        )
        for number in chosen
    ]
    named = model.feature_names if model.manifest.series is not None else ()
    if (shape := shown_shape(model.manifest)) is not None:
        pairs = zip(explained, why.found, why.expected, strict=True)
        return tuple(
            replace(row, image=image_pair(found.reshape(shape), expected.reshape(shape)))
            for row, found, expected in pairs
        )
    if len(model.input_shape) == 2:
        parts = zip(explained, why.found, why.expected, why.contribution, strict=True)
        return tuple(replace(row, channels=tuple(channel_pairs(f, e, c, named))) for row, f, e, c in parts)
    largest = why.largest(_MOST_FEATURES)
    share = shares(why)
    expected, found = (part.reshape(len(chosen), -1).astype(np.float64) for part in (why.expected, why.found))
    names = feature_labels(model)
    flat = rows.reshape(len(rows), -1)
    ends = {int(column): _ends(flat[:, column]) for column in np.unique(largest)}

    def feature(index: int, column: int) -> FeatureOfRow:
        name = names[column]
        texts = model.categories.get(name)
        pair = found[index, column], expected[index, column]
        shown = [_number(value) if texts is None else _category(value, texts) for value in pair]
        places = _places(*pair, *ends[column]) if texts is None and all(map(np.isfinite, pair)) else None
        return FeatureOfRow(name, shown[0], shown[1], float(share[index, column]), places)

    return tuple(
        replace(row, features=tuple(feature(index, int(column)) for column in largest[index]))
        for index, row in enumerate(explained)
    )


def error_grid_of(model: AutoencoderSession, rows: NDArray[Any], score: NDArray[np.float64]) -> ErrorGrid | None:
    """Return the errors of the rows with the highest scores; None where rows are images or windows."""
    worst = _by_score(score)[::-1][:_GRID_ROWS]
    is_table = len(model.input_shape) == 1 and shown_shape(model.manifest) is None
    if "explainer" not in model.graphs or not is_table or not len(worst):
        return None
    share = shares(model.explain(rows[worst]))
    columns = np.argsort(-share.sum(axis=0), kind="stable")[:_GRID_FEATURES]
    names = feature_labels(model)
    return ErrorGrid(
        tuple(worst.tolist()),
        tuple(names[column] for column in columns),
        tuple(tuple(share[:, column].tolist()) for column in columns),
        share.shape[1] - len(columns),
    )


def _stretches(score: NDArray[np.float64], threshold: float, kept: Mapping[str, NDArray[Any]]) -> NDArray[np.intp]:
    """Return the number of the stretch of each row: of windows that overlap, on one side of the threshold, one."""
    if "start" not in kept or len(score) < 2:
        return np.arange(len(score))
    start, end = kept["start"], kept["end"]
    apart = np.append(True, ~((start[1:] > start[:-1]) & (start[1:] <= end[:-1])))
    if "group" in kept:
        apart[1:] |= kept["group"][1:] != kept["group"][:-1]
    flagged = ~(score <= threshold)
    apart[1:] |= flagged[1:] != flagged[:-1]
    return np.cumsum(apart)


def _apart(
    order: NDArray[np.intp], stretch: NDArray[np.intp], kept: Mapping[str, NDArray[Any]], most: int
) -> NDArray[np.intp]:
    """Return the first rows in `order`, at most one of a stretch, and of windows none that overlaps another."""
    if "start" not in kept:
        return order[:most]
    start, end = kept["start"], kept["end"]
    group = kept.get("group", np.zeros(len(start), np.intp))
    _, first = np.unique(stretch[order], return_index=True)
    found: list[int] = []
    for place in order[np.sort(first)].tolist():
        if len(found) == most:
            break
        if not any(group[place] == group[o] and start[place] <= end[o] and start[o] <= end[place] for o in found):
            found.append(place)
    return np.array(found, np.intp)


def _by_score(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the positions of finite scores, the lowest first."""
    order = np.argsort(score, kind="stable")
    return order[np.isfinite(score[order])]


def _ends(column: NDArray[Any]) -> tuple[float, float]:
    finite = column[np.isfinite(column)].astype(np.float64)
    low, high = np.percentile(finite, _ENDS) if finite.size else (0.0, 1.0)
    return float(low), float(high)


def _places(found: float, expected: float, low: float, high: float) -> tuple[float, float, float, float]:
    start, end = min(found, expected, low), max(found, expected, high)
    width = (end - start) or 1.0
    return (found - start) / width, (expected - start) / width, (low - start) / width, (high - start) / width


def _number(value: float) -> str:
    """Return a short number: `4,980`, `27,013`, `0.0123`, `none`."""
    if np.isnan(value):
        return "none"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def _category(value: float, texts: tuple[str, ...]) -> str:
    if np.isnan(value):
        return "none"
    return texts[int(value)] if value in range(len(texts)) else "another"
