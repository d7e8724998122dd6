"""`stream`: a bundle over files, of which none need fit in memory."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from aetool.errors import InputError
from aetool.stream._engines import Engine, LocalEngine, Progress
from aetool.stream._file import Outcome
from aetool.stream._inputs import find_sources
from aetool.stream._output import OutputDirectory
from aetool.stream._task import Task, fingerprint


@dataclass(frozen=True, slots=True)
class Run:
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
) -> Run:
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
        skip_bad: continue after an input that cannot be read; it is in `Run.failed`.
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
    return Run(ordered, threshold, len(finished), time.perf_counter() - begin)


def _silent(rows: int, size: int) -> None:
    """Report nothing."""
