"""One launch of a setting: its contestants started, compared, and put to every load of the grid in turns.

A setting is launched more than once: where memory lies differs from process to process, and moves a time of
microseconds by several percent for as long as the process lives.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench.agreement import FP32_TOLERANCE, REDUCED_TOLERANCE, require_agreement
from aetool.bench.contestants import Contestant, Load, Loaded, Running, opened
from aetool.bench.grid import Plan, Setting
from aetool.bench.result import Agreement
from aetool.bench.rows import Pool
from aetool.bench.scenarios import arrivals_for, load_for
from aetool.bench.turns import Turns, take_turns

Golden = Mapping[str, NDArray[Any]]
Progress = Callable[[str, int], None]
"""What is being measured, and how many turns are done since the last time."""


@dataclass(frozen=True, slots=True)
class Started:
    """A contestant, loaded and run once."""

    running: Running
    loaded: Loaded
    first_run_s: float
    placement: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the contestants did under one load; by name."""

    load: Load
    turns: dict[str, Turns]
    peak_memory_bytes: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Launch:
    everybody: list[Started]
    """aetool first. Their processes have ended."""
    agreement: list[Agreement]
    observed: list[Observed]
    """One a load, in the grid's order."""


def launch(
    plan: Plan,
    setting: Setting,
    number: int,
    *,
    golden: Golden,
    pool: Pool,
    arrivals: dict[int, float],
    progress: Progress,
) -> Launch:
    """Launch number `number` of a setting.

    Args:
        arrivals: batch -> queries a second of the server scenario; what is missing is found out and added, so that
            it is the same in every launch.

    Raises:
        BenchmarkError: a contestant fails, or computes something else than the others: before anything is timed.
        ProviderError: the provider does not work here.
    """
    with _started(plan, setting, golden, progress) as everybody:
        running = [one.running for one in everybody]
        agreement = _compared(setting, running, golden)
        observed = []
        for scenario, batch in plan.grid.loads():
            text = f"{setting.graph}, {scenario}, {batch:,} row{'s' * (batch > 1)}"
            progress(text, 0)
            with tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder:
                np.save(rows := Path(folder) / "rows.npy", pool.for_batch(batch))
                for contestant in running:
                    contestant.take(rows)
            load = load_for(scenario, batch, plan.grid.seconds)
            if scenario == "server":
                if batch not in arrivals:
                    arrivals[batch] = plan.grid.arrivals_per_s or arrivals_for(running, batch)
                load = replace(load, rate=arrivals[batch])
            rounds = plan.grid.rounds_of(number)
            turns = take_turns(
                running,
                load,
                rounds=len(rounds),
                seed=plan.grid.seed + rounds.start,
                done=partial(progress, text, 1),
            )
            observed.append(Observed(load, turns, {one.name: one.peak_memory_bytes() for one in running}))
    return Launch(everybody, agreement, observed)


@contextmanager
def _started(plan: Plan, setting: Setting, golden: Golden, progress: Progress) -> Iterator[list[Started]]:
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


def _compared(setting: Setting, running: list[Running], golden: Golden) -> list[Agreement]:
    """With PyTorch in float64; in another precision, which has its own errors, with aetool."""
    exact = setting.precision == "fp32"
    return require_agreement(
        running,
        graph=setting.graph,
        expected=golden if exact else None,
        features=golden["features"],
        tolerance=FP32_TOLERANCE if exact else REDUCED_TOLERANCE,
        rows=f"{len(golden['features'])} golden rows" + (", compared with PyTorch in float64" if exact else ""),
    )
