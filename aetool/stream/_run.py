"""`stream`: a bundle over files, of which none need fit in memory."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from aetool.errors import InputError
from aetool.runtime.explain import highest
from aetool.stream._engines import Engine, LocalEngine, Progress
from aetool.stream._file import Outcome
from aetool.stream._inputs import batches_of, find_sources, require_apart
from aetool.stream._output import OutputDirectory
from aetool.stream._task import Task, fingerprint


@dataclass(frozen=True, slots=True)
class Streamed:
    """Result of a run."""

    outcomes: tuple[Outcome, ...]
    """Outcome of each input, sorted by name."""
    threshold: float
    resumed: int
    """Number of inputs that an earlier run had finished."""
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Inputs that could not be read."""
        return tuple(outcome for outcome in self.outcomes if outcome.counts is None)

    def total(self, what: str) -> int:
        """Return the sum of one of `Counts` over all outputs."""
        return sum(getattr(outcome.counts, what) for outcome in self.outcomes if outcome.counts is not None)


def stream(
    task: Task,
    inputs: Sequence[str],
    output: str,
    *,
    engine: Engine | None = None,
    resume: bool = False,
    overwrite: bool = False,
    skip_bad: bool = False,
    started: Progress | None = None,
    progress: Progress | None = None,
) -> Streamed:
    """Compute `task` for every row of `inputs`, into one Parquet file for each input file.

    Memory does not grow with the rows. Every output appears whole or not at all, in the order of the input's rows;
    with `resume` those that are there already, made by the same task from the same file, are left as they are.

    Args:
        task: the bundle, the command and the columns to keep.
        inputs: files, directories, patterns or URIs of CSV and Parquet, see `aetool.stream._inputs`.
        output: a directory or a URI; an empty one, or that of an earlier run.
        engine: `LocalEngine()` by default.
        resume: continue with the results in `output`.
        overwrite: replace the results in `output`.
        skip_bad: continue after an input that cannot be read; it is in `Streamed.failed`.
        started: called once with the rows that are done already, and the bytes of input that are left.
        progress: called as the work goes, from any thread.

    Raises:
        InputError: inputs that are not there or, without `skip_bad`, that cannot be read.
        OutputError: `output` is not free for this, or cannot be written.
        BundleError, ProviderError: the bundle cannot be opened.
    """
    begin = time.perf_counter()
    engine = engine or LocalEngine()
    sources = find_sources(inputs, outside=output)
    with task.open(1) as model:
        description, threshold = task.describe(model), model.threshold
    task = replace(task, results=fingerprint(description))
    place = OutputDirectory(output)
    with place.taken(description, sources, resume=resume, overwrite=overwrite) as finished:
        outcomes = {outcome.source: outcome for outcome in finished}
        left = [source for source in sources if source not in outcomes]
        if started is not None:
            started(sum(outcome.counts.rows for outcome in finished if outcome.counts), sum(s.size for s in left))
        with closing(engine.run(task, left, output, progress or _silent)) as done:
            for outcome in done:
                if outcome.counts is None and not skip_bad:
                    raise InputError(outcome.error)
                outcomes[outcome.source] = outcome
        ordered = tuple(outcomes[source] for source in sources)
        place.write(description, ordered)
    return Streamed(ordered, threshold, len(finished), time.perf_counter() - begin)


def _silent(rows: int, size: int) -> None:
    """Report nothing."""


# The rows with the highest scores, of one file or of many


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
