"""`tune`: from the bundle to the tuning file beside it."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aetool.bench.result import document_of, write_document
from aetool.bench.rows import Pool, make_pool
from aetool.bundle.atomic import publish_directory, require_new
from aetool.bundle.bundle import Bundle, tuning_file
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.bundle.manifest import MANIFEST
from aetool.checks.fidelity import Budget
from aetool.choices import CALLS
from aetool.errors import InputError
from aetool.runtime.tuning import manifest_digest, this_machine
from aetool.runtime.tuning_file import BundleFacts, Trial, TuningResult
from aetool.tune._backends import Maker, Sample, Ways, find_ways, reference
from aetool.tune._candidates import Purpose, RunCandidate, challengers, default_of
from aetool.tune._search import SHORT_ROWS, Clock, Outputs, Record, RunSetup, search
from aetool.version import __version__

SAMPLE_ROWS = 256
"""Number of rows that every candidate computes before it is timed."""

Progress = Callable[[str, float], None]
"""Called with the current step and the share of the time that has passed."""


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """Purpose, budget and time of tuning."""

    purpose: Purpose
    graph: str = "score"
    """encode, reconstruct or score."""
    rows: int | None = None
    """Rows of one call; None: 1 for latency, 65,536 for throughput."""
    budget: Budget = field(default_factory=Budget)
    seconds: float = 60.0
    """Approximate time of the search, in seconds, without its start and end."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.purpose not in ("latency", "throughput"):
            raise InputError(f"purpose {self.purpose!r} is unknown; choose latency or throughput")
        if self.graph not in CALLS:
            raise InputError(f"graph {self.graph!r} is unknown; choose {', '.join(CALLS)}")
        if self.rows is not None and not 1 <= self.rows <= 1 << 24:
            raise InputError(f"rows: 1 to {1 << 24:,} expected, found {self.rows:,}")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"seconds: a number above 0 expected, found {self.seconds}")

    @property
    def batch(self) -> int:
        """Return the rows of one call."""
        return self.rows or (1 if self.purpose == "latency" else 65_536)


def tune(
    path: Path,
    plan: TuningPlan,
    *,
    rows: NDArray[np.float32] | None = None,
    labels: NDArray[np.bool_] | None = None,
    rows_name: str = "rows",
    makers: Mapping[str, Maker] | None = None,
    dry_run: bool = False,
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    command: Sequence[str] = (),
    progress: Progress = lambda text, share: None,
) -> TuningResult:
    """Find the fastest way to run the bundle at `path` within the budget, and write it beside the bundle.

    Args:
        path: the bundle's directory.
        plan: purpose, budget and time.
        rows: real ones, (rows, ...), raw units, to measure speed and fidelity on; None: the golden rows for speed,
            and for fidelity what was measured as each variant was made.
        labels: (rows,) True for anomalies; without them the budget's AUROC drop is not judged.
        rows_name: name of the rows in the result.
        makers: precision -> function that makes it, for those that the bundle lacks. One that wins is added to
            the bundle.
        dry_run: write nothing.
        overwrite: replace an older tuning file.
        limits: limits for reading the bundle, see `load`.
        command: command line, for the record.
        progress: called with the current step.

    Raises:
        BundleError: no bundle, or a damaged one.
        InputError: it has no such graph, or the rows do not fit it.
        BenchmarkError: the default itself fails.
        OutputError: there is a tuning file already and `overwrite` is false, or it cannot be written.
    """
    bundle = Bundle.open_whole(path.absolute(), limits=limits)
    if CALLS[plan.graph] not in bundle.variant("fp32").files:
        raise InputError(f"{path}: has no {CALLS[plan.graph]}, which {plan.graph} needs; choose another graph")
    if not dry_run:
        require_new(Path(tuning_file(bundle.where)), overwrite)
    given = rows is not None
    if rows is None:
        rows, rows_name = read_golden(bundle)["features"].astype(np.float32), "golden rows"
    sample = Sample(rows, labels, f"{len(rows):,} {rows_name}", given)
    pool = make_pool(rows, bundle.manifest, rows_name, plan.batch, plan.seed)
    with tempfile.TemporaryDirectory(prefix="aetool-tune-") as folder:
        ways = find_ways(
            bundle.path,
            sample,
            plan.budget,
            makers=makers or {},
            scratch=Path(folder),
            seed=plan.seed,
            progress=lambda text: progress(text, 0.0),
            limits=limits,
        )
        default = default_of(ways.default[0], bundle.path, limits)
        records = list(
            map(Record, challengers(plan.purpose, plan.graph, bundle.manifest, ways.within, default, plan.batch))
        )
        clock = Clock(plan.seconds)
        winner = search(
            plan.purpose,
            default,
            records,
            _track(plan, ways, pool, Path(folder), lambda text: progress(text, clock.share), limits),
            plan.batch,
            clock,
            objection=lambda one, speedup: ways.judged[one.way].objection(plan.budget, speedup),
            seed=plan.seed,
        )
        best = winner.candidate if winner else default
        if best.bundle != bundle.path and not dry_run:
            bundle = _replaced(bundle.path, Bundle.open_whole(best.bundle, limits=limits))
    result = TuningResult(
        aetool=__version__,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=tuple(command),
        purpose=plan.purpose,
        graph=plan.graph,
        rows=plan.batch,
        data=pool.source,
        budget=asdict(plan.budget),
        machine=this_machine(best.choice.provider),
        bundle=BundleFacts(bundle.manifest.name, bundle.manifest.id, manifest_digest(bundle)),
        choice=best.choice,
        speedup=1 / winner.ratio if winner else 1.0,
        reason=_reason(winner),
        trials=(*_trials(default, records, winner, ways), *ways.left_out),
    )
    if not dry_run:
        write_document(document_of(result), Path(tuning_file(bundle.where)), overwrite=overwrite)
    return result


def _trials(
    default: RunCandidate, records: Sequence[Record], winner: Record | None, ways: Ways
) -> Iterator[Trial]:
    yield Trial(default.name, default.choice, None, (), "something else is clearly faster" if winner else "")
    for record in records:
        choice, figures = record.candidate.choice, ways.judged[record.candidate.way].figures
        yield Trial(record.candidate.name, choice, figures, tuple(record.races), record.dropped)


def _reason(winner: Record | None) -> str:
    if winner is None:
        return "nothing else is clearly faster"
    rounds = len(winner.races[-1].seconds)
    return f"{1 / winner.ratio:.2f}x the default's speed, faster in all {rounds} rounds of the final"


def _track(
    plan: TuningPlan, ways: Ways, pool: Pool, folder: Path, done: Callable[[str], None], limits: Limits
) -> RunSetup:
    sample = pool.rows[:SAMPLE_ROWS]
    np.save(folder / "sample.npy", sample)
    rows = {batch: folder / f"{batch}.npy" for batch in (plan.batch, min(plan.batch, SHORT_ROWS))}
    for batch, file in rows.items():
        np.save(file, pool.for_batch(batch))
    references: dict[str, Outputs] = {}
    for (provider, precision), directory in ways.within.items():  # the default provider comes first
        if precision not in references:
            references[precision] = reference(directory, provider, precision, plan.graph, sample, limits)
    return RunSetup(plan.graph, folder / "sample.npy", rows, references, done)


def _replaced(path: Path, copy: Bundle) -> Bundle:
    """Publish a copy, which has one precision more, in the bundle's place."""
    files = {name: copy.read(name) for name in copy.manifest.files}
    publish_directory(path, {**files, MANIFEST: (copy.path / MANIFEST).read_bytes()}, overwrite=True)
    return Bundle.open(path)
