"""Contestants take turns, A B A B ..., so that what the machine does meanwhile happens to all of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from aetool.bench.contestants import Load, Running, Turn, wait_until_idle

WARM_SECONDS = 0.1
"""Before the first turn, per shape."""
RETURN_SECONDS = 0.02
"""Before every other turn: caches and clock rate come back."""


@dataclass(frozen=True, slots=True)
class Turns:
    """All turns of one contestant under one load."""

    turns: tuple[Turn, ...]
    """One a round."""
    warm_up_samples: int
    """Queries that were not counted."""

    @property
    def latencies_s(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """Of every query of every round, (queries,)."""
        return np.concatenate([turn.latencies_ns for turn in self.turns]) / 1e9

    @property
    def p50_s(self) -> float:
        """Median over rounds of each round's median."""
        return statistics.median(turn.p50_s for turn in self.turns)

    @property
    def rows_per_s(self) -> float:
        """Median over rounds of rows / wall time."""
        return statistics.median(turn.rows_per_s for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How two contestants compare, from rounds in which both had a turn."""

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
    """Let all of them, loaded and with rows taken, do `rounds` turns each; name -> turns.

    The order is drawn from `seed` and rotates, so that nobody always follows the same neighbour's heat. All get
    the same queries, and other ones each round.

    Args:
        done: called after every turn, for a progress bar.
    """
    order = [running[i] for i in np.random.default_rng(seed).permutation(len(running))]
    turns: dict[str, list[Turn]] = {contestant.name: [] for contestant in running}
    warm = {}
    for contestant in order:
        warm[contestant.name] = contestant.warm(replace(load, seconds=WARM_SECONDS, calls=2), seed)
    for number in range(rounds):
        shift = number % len(order)
        for contestant in order[shift:] + order[:shift]:
            wait_until_idle(running)
            warm[contestant.name] += contestant.warm(replace(load, seconds=RETURN_SECONDS, calls=1), seed + number)
            turns[contestant.name].append(contestant.turn(load, seed + number))
            done()
    return {name: Turns(tuple(found), warm[name]) for name, found in turns.items()}


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """First to second, figures of the same rounds: the median of the rounds' own ratios, and their spread."""
    each = [a / b for a, b in zip(first, second, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def compared(first: Turns, second: Turns, figure: Literal["p50_s", "rows_per_s"] = "p50_s") -> Ratio:
    """How two contestants that took turns compare in a figure of a turn, see `ratio`."""
    return ratio(*([getattr(turn, figure) for turn in turns.turns] for turns in (first, second)))
