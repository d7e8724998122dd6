"""Differences of each segment from all rows, in raw units, the largest first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.checks.parity import ranks

_MOST_TRAITS = 20
"""Most traits kept per segment."""
SMALL, CLEAR = 0.2, 0.3
"""Standardised differences: below the first (Cohen 1988) a column hardly differs and is no trait, from the second
on a trait is part of a segment's label."""
_LABELLED = 3
"""Most traits in a label."""
_SIDES = {"share above": "above", "share below": "below"}

_Trait = dict[str, Any]


def profile(
    rows: NDArray[Any],
    segment: NDArray[np.int64],
    count: int,
    names: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """Return size, label and traits of `count` segments; rows (rows, n_features), categories as indexes.

    How far a segment is from everybody in a column of numbers is the difference of mean ranks, in standard
    deviations of the ranks: the standardised difference, which a few extreme values do not move. Such a trait
    has the medians of both; where they are equal, the shares of rows above or below that value. In a column of
    categories it is the category that is most over-represented by that same measure, which for a column of 0 and
    1 is (share - share of all) / sqrt(share of all times its rest). What differs by less than SMALL is left out.

    Without names (images, windows) there are no traits.
    """
    members = [segment == number for number in range(count)]
    traits: list[list[_Trait]] = [[] for _ in members]
    for column, name in enumerate(names):
        values = rows[:, column].astype(np.float64)
        found = (
            _of_category(name, values, categories[name], members)
            if name in categories
            else _of_number(name, values, members)
        )
        for kept, trait in zip(traits, found, strict=True):
            if trait is not None and abs(trait["difference"]) >= SMALL:
                kept.append(trait)
    described = []
    for number, (member, own) in enumerate(zip(members, traits, strict=True)):
        own.sort(key=lambda trait: -abs(trait["difference"]))
        size = int(np.count_nonzero(member))
        described.append(
            {
                "segment": number,
                "rows": size,
                "share": size / max(len(rows), 1),
                "label": label(own) if names else "",
                "traits": own[:_MOST_TRAITS],
            }
        )
    return described


def label(traits: Sequence[_Trait]) -> str:
    """Return a segment in a few words: `high fresh, low milk, region = 3`.

    A trait that holds for less than half of its rows has its share: `more job = retired (18% against 5%)`.
    """
    clear = [trait for trait in traits if abs(trait["difference"]) >= CLEAR][:_LABELLED]
    return ", ".join(map(_in_words, clear)) or "much like everybody"


def _in_words(trait: _Trait) -> str:
    if trait["statistic"] == "median":
        return f"{'high' if trait['of_segment'] > trait['of_all'] else 'low'} {trait['feature']}"
    own, everybody = trait["of_segment"], trait["of_all"]
    is_category = trait["statistic"] == "share"
    value = trait["category"] if is_category else f"{trait['value']:,.10g}"
    what = f"{trait['feature']} {'=' if is_category else _SIDES[trait['statistic']]} {value}"
    if own > 0.5:
        return what
    return f"{'more' if own > everybody else 'fewer'} {what} ({own:.0%} against {everybody:.0%})"


def _of_number(
    name: str, values: NDArray[np.float64], members: Sequence[NDArray[np.bool_]]
) -> list[_Trait | None]:
    known = np.isfinite(values)
    rank = np.zeros(len(values))
    rank[known] = ranks(values[known])
    spread = float(rank[known].std()) if known.any() else 0.0
    traits: list[_Trait | None] = []
    for member in members:
        own = member & known
        if not own.any() or spread == 0:
            traits.append(None)
            continue
        difference = float(rank[own].mean() - rank[known].mean()) / spread
        traits.append({"feature": name, "difference": difference, **_told(values[own], values[known])})
    return traits


def _told(own: NDArray[np.float64], everybody: NDArray[np.float64]) -> _Trait:
    """Compare medians, or where they are equal, the shares of values on the side that differs most."""
    middle, of_all = float(np.median(own)), float(np.median(everybody))
    if middle != of_all:
        return _compared("median", middle, of_all)
    sides = [
        _compared("share above", float(np.mean(own > middle)), float(np.mean(everybody > middle))),
        _compared("share below", float(np.mean(own < middle)), float(np.mean(everybody < middle))),
    ]
    return {**max(sides, key=lambda side: abs(side["of_segment"] - side["of_all"])), "value": middle}


def _compared(statistic: str, own: float, everybody: float) -> _Trait:
    ratio = own / everybody if min(own, everybody) > 0 else None
    return {"statistic": statistic, "of_segment": own, "of_all": everybody, "ratio": ratio}


def _of_category(
    name: str, indexes: NDArray[np.float64], texts: Sequence[str], members: Sequence[NDArray[np.bool_]]
) -> list[_Trait | None]:
    places = np.arange(len(texts))
    is_one = indexes[:, None] == places  # (rows, categories)
    of_all = is_one.mean(axis=0)
    spread = np.sqrt(of_all * (1 - of_all))
    traits: list[_Trait | None] = []
    for member in members:
        shares = is_one[member].mean(axis=0) if member.any() else of_all
        difference = np.where(spread > 0, (shares - of_all) / np.where(spread > 0, spread, 1.0), 0.0)
        most = int(np.argmax(difference))
        if difference[most] <= 0:
            traits.append(None)
            continue
        traits.append(
            {
                "feature": name,
                "category": texts[most],
                "difference": float(difference[most]),
                **_compared("share", float(shares[most]), float(of_all[most])),
            }
        )
    return traits
