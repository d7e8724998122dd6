"""A whole grid run on a bundle: processes started, outputs compared, cases measured and summarised."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench._machine import ceiling, machine, multiply_adds_per_row
from aetool.bench._statistics import histogram, latency_figures, latency_of, stability
from aetool.bench.agreement import FP32_TOLERANCE, REDUCED_TOLERANCE, require_agreement
from aetool.bench.contestants import Contestant, Load, Loaded, Running, opened
from aetool.bench.factories import REGISTERED
from aetool.bench.grid import OURS, RAW, GridPlan, Setting
from aetool.bench.result import (
    Agreement,
    BenchResult,
    BundleRecord,
    Ceiling,
    GraphFile,
    Measured,
    NodeTime,
    RatioRecord,
    Round,
)
from aetool.bench.rounds import LEAST_CALLS, Turns, arrivals_for, compared, take_turns
from aetool.bench.rows import Pool, make_pool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.bundle.schema import to_plain
from aetool.choices import CALLS

# One launch of a setting: its contestants are started, compared, and run every load of the grid in turns.
#
# A setting is launched more than once: where memory lies differs from process to process, and moves a time of
# microseconds by several percent for as long as the process lives.

Golden = Mapping[str, NDArray[Any]]
Progress = Callable[[str, int], None]
"""Called with the current measurement and the number of turns done since the last call."""


@dataclass(frozen=True, slots=True)
class Started:
    """A contestant, loaded and run once."""

    running: Running
    loaded: Loaded
    first_run_s: float
    placement: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class CaseTurns:
    """Turns of the contestants under one load, by name."""

    load: Load
    turns: dict[str, Turns]
    peak_memory_bytes: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Launch:
    """The outcome of one launch of a setting."""

    everybody: list[Started]
    """aetool first. Their processes have ended."""
    agreement: list[Agreement]
    observed: list[CaseTurns]
    """One a load, in the grid's order."""


def launch(
    plan: GridPlan,
    setting: Setting,
    number: int,
    *,
    golden: Golden,
    pool: Pool,
    arrivals: dict[int, float],
    progress: Progress,
) -> Launch:
    """Run one launch of a setting.

    Args:
        plan: the grid and the bundle.
        setting: settings of the processes.
        number: number of the launch, from 0.
        golden: golden rows and their outputs.
        pool: rows to measure with.
        arrivals: batch -> queries per second of the server scenario; missing entries are measured and added, so
            that every launch uses the same.
        progress: called as turns are done.

    Raises:
        BenchmarkError: a contestant fails, or computes something else than the others: before anything is timed.
        ProviderError: the provider does not work here.
    """
    with _started(plan, setting, golden, progress) as everybody:
        running = [one.running for one in everybody]
        agreement = _agreements(setting, running, golden)
        observed = []
        for scenario, batch in plan.grid.loads():
            text = f"{setting.graph}, {scenario}, {batch:,} row{'s' * (batch > 1)}"
            progress(text, 0)
            with tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder:
                np.save(rows := Path(folder) / "rows.npy", pool.for_batch(batch))
                for contestant in running:
                    contestant.take(rows)
            if scenario == "server" and batch not in arrivals:
                arrivals[batch] = plan.grid.arrivals_per_s or arrivals_for(running, batch)
            rate = arrivals[batch] if scenario == "server" else None
            load = Load(batch, plan.grid.seconds, LEAST_CALLS, scenario, rate)
            rounds = plan.grid.rounds_of(number)
            turns = take_turns(
                running,
                load,
                rounds=len(rounds),
                seed=plan.grid.seed + rounds.start,
                done=partial(progress, text, 1),
            )
            observed.append(CaseTurns(load, turns, {one.name: one.peak_memory_bytes() for one in running}))
    return Launch(everybody, agreement, observed)


@contextmanager
def _started(plan: GridPlan, setting: Setting, golden: Golden, progress: Progress) -> Iterator[list[Started]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetool-bench-")))
        np.save(rows := folder / "golden.npy", golden["features"])

        def start(contestant: Contestant) -> Started:
            progress(f"{setting.graph}: {contestant.name} starts", 0)
            (running,) = stack.enter_context(opened([contestant]))
            loaded = running.load()
            running.take(rows)
            return Started(running, loaded, running.first(), running.placement())

        ours = start(setting.ours(plan.bundle))
        provider = ours.loaded.provider or "cpu"
        peers = [setting.peer(name, plan.bundle, provider, plan.grid.against) for name in plan.grid.peers]
        yield [ours, *map(start, peers)]


def _agreements(setting: Setting, running: list[Running], golden: Golden) -> list[Agreement]:
    """Compare with PyTorch in float64; in another precision, which has its own errors, with aetool."""
    exact = setting.precision == "fp32"
    return require_agreement(
        running,
        graph=setting.graph,
        expected=golden if exact else None,
        features=golden["features"],
        tolerance=FP32_TOLERANCE if exact else REDUCED_TOLERANCE,
        rows=f"{len(golden['features'])} golden rows" + (", compared with PyTorch in float64" if exact else ""),
    )


# One load of one setting: the launches' measurements, as rows of the result.


@dataclass(frozen=True, slots=True)
class Cell:
    """The turns and launches of one case."""

    results: list[Measured]
    """One a contestant, aetool first."""
    ratios: list[RatioRecord]
    """One a peer."""


def cells_of(setting: Setting, launches: Sequence[Launch]) -> list[Cell]:
    """Return a cell for each load, in the grid's order."""
    cells = []
    for number, observed in enumerate(launches[0].observed):
        every = [launch.observed[number] for launch in launches]
        turns = {
            name: Turns(
                tuple(turn for case in every for turn in case.turns[name].turns),
                sum(case.turns[name].warm_up_samples for case in every),
            )
            for name in observed.turns
        }
        peaks = {name: max(case.peak_memory_bytes[name] or 0 for case in every) or None for name in turns}
        results = []
        for starts in zip(*(launch.everybody for launch in launches), strict=True):
            name = starts[0].running.name
            results.append(_measured(setting, starts, observed.load, turns[name], peaks[name]))
        ours = replace(setting, provider=results[0].provider)
        peers = (case.contestant for case in results[1:])
        cells.append(Cell(results, [_compared(ours, observed.load, turns, peer) for peer in peers]))
    return cells


def _measured(setting: Setting, starts: Sequence[Started], load: Load, turns: Turns, peak: int | None) -> Measured:
    latencies, first = turns.latencies_s, starts[0]
    on_checkpoint = "checkpoint" in first.running.contestant.arguments
    return Measured(
        contestant=first.running.name,
        graph=setting.graph,
        provider=first.loaded.provider or "cpu",
        precision="fp32" if on_checkpoint else setting.precision,
        threads=setting.threads,
        batch=load.batch,
        scenario=load.scenario,
        placement=first.placement,
        import_s=statistics.median(start.loaded.import_s for start in starts),
        session_creation_s=statistics.median(start.loaded.session_creation_s for start in starts),
        first_run_s=statistics.median(start.first_run_s for start in starts),
        resident_after_load_bytes=first.loaded.resident_after_bytes,
        peak_memory_bytes=peak,
        samples=len(latencies),
        warm_up_samples=turns.warm_up_samples,
        latency_s=latency_of(latencies),
        histogram=histogram(latencies),
        throughput_rows_per_s=turns.rows_per_s,
        arrivals_per_s=load.rate,
        rounds=tuple(Round(turn.p50_s, turn.rows_per_s) for turn in turns.turns),
        stability=stability([turn.latencies_ns for turn in turns.turns]),
        share_of_peak=None,
        profile=None,
    )


def _compared(setting: Setting, load: Load, turns: dict[str, Turns], peer: str) -> RatioRecord:
    ours, theirs = turns[OURS], turns[peer]
    p50 = compared(ours, theirs)
    tails = [latency_figures(side.latencies_s)["p99"] for side in (ours, theirs)]
    return RatioRecord(
        graph=setting.graph,
        provider=setting.provider,
        precision=setting.precision,
        threads=setting.threads,
        batch=load.batch,
        scenario=load.scenario,
        of=OURS,
        to=peer,
        p50=p50.median,
        p99=None if None in tails else tails[0] / tails[1],
        throughput=compared(ours, theirs, "rows_per_s").median,
        spread=(p50.low, p50.high),
    )


# Placement and time of the nodes of a measured graph file, from onnxruntime.


def profile(
    plan: GridPlan, setting: Setting, provider: str, batch: int, pool: Pool
) -> tuple[NodeTime, ...] | None:
    """Time of each node, by onnxruntime's own profiler, whose own time is in it; None for other providers."""
    if provider not in REGISTERED:
        return None
    with (
        tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder,
        opened([setting.inspector("profiled", plan.bundle, provider)]) as (running,),
    ):
        np.save(rows := Path(folder) / "rows.npy", pool.rows[:batch])
        running.load()
        running.take(rows)
        outputs = running.outputs()
    names = [str(name).partition("|") for name in outputs["node"]]
    return tuple(NodeTime(node, op, float(us)) for (node, _, op), us in zip(names, outputs["us"], strict=True))


def placement(plan: GridPlan, setting: Setting, provider: str) -> dict[str, int] | None:
    """Return execution provider -> nodes, as recorded by onnxruntime; None for other providers."""
    if provider not in REGISTERED:
        return None
    with opened([setting.inspector("placed", plan.bundle, provider)]) as (running,):
        running.load()
        return running.placement()


def run(
    plan: GridPlan,
    *,
    rows: NDArray[np.float32] | None = None,
    rows_name: str = "golden rows",
    command: Sequence[str] = (),
    progress: Progress = lambda text, turns: None,
) -> BenchResult:
    """Measure everything in `plan`; seconds to minutes.

    Args:
        plan: the grid and the bundle.
        rows: real rows, (rows, ...), raw units; by default the bundle's golden rows.
        rows_name: name of the rows in the result.
        command: command line, for the record.
        progress: called as turns are done.

    Raises:
        InputError: there are no rows, or they do not fit the bundle.
        BenchmarkError: a contestant fails, or computes something else than the others.
        ProviderError: a provider does not work here.
    """
    golden = read_golden(plan.bundle)
    chosen = golden["features"] if rows is None else rows
    pool = make_pool(chosen, plan.bundle.manifest, rows_name, plan.grid.largest_batch, plan.grid.seed)
    progress("what this machine can do at most", 0)
    before = ceiling()
    agreement: list[Agreement] = []
    results: dict[Any, Measured] = {}
    ratios: list[RatioRecord] = []
    for setting in plan.settings:
        arrivals: dict[int, float] = {}
        launches = [
            launch(plan, setting, number, golden=golden, pool=pool, arrivals=arrivals, progress=progress)
            for number in range(plan.grid.launches)
        ]
        agreement += launches[0].agreement
        cells = cells_of(setting, launches)
        ratios += [ratio for cell in cells for ratio in cell.ratios]
        for measured in _inspected(cells, plan, setting, pool):
            results.setdefault(measured.key, measured)  # a peer of two settings: its first figures stand
    progress("what this machine can do at most", 0)
    limits = before.or_better(ceiling())
    bundle = _described(plan)
    return BenchResult(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=tuple(command),
        machine=machine(),
        ceiling=limits,
        bundle=bundle,
        parameters={**_parameters(plan), "rows": pool.source},
        agreement=tuple(agreement),
        results=tuple(_with_share(measured, bundle, limits) for measured in results.values()),
        ratios=tuple(ratios),
    )


def _inspected(cells: Sequence[Cell], plan: GridPlan, setting: Setting, pool: Pool) -> Iterator[Measured]:
    """Yield the measurements with placement and node times from onnxruntime, taken in separate processes
    afterwards."""
    provider = cells[0].results[0].provider
    recorded = placement(plan, setting, provider)
    batches = {cell.results[0].batch for cell in cells} if plan.grid.profile else ()
    nodes = {batch: profile(plan, setting, provider, batch, pool) for batch in batches}
    for cell in cells:
        for measured in cell.results:
            if measured.contestant == OURS:
                measured = replace(measured, profile=nodes.get(measured.batch))  # noqa: PLW2901
            on_file = measured.contestant in (OURS, RAW) and measured.provider == provider
            yield replace(measured, placement=recorded) if on_file and measured.placement is None else measured


def _with_share(measured: Measured, bundle: BundleRecord, limits: Ceiling) -> Measured:
    """Add the share of the machine's peak that the arithmetic takes."""
    if (measured.provider, measured.precision) != ("cpu", "fp32"):
        return measured
    operations = bundle.files[measured.graph].multiply_adds_per_row if measured.graph in bundle.files else None
    if operations is None:
        return measured
    flops = 2 * operations * measured.throughput_rows_per_s
    return replace(measured, share_of_peak=flops / max(limits.matmul_gflops.values()) / 1e9)


def _described(plan: GridPlan) -> BundleRecord:
    manifest = plan.bundle.manifest
    return BundleRecord(
        name=manifest.name,
        id=manifest.id,
        features=int(np.prod(manifest.input_shape)),
        embedding=manifest.embedding_dim or None,
        files={_name(setting): _file(plan.bundle, setting) for setting in plan.settings},
    )


def _name(setting: Setting) -> str:
    return setting.graph if setting.precision == "fp32" else f"{setting.precision}/{setting.graph}"


def _file(bundle: Bundle, setting: Setting) -> GraphFile:
    name = bundle.variant(setting.precision).files[CALLS[setting.graph]]
    record = bundle.manifest.files[name]
    return GraphFile(record.sha256, record.size, multiply_adds_per_row(bundle.read(name), bundle.limits))


def _parameters(plan: GridPlan) -> dict[str, Any]:
    parameters = to_plain(plan.grid)
    return {**parameters, "against": plan.grid.against and str(plan.grid.against)}
