"""Columns that tell why a row scores as it does."""

from typing import Any

from aetool.cli.output import say


def why_columns(model: Any, rows: Any, count: int) -> dict[str, Any]:
    """why_1, why_1_share, why_1_expected, why_1_found, why_2, ...: of the features that contribute most.

    Categories are given by name; where a model has any, expected and found are texts.
    """
    import numpy as np

    found, names = model.explain(rows), np.array(_names(model))
    if count > len(names):
        say(f"--explain {count}: the model has {len(names):,} features, all of them are named")
    largest = found.largest(count)
    contribution, expected, given = (
        part.reshape(len(rows), -1) for part in (found.contribution, found.expected, found.found)
    )
    with np.errstate(all="ignore"):  # a score of 0 has no shares
        share = np.nan_to_num(contribution / contribution.sum(axis=1, keepdims=True, dtype=np.float64)).astype(
            np.float32
        )
    if model.categories:
        expected, given = (_texts(model, part) for part in (expected, given))
    columns: dict[str, Any] = {}
    place = np.arange(len(rows))
    for rank, feature in enumerate(largest.T, 1):
        columns[f"why_{rank}"] = names[feature]
        columns[f"why_{rank}_share"] = share[place, feature]
        columns[f"why_{rank}_expected"] = expected[place, feature]
        columns[f"why_{rank}_found"] = given[place, feature]
    return columns


def _names(model: Any) -> list[str]:
    """Of the numbers of a row; their indexes (3 or 0,12,5) where they have no names."""
    import numpy as np

    named: tuple[str, ...] = model.feature_names
    return list(named) or [",".join(map(str, index)) for index in np.ndindex(*model.input_shape)]


def _texts(model: Any, rows: Any) -> Any:
    """(rows, n_features) as text: categories by name, numbers as short as float32 has them, "" for none."""
    import numpy as np

    texts = []
    for name, column in model.to_columns(rows).items():
        known = True if name in model.categories else ~np.isnan(column)
        texts.append(np.where(known, column.astype(str), ""))
    return np.stack(texts, axis=1)
