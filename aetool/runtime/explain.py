"""Explanations of scores: contributions as arrays, and as records with names and texts."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from aetool.runtime._inputs import column_names
from aetool.runtime.categories import factorise

# Why a row is as odd as it is: what each feature contributes to its score.


class Explanation(NamedTuple):
    """Contributions to the scores of rows; arrays (rows, n_features), without the first axis for a single row."""

    contribution: NDArray[np.float32]
    """Contribution of each feature to the score, 0 or more: they add up to it. A column of categories is one
    feature."""
    expected: NDArray[np.float32]
    """Expected values: the reconstruction, in raw units. For a column of categories, the index of the
    likeliest."""
    found: NDArray[np.float32]
    """Values in the rows, in raw units; for categories their index, -1 for another, NaN for a missing one."""

    def __repr__(self) -> str:
        """Show the names and the shape of the arrays."""
        return f"<Explanation: contribution, expected, found; {' x '.join(map(str, self.found.shape))} each>"

    @property
    def direction(self) -> NDArray[np.int8]:
        """1 if more was found than expected, -1 if less, 0 if equal or not a number."""
        difference = self.found.astype(np.float64) - self.expected
        return np.sign(np.nan_to_num(difference)).astype(np.int8)

    def largest(self, count: int) -> NDArray[np.intp]:
        """Return the features that contribute most to each row's score, (rows, count), the largest first.

        Positions in the row, flattened for an image or a window. Values that are not finite come first, since no
        contribution of their row is a number; then contributions that overflowed, such as that of a "no data"
        value of 1e25, largest first; then the others by contribution. Needs rows with their batch axis.
        """
        shape = len(self.contribution), math.prod(self.contribution.shape[1:])  # not -1: there may be no rows
        contribution, expected, found = (part.reshape(shape).astype(np.float64) for part in self)
        overflowed, spoilt = ~np.isfinite(contribution), ~np.isfinite(found)
        with np.errstate(invalid="ignore"):
            # Of what is expected, a huge cell may make anything in all features: it counts where it brings two
            # nearer together only.
            distance = np.fmin(np.abs(found), np.abs(found - expected))
        weight = np.where(overflowed, np.where(spoilt, 0.0, distance), contribution)
        # A missing value that was filled in, or is a category of its own, spoils nothing.
        return np.lexsort((-weight, ~overflowed, ~(spoilt & overflowed)))[:, :count]


Value = float | str | None


class _Model(Protocol):
    """The part of an AutoencoderSession that is used here, without importing it."""

    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def categories(self) -> Mapping[str, tuple[str, ...]]: ...
    def explain(self, features: Any) -> Explanation: ...
    def to_columns(self, rows: Any) -> Mapping[str, NDArray[Any]]: ...


class Reason(NamedTuple):
    """Contribution of one feature to a row's score."""

    feature: str
    """Name of the feature; its index (3 or 0,12,5) where the model's features have none."""
    share: float
    """Share of the score, 0 to 1; 0 where the score is 0 or not a number."""
    expected: Value
    """Expected value in raw units: a number, or the likeliest category as text."""
    found: Value
    """Value in the row: a number, or a category as text; for a category unknown to the model the cell's own text
    ("" where rows are an array of indexes). None: missing."""


def reasons_of(model: _Model, features: Any, count: int) -> list[list[Reason]]:
    """Return for each row, also a single one, the `count` features that contribute most, the largest first."""
    found = explained(model, features)
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


def by_channel(found: Explanation) -> Explanation:
    """Return an explanation of windows, (rows, window, channels), by channel: contributions summed over time.

    Expected and found are those of the time at which the channel contributes most.
    """
    with np.errstate(over="ignore"):
        most = np.where(np.isfinite(found.contribution), found.contribution, np.inf).argmax(axis=1)[:, None]
        total = found.contribution.sum(axis=1, dtype=np.float64).astype(np.float32)
    expected, own = (np.take_along_axis(part, most, axis=1)[:, 0] for part in (found.expected, found.found))
    return Explanation(total, expected, own)


def explained(model: _Model, features: Any) -> Explanation:
    """Return explanations of rows, of windows by channel; also of a single row without its batch axis."""
    found = model.explain(features)
    if found.contribution.shape == model.input_shape:
        found = Explanation(*(part[None] for part in found))
    return by_channel(found) if model.feature_names and found.contribution.ndim == 3 else found


def shares(found: Explanation) -> NDArray[np.float32]:
    """Return each feature's share of its row's score, (rows, n_features), flat; 0 where the score is 0 or NaN."""
    contribution = _flat(found.contribution)
    with np.errstate(all="ignore"):
        share = contribution / contribution.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.where(np.isfinite(share), share, 0.0).astype(np.float32)


def feature_labels(model: _Model) -> list[str]:
    """Return a label for each number of a row, flat; of windows one for each channel."""
    indexes = np.ndindex(*model.input_shape)
    return list(model.feature_names) or [",".join(map(str, index)) for index in indexes]


def _flat(part: NDArray[np.float32]) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = part.reshape(len(part), math.prod(part.shape[1:]))
    return flat


def _values(model: _Model, name: str, column: NDArray[np.float32]) -> list[Value]:
    texts = model.categories.get(name)
    if texts is None:  # by way of text: 1.1 in float32 is 1.1 for people, not 1.10000002
        return [None if np.isnan(value) else float(str(value)) for value in column]
    known = range(len(texts))
    return [None if np.isnan(value) else texts[int(value)] if value in known else "" for value in column]


def _own_texts(values: list[Value], cells: Any, name: str) -> list[Value]:
    """Replace unknown categories by the text of their cells."""
    texts, places = factorise(cells, f"features, column {name!r}")
    own = [texts[place] for place in np.ravel(places)]
    return [text if value == "" else value for value, text in zip(values, own, strict=True)]


def highest(score: Any, count: int) -> Any:
    """Return the positions of the highest of (rows,) scores, highest first, at most `count`; NaN comes last."""
    return np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")[:count]


def why_columns(model: _Model, rows: Any, count: int, unseen: Mapping[str, Any]) -> dict[str, Any]:
    """Return why_1, why_1_share, why_1_expected, why_1_found, why_2, ... of the features that contribute most.

    Categories are given by name, those that the model does not know as `unseen` has them; where a model has any,
    expected and found are texts.
    """
    why, names = explained(model, rows), np.array(feature_labels(model))
    largest, share = why.largest(count), shares(why)
    expected, found = (_flat(part) for part in (why.expected, why.found))
    if model.categories:
        expected, found = _texts(model, expected, {}), _texts(model, found, unseen)
    columns: dict[str, Any] = {}
    index = np.arange(len(rows))
    for rank, feature in enumerate(largest.T, 1):
        columns[f"why_{rank}"] = names[feature]
        columns[f"why_{rank}_share"] = share[index, feature]
        columns[f"why_{rank}_expected"] = expected[index, feature]
        columns[f"why_{rank}_found"] = found[index, feature]
    return columns


def _texts(model: _Model, rows: Any, unseen: Mapping[str, Any]) -> Any:
    """Return (rows, n_features) as text: categories by name, numbers as short as float32 has them, "" for NaN."""
    texts = []
    for name, column in model.to_columns(rows).items():
        known = True if name in model.categories else ~np.isnan(column)
        text = np.where(known, column.astype(str), "")
        texts.append(np.where(unseen[name] == "", text, unseen[name]) if name in unseen else text)
    return np.stack(texts, axis=1)
