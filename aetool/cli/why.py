"""Columns that tell why a row scores as it does."""

from collections.abc import Mapping
from typing import Any

from aetool.cli.output import say


def why_columns(model: Any, rows: Any, count: int, unseen: Mapping[str, Any]) -> dict[str, Any]:
    """why_1, why_1_share, why_1_expected, why_1_found, why_2, ...: of the features that contribute most.

    Categories are given by name, those that the model does not know as `unseen` has them; where a model has any,
    expected and found are texts.
    """
    import numpy as np

    from aetool.runtime.reasons import feature_labels, shares

    explained, names = model.explain(rows), np.array(feature_labels(model))
    if count > len(names):
        say(f"--explain {count}: the model has {len(names):,} features, all of them are named")
    largest, share = explained.largest(count), shares(explained)
    expected, found = (part.reshape(share.shape) for part in (explained.expected, explained.found))
    if model.categories:
        expected, found = _texts(model, expected, {}), _texts(model, found, unseen)
    columns: dict[str, Any] = {}
    place = np.arange(len(rows))
    for rank, feature in enumerate(largest.T, 1):
        columns[f"why_{rank}"] = names[feature]
        columns[f"why_{rank}_share"] = share[place, feature]
        columns[f"why_{rank}_expected"] = expected[place, feature]
        columns[f"why_{rank}_found"] = found[place, feature]
    return columns


def _texts(model: Any, rows: Any, unseen: Mapping[str, Any]) -> Any:
    """(rows, n_features) as text: categories by name, numbers as short as float32 has them, "" for none."""
    import numpy as np

    texts = []
    for name, column in model.to_columns(rows).items():
        known = True if name in model.categories else ~np.isnan(column)
        text = np.where(known, column.astype(str), "")
        texts.append(np.where(unseen[name] == "", text, unseen[name]) if name in unseen else text)
    return np.stack(texts, axis=1)
