"""Single rows: what was found, what was expected, and what each feature contributes to the score."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.portrait.records import ExplainedRow, FeatureOfRow
from aetool.runtime.autoencoder import AutoencoderSession
from aetool.runtime.reasons import shares

Texts = Callable[[int], tuple[str, ...]]
"""Gives what stands in the columns that are kept, of one row."""
MOST_FEATURES = 12
_ENDS = (1, 99)


def explained_rows(
    model: AutoencoderSession,
    rows: NDArray[Any],
    chosen: NDArray[np.intp],
    score: NDArray[np.float64],
    labels: NDArray[np.bool_] | None,
    kept: Texts,
) -> tuple[ExplainedRow, ...]:
    """The rows at `chosen`, in that order, of all `rows` (rows, n_features), their scores and names."""
    if not len(chosen):
        return ()
    why = model.explain(rows[chosen])
    largest = why.largest(MOST_FEATURES)
    share = shares(why)
    expected, found = (part.reshape(len(chosen), -1).astype(np.float64) for part in (why.expected, why.found))
    names = model.feature_names or [",".join(map(str, index)) for index in np.ndindex(*model.input_shape)]
    flat = rows.reshape(len(rows), -1)
    ends = {int(column): _ends(flat[:, column]) for column in np.unique(largest)}

    def feature(place: int, column: int) -> FeatureOfRow:
        name = names[column]
        texts = model.categories.get(name)
        pair = found[place, column], expected[place, column]
        shown = [_number(value) if texts is None else _category(value, texts) for value in pair]
        places = _places(*pair, *ends[column]) if texts is None and all(map(np.isfinite, pair)) else None
        return FeatureOfRow(name, shown[0], shown[1], float(share[place, column]), places)

    return tuple(
        ExplainedRow(
            int(number),
            float(score[number]),
            not score[number] <= model.threshold,
            None if labels is None else bool(labels[number]),
            tuple(feature(place, int(column)) for column in largest[place]),
            kept(int(number)),
        )
        for place, number in enumerate(chosen)
    )


def _ends(column: NDArray[Any]) -> tuple[float, float]:
    finite = column[np.isfinite(column)].astype(np.float64)
    low, high = np.percentile(finite, _ENDS) if finite.size else (0.0, 1.0)
    return float(low), float(high)


def _places(found: float, expected: float, low: float, high: float) -> tuple[float, float, float, float]:
    start, end = min(found, expected, low), max(found, expected, high)
    width = (end - start) or 1.0
    return (found - start) / width, (expected - start) / width, (low - start) / width, (high - start) / width


def _number(value: float) -> str:
    """Short: `4,980`, `27,013`, `0.0123`, `none`."""
    if np.isnan(value):
        return "none"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"


def _category(value: float, texts: tuple[str, ...]) -> str:
    if np.isnan(value):
        return "none"
    return texts[int(value)] if value in range(len(texts)) else "another"
