"""What makes each segment different from everybody, in raw units, the most telling first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_TRAITS = 20
"""Traits that are kept of a segment."""
CLEAR = 0.3
"""Standardised difference from which a trait is part of a segment's label."""
LABELLED = 3
"""Traits in a label."""

Trait = dict[str, Any]


def profile(
    rows: NDArray[Any],
    segment: NDArray[np.int64],
    count: int,
    names: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """For each of `count` segments its size, label and traits; of (rows, n_features), categories as indexes.

    A trait of a number: the median of the segment and of all (the mean, where the medians are equal), and how far
    apart the mean ranks of the two are, in standard deviations of the ranks: the standardised difference, which a
    few extreme values do not move. A trait of a column of categories: the category that is most over-represented
    by that same measure, which for a column of 0 and 1 is (share - share of all) / sqrt(share of all times its
    rest); its lift is the ratio of the two shares.

    Without names (images, windows) there are no traits.
    """
    members = [segment == number for number in range(count)]
    traits: list[list[Trait]] = [[] for _ in members]
    for column, name in enumerate(names):
        values = rows[:, column].astype(np.float64)
        found = (
            _of_category(name, values, categories[name], members)
            if name in categories
            else _of_number(name, values, members)
        )
        for kept, trait in zip(traits, found, strict=True):
            if trait is not None:
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
                "traits": own[:MOST_TRAITS],
            }
        )
    return described


def label(traits: Sequence[Trait]) -> str:
    """A segment in a few words: `high fresh, low milk, region = 3`."""
    clear = [trait for trait in traits if abs(trait["difference"]) >= CLEAR][:LABELLED]
    words = [
        f"{trait['feature']} = {trait['category']}"
        if "category" in trait
        else f"{'high' if trait['difference'] > 0 else 'low'} {trait['feature']}"
        for trait in clear
    ]
    return ", ".join(words) or "much like everybody"


def _of_number(name: str, values: NDArray[np.float64], members: Sequence[NDArray[np.bool_]]) -> list[Trait | None]:
    known = np.isfinite(values)
    ranks = np.zeros(len(values))
    ranks[known] = _ranks(values[known])
    spread = float(ranks[known].std()) if known.any() else 0.0
    traits: list[Trait | None] = []
    for member in members:
        own = member & known
        if not own.any() or spread == 0:
            traits.append(None)
            continue
        both = [values[own], values[known]]
        statistic, centres = "median", [float(np.median(part)) for part in both]
        if centres[0] == centres[1]:
            statistic, centres = "mean", [float(part.mean()) for part in both]
        traits.append(
            {
                "feature": name,
                "difference": float(ranks[own].mean() - ranks[known].mean()) / spread,
                "statistic": statistic,
                "of_segment": centres[0],
                "of_all": centres[1],
                "ratio": centres[0] / centres[1] if min(centres) > 0 else None,
            }
        )
    return traits


def _of_category(
    name: str, indexes: NDArray[np.float64], texts: Sequence[str], members: Sequence[NDArray[np.bool_]]
) -> list[Trait | None]:
    places = np.arange(len(texts))
    is_one = indexes[:, None] == places  # (rows, categories)
    of_all = is_one.mean(axis=0)
    spread = np.sqrt(of_all * (1 - of_all))
    traits: list[Trait | None] = []
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
                "of_segment": float(shares[most]),
                "of_all": float(of_all[most]),
                "ratio": float(shares[most] / of_all[most]),
            }
        )
    return traits


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ties at their average rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    average: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return average
