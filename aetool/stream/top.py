"""The rows with the highest scores, of one file or of many, for `aetool score --top N`."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from aetool.runtime.explain import highest
from aetool.stream._inputs import batches_of, find_sources, require_apart
from aetool.stream._task import Task


class Top(NamedTuple):
    """The highest rows of files, and counts of all rows."""

    columns: dict[str, Any]  # file, row, those that are kept, score, is_anomaly: (at most count,)
    values: Any  # (at most count, n_features) float32
    rows: int  # looked at
    anomalies: int  # among these
    not_finite: int


def top_of_files(model: Any, data: tuple[str, ...], count: int, task: Task) -> Top:
    """Return the `count` highest rows of files that need not fit in memory: one batch and these are held."""
    best, values = None, np.empty((0, model.n_features), np.float32)
    rows = anomalies = not_finite = 0
    for source in find_sources(data):
        begin = rows
        for batch in batches_of(source, model, task):
            outputs = model.run("detector", batch.values)
            require_apart(source, batch.kept, ("file", "row", *outputs))
            numbers = np.arange(len(batch.values)) + rows - begin + 1
            rows += len(numbers)
            anomalies += int(outputs["is_anomaly"].sum())
            not_finite += int((~np.isfinite(outputs["score"])).sum())
            order = highest(outputs["score"], count)
            names = np.full(len(numbers), source.path)
            part = pa.table({"file": names, "row": numbers, **batch.kept, **outputs}).take(order)
            best = part if best is None else pa.concat_tables([best, part], promote_options="permissive")
            values = np.concatenate([values, batch.values[order]])
            order = highest(best["score"].to_numpy(), count)
            best, values = best.take(order), values[order]
    columns = {name: best[name].to_numpy() for name in best.column_names} if best is not None else {}
    return Top(columns, values, rows, anomalies, not_finite)
