"""One setting measured: its contestants started, compared, and put to every load of the grid in turns."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench.agreement import FP32_TOLERANCE, REDUCED_TOLERANCE, Agreement, require_agreement
from aetool.bench.contestants import Contestant, Load, Loaded, Running, opened
from aetool.bench.grid import OURS, Plan, Setting
from aetool.bench.inspectors import REGISTERED
from aetool.bench.percentiles import histogram, latency_figures
from aetool.bench.result import HistogramRecord, Latency, Measured, NodeTime, RatioRecord, Round
from aetool.bench.rows import Pool
from aetool.bench.scenarios import arrivals_for, load_for
from aetool.bench.stability import stability
from aetool.bench.turns import Ratio, Turns, ratio, take_turns

Progress = Callable[[str, int], None]
"""What is being measured, and how many turns are done since the last time."""


@dataclass(frozen=True, slots=True)
class Started:
    """A contestant, loaded, run once, and found to compute what it should."""

    running: Running
    loaded: Loaded
    first_run_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One load of one setting, measured."""

    results: list[Measured]
    ratios: list[RatioRecord]


@contextmanager
def started(
    plan: Plan, setting: Setting, golden: Mapping[str, NDArray[Any]], progress: Progress
) -> Iterator[tuple[list[Started], list[Agreement]]]:
    """The contestants of a setting, aetool first; nothing is timed by the caller before they agree.

    Raises:
        BenchmarkError: one of them fails, or computes something else.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetool-bench-")))
        np.save(rows := folder / "golden.npy", golden["features"])

        def start(contestant: Contestant) -> Started:
            progress(f"{setting.graph}: {contestant.name} starts", 0)
            (running,) = stack.enter_context(opened([contestant]))
            loaded = running.load()
            running.take(rows)
            return Started(running, loaded, running.first())

        first = start(setting.ours(plan.bundle))
        provider = first.loaded.provider or "cpu"
        grid = plan.grid
        everybody = [first] + [
            start(setting.peer(name, plan.bundle, provider, grid.against)) for name in grid.peers
        ]
        exact = setting.precision == "fp32"
        agreement = require_agreement(
            [one.running for one in everybody],
            graph=setting.graph,
            expected=golden if exact else None,
            features=golden["features"],
            tolerance=FP32_TOLERANCE if exact else REDUCED_TOLERANCE,
            rows=f"{len(golden['features'])} golden rows"
            + (", compared with PyTorch in float64" if exact else ""),
        )
        yield everybody, agreement


def measure(
    plan: Plan,
    setting: Setting,
    everybody: list[Started],
    scenario: str,
    batch: int,
    pool: Pool,
    progress: Progress,
) -> Cell:
    """Let them take turns under one load."""
    grid, running = plan.grid, [one.running for one in everybody]
    text = f"{setting.graph}, {scenario}, {batch:,} row{'s' * (batch > 1)}"
    progress(text, 0)
    with tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder:
        np.save(rows := Path(folder) / "rows.npy", pool.for_batch(batch))
        for contestant in running:
            contestant.take(rows)
        load = load_for(scenario, batch, grid.seconds)
        if scenario == "server":
            load = replace(load, rate=grid.arrivals_per_s or arrivals_for(running, batch))
        turns = take_turns(running, load, rounds=grid.rounds, seed=grid.seed, done=lambda: progress(text, 1))
        results = [_record(setting, one, load, turns[one.running.name]) for one in everybody]
    ours = replace(setting, provider=results[0].provider)
    ratios = [_compared(ours, load, turns, one.running.name) for one in everybody[1:]]
    return Cell(results, ratios)


def profile(plan: Plan, setting: Setting, provider: str, batch: int, pool: Pool) -> tuple[NodeTime, ...] | None:
    """Time of each node of the graph file, by onnxruntime's own profiler; its own time is in it."""
    if provider not in REGISTERED:
        return None
    with (
        tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder,
        opened([setting.inspector("profiled", plan.bundle, provider)]) as (running,),
    ):
        np.save(rows := Path(folder) / "rows.npy", pool.rows[:batch])
        running.load()
        running.take(rows)
        found = running.outputs()
    names = [str(name).partition("|") for name in found["node"]]
    return tuple(NodeTime(node, op, float(us)) for (node, _, op), us in zip(names, found["us"], strict=True))


def placement(plan: Plan, setting: Setting, provider: str) -> dict[str, int] | None:
    """Which execution provider takes how many nodes of the graph file, as onnxruntime records it."""
    if provider not in REGISTERED:
        return None
    with opened([setting.inspector("placed", plan.bundle, provider)]) as (running,):
        running.load()
        return running.placement()


def _record(setting: Setting, one: Started, load: Load, turns: Turns) -> Measured:
    latencies, loaded = turns.latencies_s, one.loaded
    peak = one.running.peak_memory_bytes()
    figures = latency_figures(latencies)
    bins = histogram(latencies)
    on_checkpoint = "checkpoint" in one.running.contestant.arguments
    return Measured(
        contestant=one.running.name,
        graph=setting.graph,
        provider=loaded.provider or "cpu",
        precision="fp32" if on_checkpoint else setting.precision,
        threads=setting.threads,
        batch=load.batch,
        scenario=load.scenario,
        placement=one.running.placement(),
        import_s=loaded.import_s,
        session_creation_s=loaded.session_creation_s,
        first_run_s=one.first_run_s,
        resident_after_load_bytes=loaded.resident_after_bytes,
        peak_memory_bytes=peak,
        samples=len(latencies),
        warm_up_samples=turns.warm_up_samples,
        latency_s=Latency(**{name.replace(".", "_"): value for name, value in figures.items()}),
        histogram=HistogramRecord(bins.edges_s, bins.counts),
        throughput_rows_per_s=turns.rows_per_s,
        arrivals_per_s=load.rate,
        rounds=tuple(Round(turn.p50_s, turn.rows_per_s) for turn in turns.turns),
        stability=stability([turn.latencies_ns for turn in turns.turns]),
        share_of_peak=None,
        profile=None,
    )


def _compared(setting: Setting, load: Load, turns: Mapping[str, Turns], peer: str) -> RatioRecord:
    ours, theirs = turns[OURS], turns[peer]
    p50 = _of_rounds(ours, theirs, "p50_s")
    tails = [latency_figures(one.latencies_s)["p99"] for one in (ours, theirs)]
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
        throughput=_of_rounds(ours, theirs, "rows_per_s").median,
        spread=(p50.low, p50.high),
    )


def _of_rounds(first: Turns, second: Turns, figure: str) -> Ratio:
    return ratio(*([getattr(turn, figure) for turn in turns.turns] for turns in (first, second)))
