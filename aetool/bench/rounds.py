"""Rounds in which contestants take turns, A B A B ..., and the scenarios that put a load on them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from aetool.bench.contestants import ContestantTurn, Load, Running, wait_until_idle

WARM_SECONDS = 0.1
"""Before the first turn, per shape."""
_RETURN_SECONDS = 0.02
"""Before every other turn: caches and clock rate come back."""


@dataclass(frozen=True, slots=True)
class Turns:
    """All turns of one contestant under one load."""

    turns: tuple[ContestantTurn, ...]
    """One a round."""
    warm_up_samples: int
    """Queries that were not counted."""

    @property
    def latencies_s(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """Return the latency of every query of every round, (queries,), seconds."""
        return np.concatenate([turn.latencies_ns for turn in self.turns]) / 1e9

    @property
    def p50_s(self) -> float:
        """Return the median over rounds of each round's median."""
        return statistics.median(turn.p50_s for turn in self.turns)

    @property
    def rows_per_s(self) -> float:
        """Return the median over rounds of rows / wall time."""
        return statistics.median(turn.rows_per_s for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Ratio:
    """The comparison of two contestants, from rounds in which both had a turn."""

    median: float
    low: float
    high: float
    """Smallest and largest of the rounds."""


def take_turns(
    running: Sequence[Running],
    load: Load,
    *,
    rounds: int = 5,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Turns]:
    """Run `rounds` turns of each contestant, all loaded and with rows taken; name -> turns.

    The order is drawn from `seed` and rotates, so that none always follows the same neighbour and its heat.
    All get the same queries, and other ones each round.

    Args:
        running: the contestants.
        load: the load of one turn.
        rounds: number of turns of each.
        seed: seed of the order and the queries.
        done: called after every turn, for a progress bar.
    """
    order = [running[i] for i in np.random.default_rng(seed).permutation(len(running))]
    turns: dict[str, list[ContestantTurn]] = {contestant.name: [] for contestant in running}
    warm = {}
    for contestant in order:
        warm[contestant.name] = contestant.warm(replace(load, seconds=WARM_SECONDS, calls=2), seed)
    for number in range(rounds):
        shift = number % len(order)
        for contestant in order[shift:] + order[:shift]:
            wait_until_idle(running)
            warm[contestant.name] += contestant.warm(
                replace(load, seconds=_RETURN_SECONDS, calls=1), seed + number
            )
            turns[contestant.name].append(contestant.turn(load, seed + number))
            done()
    return {name: Turns(tuple(found), warm[name]) for name, found in turns.items()}


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Return first to second, figures of the same rounds: the median of the rounds' ratios, and their spread."""
    each = [a / b for a, b in zip(first, second, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def compared(first: Turns, second: Turns, figure: Literal["p50_s", "rows_per_s"] = "p50_s") -> Ratio:
    """Compare two contestants that took turns in a figure of a turn, see `ratio`."""
    return ratio(*([getattr(turn, figure) for turn in turns.turns] for turns in (first, second)))


# The four scenarios of MLPerf LoadGen (mlcommons/inference, loadgen/).
#
# single-stream   a query is `batch` rows in one array; the next comes when the last is answered.
# multi-stream    a query is one row from each of `batch` streams, put together before the call.
# server          queries of `batch` rows come as a Poisson process and wait in line; latency from the
#                 intended arrival, so that a stall is charged to every query that it delays.
# offline         all rows lie there at once and go into one call; what counts is rows / wall time.

UTILISATION = 0.5
"""Share of what the slowest contestant can answer that arrives in the server scenario, unless a rate is given."""
LEAST_CALLS = 3
"""Queries a turn, however long they take."""
_CALIBRATION_SECONDS = 0.1


def arrivals_for(running: Sequence[Running], batch: int) -> float:
    """Return the queries per second that all contestants can answer: a share of the slowest one's own rate."""
    probe = Load(batch=batch, seconds=_CALIBRATION_SECONDS, calls=LEAST_CALLS)
    for contestant in running:
        contestant.warm(probe)
    return UTILISATION * min(contestant.turn(probe).rows_per_s / batch for contestant in running)
