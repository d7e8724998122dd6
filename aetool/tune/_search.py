"""The search: short turns for all candidates, longer ones for the best, and a final of these with the default.

Successive halving (Jamieson & Talwalkar 2016): what is measured longest is what may be chosen.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aetool.bench.agreement import FP32_TOLERANCE, REDUCED_TOLERANCE, require_agreement
from aetool.bench.contestants import Load, Running, opened
from aetool.bench.rounds import ratio, take_turns
from aetool.errors import AetoolError
from aetool.runtime.settings import DEFAULTS
from aetool.runtime.tuning_file import Race
from aetool.tune._candidates import Others, Purpose, RunCandidate

# Candidates and the default, each in its own process: outputs compared, then timed in turns.

HEAT = 3
"""Candidates that race against the default at once: each holds all the rows."""

Outputs = Mapping[str, NDArray[Any]]


class Clock:
    """The time that the search may take."""

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self.seconds, self._start = seconds, time.monotonic()

    @property
    def passed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """Return the share of the time that has passed, 1 at most."""
        return min(1.0, self.passed / self.seconds)

    @property
    def left(self) -> float:
        """Return the seconds left."""
        return self.seconds - self.passed


@dataclass(frozen=True, slots=True)
class RunSetup:
    """Rows, graph and effort that all candidates share."""

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
    default: RunCandidate,
    challengers: Sequence[RunCandidate],
    track: RunSetup,
    load: Load,
    rounds: int,
    seed: int,
) -> tuple[dict[str, Race], dict[str, str]]:
    """Run one race, with each candidate in a new process.

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
    seconds = {rival: tuple(turn.p50_s for turn in found.turns) for rival, found in turns.items()}
    own = seconds.pop(default.name)
    return {
        rival: Race(name, load.batch, times, own, ratio(times, own).median) for rival, times in seconds.items()
    }, refused


def _prepare(running: Running, candidate: RunCandidate, track: RunSetup) -> None:
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


_KEPT = 1 / 3
"""Share of the candidates kept after each stage."""
_BUSY = 0.1
"""Share of the cores that others take from which what threads and spinning gain is not believed."""
_LEAST_ROUNDS = 2
"""Least number of rounds in a launch of the final."""
_FIRST_ROUNDS = 2
"""Rounds of the first stage; each later one has one more."""
SHORT_ROWS = 16_384
"""Maximum rows of a call in the first stage: enough to show the effect of chunks."""
_FINAL_SHARE = 0.4
"""Share of the time that is kept for the final."""


@dataclass(frozen=True, slots=True)
class Effort:
    """Effort of the measurements."""

    turn_s: float
    """Duration of one turn in the first stage, in seconds, twice as long in each later one; one call at least."""
    final_turn_s: float
    launches: int
    """Launches of the final: the memory layout of one process shifts its times by several percent."""
    rounds: int
    """Rounds of each launch."""
    finalists: int
    least_gain: float
    """Least gain, as a share of the default's time; less is not worth another way of running, nor one more
    setting."""


EFFORTS: Mapping[Purpose, Effort] = {
    "latency": Effort(0.03, 0.1, launches=4, rounds=3, finalists=3, least_gain=0.05),
    "throughput": Effort(0.0, 0.0, launches=2, rounds=4, finalists=2, least_gain=0.03),
}


@dataclass(slots=True)
class Record:
    """Measurements of a candidate so far, and its outcome."""

    candidate: RunCandidate
    races: list[Race] = field(default_factory=list)
    dropped: str = ""

    @property
    def ratio(self) -> float:
        """Return its time to the default's, in its last race."""
        return self.races[-1].ratio

    def rank(self, least_gain: float) -> float:
        """Return the sort key: every changed setting must gain something to be worth it."""
        return self.ratio * (1 + least_gain * len(self.candidate.choice.settings.words))


def search(
    purpose: Purpose,
    default: RunCandidate,
    records: Sequence[Record],
    track: RunSetup,
    rows: int,
    clock: Clock,
    *,
    objection: Callable[[RunCandidate, float], str],
    seed: int,
) -> Record | None:
    """Search for the fastest candidate; None means the default. `records` hold the outcome of each.

    Args:
        purpose: one row at a time, or many.
        default: the candidate to beat.
        records: records of the candidates, likeliest first.
        track: rows, graph and effort.
        rows: rows of one call.
        clock: the time that is left.
        objection: called with candidate and speedup; returns the reason against it, in words, or an empty text.
        seed: seed of the order of turns.

    Raises:
        BenchmarkError: the default fails.
    """
    effort = EFFORTS[purpose]
    stages = _Stages(effort, default, track, rows, clock, seed)
    alive, stage = list(records), 0
    while alive and (stage == 0 or (len(alive) > effort.finalists and clock.passed < stages.end)):
        alive = stages.run(alive, stage)
        stage += 1
    _drop(alive[effort.finalists :], "no time for another stage; give more seconds")
    others = Others()
    raced = stages.final(alive[: effort.finalists])
    busy = others.share
    best: Record | None = None
    for record in sorted(raced, key=lambda record: record.rank(effort.least_gain)):
        record.dropped = objection(record.candidate, 1 / record.ratio) or _doubt(record, effort.least_gain, busy)
        if not record.dropped and best is None:
            best = record
        elif not record.dropped and best is not None:
            record.dropped = f"{best.candidate.name} is faster still, or as fast and simpler"
    return best


def _doubt(record: Record, least: float, busy: float) -> str:
    """Return why a candidate is not clearly faster than the default; empty if it is."""
    final, settings = record.races[-1], record.candidate.choice.settings
    if busy > _BUSY and (settings.direct_threads or settings.workers or settings.spin_us != DEFAULTS.spin_us):
        return f"others kept {busy:.0%} of the cores busy: threads cannot be judged; tune when quiet"
    lost = sum(own >= default for own, default in zip(final.seconds, final.default_seconds, strict=True))
    if lost:
        return f"not faster in {lost} of {len(final.seconds)} rounds of the final"
    return "" if final.ratio <= 1 - least else f"faster by {1 - final.ratio:.1%}, less than {least:.0%}"


class _Stages:
    def __init__(
        self, effort: Effort, default: RunCandidate, track: RunSetup, rows: int, clock: Clock, seed: int
    ) -> None:
        self._effort, self._default, self._track, self._rows = effort, default, track, rows
        self._clock, self._seed = clock, seed
        self.end = (1 - _FINAL_SHARE) * clock.seconds
        """When the final begins."""
        self._turn_s = 0.0  # that a turn took in the last race, with what comes before it

    def run(self, alive: Sequence[Record], stage: int) -> list[Record]:
        """Race all, and keep the best of those that are faster than the default, the fastest first."""
        load = Load(
            batch=min(self._rows, SHORT_ROWS) if stage == 0 else self._rows,
            seconds=self._effort.turn_s * 2**stage,
        )
        raced: list[Record] = []
        longest = 0.0
        for start in range(0, len(alive), HEAT):
            begin = self._clock.passed
            if start and begin + longest > self.end:
                _drop(alive[start:], f"no time for it in stage {stage + 1}; give more seconds")
                break
            raced += self._race(f"stage {stage + 1}", alive[start : start + HEAT], load, _FIRST_ROUNDS + stage)
            longest = max(longest, self._clock.passed - begin)
        raced.sort(key=lambda record: record.rank(self._effort.least_gain))
        room = max(self._effort.finalists, math.ceil(_KEPT * len(raced)))
        faster = [record for record in raced if record.ratio < 1]
        _drop(faster[room:], f"not among the fastest in stage {stage + 1}")
        _drop(
            [record for record in raced if record.ratio >= 1], f"no faster than the default in stage {stage + 1}"
        )
        return faster[:room]

    def final(self, alive: Sequence[Record]) -> list[Record]:
        """Run several launches, which become one race."""
        load = Load(batch=self._rows, seconds=self._effort.final_turn_s)
        before = {record.candidate.name: len(record.races) for record in alive}
        rounds = self._rounds(len(alive))
        if rounds < _LEAST_ROUNDS:
            _drop(alive[1:], "no time for it in the final; give more seconds")
            alive = alive[:1]
            rounds = max(_LEAST_ROUNDS, self._rounds(1))
        for _ in range(self._effort.launches):
            alive = self._race("final", alive, load, rounds)
        for record in alive:
            first = before[record.candidate.name]
            record.races[first:] = [_joined(record.races[first:])]
        return list(alive)

    def _rounds(self, challengers: int) -> int:
        """Return the rounds for which there is time in each launch of the final."""
        turns = self._clock.left / (self._turn_s or 1.0) / self._effort.launches
        return min(self._effort.rounds, int(turns / (challengers + 1)) - 1)  # one goes into warming up

    def _race(self, name: str, alive: Sequence[Record], load: Load, rounds: int) -> list[Record]:
        """Race the candidates; return those that could take part."""
        if not alive:
            return []
        self._seed += 1
        challengers = [record.candidate for record in alive]
        begin = self._clock.passed
        races, refused = race(name, self._default, challengers, self._track, load, rounds, self._seed)
        self._turn_s = (self._clock.passed - begin) / (len(challengers) + 1) / (rounds + 1)
        for record in alive:
            record.dropped = refused.get(record.candidate.name, "")
            if not record.dropped:
                record.races.append(races[record.candidate.name])
        return [record for record in alive if not record.dropped]


def _joined(launches: Sequence[Race]) -> Race:
    seconds = tuple(second for launch in launches for second in launch.seconds)
    default_seconds = tuple(second for launch in launches for second in launch.default_seconds)
    median = ratio(seconds, default_seconds).median
    return launches[0]._replace(seconds=seconds, default_seconds=default_seconds, ratio=median)


def _drop(records: Sequence[Record], why: str) -> None:
    for record in records:
        record.dropped = why
