"""The rows with the highest scores, of one file or of many, for `aetool score --top N`."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from aetool.bundle.files import Limits
from aetool.errors import InputError
from aetool.runtime.explain import highest
from aetool.stream.filesystems import locate
from aetool.stream.inputs import find_sources
from aetool.tables.streaming import read_batches


class Top(NamedTuple):
    """The highest rows of files, and counts of all rows."""

    columns: dict[str, Any]  # file, row, those that are kept, score, is_anomaly: (at most count,)
    values: Any  # (at most count, n_features) float32
    rows: int  # looked at
    anomalies: int  # among these
    not_finite: int


def top_of_files(model: Any, data: tuple[str, ...], count: int, keep: tuple[str, ...], limits: Limits) -> Top:
    """Return the `count` highest rows of files that need not fit in memory: one batch and these are held."""
    best, values = None, np.empty((0, model.n_features), np.float32)
    rows = anomalies = not_finite = 0
    for source in find_sources(data):
        system, inside = locate(source.path)
        batches = read_batches(
            partial(system.open_input_file, inside),
            source.path,
            only=model.feature_names or None,
            keep=keep,
            categories=model.categories,
            limits=limits,
        )
        begin = rows
        for batch in batches:
            found = model.run("detector", batch.values)
            if clash := [name for name in batch.kept if name in ("file", "row", *found)]:
                raise InputError(
                    f"{source.path}: --keep {clash[0]!r}: a result has that name too; rename the column there"
                )
            numbers = np.arange(len(batch.values)) + rows - begin + 1
            rows += len(numbers)
            anomalies += int(found["is_anomaly"].sum())
            not_finite += int((~np.isfinite(found["score"])).sum())
            order = highest(found["score"], count)
            names = np.full(len(numbers), source.path)
            part = pa.table({"file": names, "row": numbers, **batch.kept, **found}).take(order)
            best = part if best is None else pa.concat_tables([best, part], promote_options="permissive")
            values = np.concatenate([values, batch.values[order]])
            order = highest(best["score"].to_numpy(), count)
            best, values = best.take(order), values[order]
    columns = {name: best[name].to_numpy() for name in best.column_names} if best is not None else {}
    return Top(columns, values, rows, anomalies, not_finite)
