"""Candidates against the default: in processes of their own, compared first, then in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aetool.bench.agreement import FP32_TOLERANCE, REDUCED_TOLERANCE, require_agreement
from aetool.bench.contestants import Load, Running, opened
from aetool.bench.turns import ratio, take_turns
from aetool.errors import AetoolError
from aetool.tune.candidates import Candidate
from aetool.tune.result import Race

HEAT = 3
"""Candidates that race against the default at once: each holds all the rows."""

Outputs = Mapping[str, NDArray[Any]]


class Clock:
    """The time that the search may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._start = seconds, time.monotonic()

    @property
    def passed(self) -> float:
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """Of the time that has passed, 1 at most."""
        return min(1.0, self.passed / self.seconds)

    @property
    def left(self) -> float:
        return self.seconds - self.passed


@dataclass(frozen=True, slots=True)
class Track:
    """What they all race on."""

    graph: str
    sample: Path
    """NPY file of the rows that are compared."""
    rows: Mapping[int, Path]
    """Rows in one call -> NPY file of those that are run."""
    references: Mapping[str, Outputs]
    """Precision -> what it gives for the sample."""
    done: Callable[[str], None]
    """Called after every turn, with the name of the race."""


def race(
    name: str,
    default: Candidate,
    challengers: Sequence[Candidate],
    track: Track,
    load: Load,
    rounds: int,
    seed: int,
) -> tuple[dict[str, Race], dict[str, str]]:
    """One race, everybody in a new process.

    Returns:
        By name, how the challengers did, and why those that could not take part did not.

    Raises:
        BenchmarkError: the default fails.
    """
    refused: dict[str, str] = {}
    everybody = [default, *challengers]
    with opened([candidate.contestant(track.graph) for candidate in everybody]) as started:
        ready = []
        for running, candidate in zip(started, everybody, strict=True):
            try:
                _prepare(running, candidate, track)
            except AetoolError as error:
                if candidate is default:
                    raise
                refused[candidate.name] = str(error)  # it is no choice then; the others are
                running.end()
            else:
                ready.append(running)
        if len(ready) == 1:
            return {}, refused
        for running in ready:
            running.take(track.rows[load.batch])
        turns = take_turns(ready, load, rounds=rounds, seed=seed, done=lambda: track.done(name))
    seconds = {one: tuple(turn.p50_s for turn in found.turns) for one, found in turns.items()}
    own = seconds.pop(default.name)
    return {
        one: Race(name, load.batch, times, own, ratio(times, own).median) for one, times in seconds.items()
    }, refused


def _prepare(running: Running, candidate: Candidate, track: Track) -> None:
    """Load it, and let it compute what its precision must give."""
    precision = candidate.choice.precision
    running.load()
    running.take(track.sample)
    require_agreement(
        [running],
        graph=track.graph,
        expected=track.references[precision],
        tolerance=FP32_TOLERANCE if precision == "fp32" else REDUCED_TOLERANCE,
    )
