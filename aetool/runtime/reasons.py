"""Reasons of scores as records: features by name, categories as text."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.arrays import column_names
from aetool.runtime.categories import factorise
from aetool.runtime.explanation import Explanation

if TYPE_CHECKING:
    from aetool.runtime.autoencoder import AutoencoderSession

Value = float | str | None


class Reason(NamedTuple):
    """What one feature of a row has to do with the row's score."""

    feature: str
    """Its name; its index (3 or 0,12,5) where the model's features have none."""
    share: float
    """Of the score, 0 to 1; 0 where the score is 0 or no number."""
    expected: Value
    """What the model expects, in raw units: a number, or the likeliest category as text."""
    found: Value
    """What stands in the row: a number, or a category as text, of one that the model does not know the cell's own
    ("" where rows are an array of indexes). None: missing."""


def reasons_of(model: "AutoencoderSession", features: Any, count: int) -> list[list[Reason]]:
    """For each row, also of a single one, the `count` features that contribute most, the largest first."""
    found = model.explain(features)
    if found.contribution.shape == model.input_shape:
        found = Explanation(*(part[None] for part in found))
    names, largest, share = feature_labels(model), found.largest(count), shares(found)
    columns = [_values(model, name, part) for name, part in zip(names, _flat(found.found).T, strict=True)]
    expected = [_values(model, name, part) for name, part in zip(names, _flat(found.expected).T, strict=True)]
    if column_names(features) is not None:
        for place, name in enumerate(names):
            if name in model.categories and "" in columns[place]:
                columns[place] = _own_texts(columns[place], features[name], name)
    return [
        [
            Reason(names[place], float(share[row, place]), expected[place][row], columns[place][row])
            for place in places
        ]
        for row, places in enumerate(largest.tolist())
    ]


def shares(found: Explanation) -> NDArray[np.float32]:
    """(rows, n_features), flat: each feature's share of its row's score; 0 where that is 0 or no number."""
    contribution = _flat(found.contribution)
    with np.errstate(all="ignore"):
        share = contribution / contribution.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.where(np.isfinite(share), share, 0.0).astype(np.float32)


def feature_labels(model: "AutoencoderSession") -> list[str]:
    """Of the numbers of a row, flat."""
    indexes = np.ndindex(*model.input_shape)
    return list(model.feature_names) or [",".join(map(str, index)) for index in indexes]


def _flat(part: NDArray[np.float32]) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = part.reshape(len(part), math.prod(part.shape[1:]))
    return flat


def _values(model: "AutoencoderSession", name: str, column: NDArray[np.float32]) -> list[Value]:
    texts = model.categories.get(name)
    if texts is None:  # by way of text: 1.1 in float32 is 1.1 for people, not 1.10000002
        return [None if np.isnan(value) else float(str(value)) for value in column]
    known = range(len(texts))
    return [None if np.isnan(value) else texts[int(value)] if value in known else "" for value in column]


def _own_texts(values: list[Value], cells: Any, name: str) -> list[Value]:
    """With the cell's text where the category is unknown."""
    texts, places = factorise(cells, f"features, column {name!r}")
    own = [texts[place] for place in np.ravel(places)]
    return [text if value == "" else value for value, text in zip(values, own, strict=True)]
