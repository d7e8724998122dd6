"""The search: short turns for all, longer ones for the best, a final of each of these with the default.

Successive halving (Jamieson & Talwalkar 2016): what is measured longest is what may be chosen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from aetool.bench.contestants import Load
from aetool.bench.turns import ratio
from aetool.tune.candidates import Candidate, Purpose
from aetool.tune.races import HEAT, Clock, Track, race
from aetool.tune.result import Race

FINALISTS = 2
KEPT = 1 / 3
"""Of the candidates, after each stage."""
HEAT_ROUNDS, HEAT_SECONDS = 2, {"latency": 0.03, "throughput": 0.0}
"""Of the first stage; the next has twice as many rounds."""
FINAL_ROUNDS, FINAL_SECONDS = 3, {"latency": 0.1, "throughput": 0.0}
"""In each launch: where memory lies moves the times of one process by several percent as long as it lives."""
LAUNCHES, LEAST_LAUNCHES = 4, 3
LEAST_GAIN = {"latency": 0.05, "throughput": 0.03}
"""Of the default's time; less is not worth another way of running."""
FINAL_SHARE = 0.4
"""Of the time, kept for the finals."""
SHORT_ROWS = 16_384
"""In a call of the first stage at most: enough to see what chunks do."""

_NO_TIME = "the time was over before it could be tried further; give more seconds"


@dataclass(slots=True)
class Record:
    """What became of a candidate so far."""

    candidate: Candidate
    races: list[Race] = field(default_factory=list)
    dropped: str = ""

    @property
    def ratio(self) -> float:
        """Its time to the default's, in its last race."""
        return self.races[-1].ratio


@dataclass(frozen=True, slots=True)
class Winner:
    record: Record | None
    """None: the default."""
    reason: str


def search(
    purpose: Purpose,
    default: Candidate,
    records: Sequence[Record],
    track: Track,
    rows: int,
    clock: Clock,
    *,
    objection: Callable[[Candidate, float], str],
    seed: int,
) -> Winner:
    """Find the fastest; `records` tell afterwards what became of each.

    Args:
        records: of the candidates, the likelier first.
        rows: in one call.
        objection: candidate and speedup -> what forbids it, in words; empty where nothing does.

    Raises:
        BenchmarkError: the default fails.
    """
    stages = _Stages(purpose, default, track, rows, clock, seed)
    alive, stage = list(records), 0
    while alive and (stage == 0 or len(alive) > FINALISTS):
        if stage and clock.passed > stages.end:
            _drop(alive[FINALISTS:], _NO_TIME)
            alive = alive[:FINALISTS]
            break
        alive = stages.run(alive, stage)
        stage += 1
    best: Record | None = None
    for record in alive:
        final = stages.final(record)
        if final is None:
            continue
        speedup = 1 / final.ratio
        record.dropped = objection(record.candidate, speedup) or _not_clearly_better(final, LEAST_GAIN[purpose])
        if record.dropped:
            continue
        if best is None or record.ratio < best.ratio:
            if best is not None:
                best.dropped = f"{record.candidate.name} is faster still"
            best = record
        else:
            record.dropped = f"{best.candidate.name} is faster still"
    if best is None:
        return Winner(None, "nothing else is clearly faster than the default")
    final = best.races[-1]
    return Winner(
        best,
        f"{1 / final.ratio:.2f}x the default's speed, faster in all of {len(final.seconds)} rounds of a final",
    )


def _not_clearly_better(final: Race, least: float) -> str:
    lost = sum(own >= default for own, default in zip(final.seconds, final.default_seconds, strict=True))
    if lost:
        return f"not faster in {lost} of {len(final.seconds)} rounds of the final"
    return "" if final.ratio <= 1 - least else f"faster by {1 - final.ratio:.1%}, less than {least:.0%}"


class _Stages:
    def __init__(
        self, purpose: Purpose, default: Candidate, track: Track, rows: int, clock: Clock, seed: int
    ) -> None:
        self._purpose, self._default, self._track, self._rows = purpose, default, track, rows
        self._clock, self._seed = clock, seed
        self.end = (1 - FINAL_SHARE) * clock.seconds
        """When the finals begin."""
        self._longest = 0.0  # that a launch of two took, in seconds

    def run(self, alive: Sequence[Record], stage: int) -> list[Record]:
        """Race all, and keep the best of those that are faster than the default."""
        rows = min(self._rows, SHORT_ROWS) if stage == 0 else self._rows
        load = Load(batch=rows, seconds=HEAT_SECONDS[self._purpose] * 2**stage)
        raced, longest = [], 0.0
        for number, start in enumerate(range(0, len(alive), HEAT)):
            heat = alive[start : start + HEAT]
            begin = self._clock.passed
            if number and begin + longest > self.end:
                _drop(alive[start:], _NO_TIME)
                break
            found, refused = race(
                f"stage {stage + 1}",
                self._default,
                [record.candidate for record in heat],
                self._track,
                load,
                HEAT_ROUNDS * 2**stage,
                self._next_seed(),
            )
            longest = max(longest, self._clock.passed - begin)
            for record in heat:
                record.dropped = refused.get(record.candidate.name, "")
                if not record.dropped:
                    record.races.append(found[record.candidate.name])
                    raced.append(record)
        raced.sort(key=lambda record: record.ratio)
        faster = [record for record in raced if record.ratio < 1]
        kept = faster[: max(FINALISTS, math.ceil(KEPT * len(raced)))]
        for record in raced:
            if record not in kept:
                word = "no faster than the default" if record.ratio >= 1 else "not among the fastest"
                record.dropped = f"{word} in stage {stage + 1}"
        return kept

    def final(self, record: Record) -> Race | None:
        """Launches of the candidate and the default, alone with each other."""
        load = Load(batch=self._rows, seconds=FINAL_SECONDS[self._purpose])
        launches: list[Race] = []
        while len(launches) < LAUNCHES:
            if len(launches) >= LEAST_LAUNCHES and self._clock.left < self._longest:
                break
            if not launches and self._longest and self._clock.left < LEAST_LAUNCHES * self._longest:
                record.dropped = _NO_TIME
                return None
            begin = self._clock.passed
            found, refused = race(
                "final", self._default, [record.candidate], self._track, load, FINAL_ROUNDS, self._next_seed()
            )
            self._longest = max(self._longest, self._clock.passed - begin)
            if refused:
                record.dropped = refused[record.candidate.name]
                return None
            launches.append(found[record.candidate.name])
        whole = replace(
            launches[0],
            seconds=tuple(second for one in launches for second in one.seconds),
            default_seconds=tuple(second for one in launches for second in one.default_seconds),
        )
        whole = replace(whole, ratio=ratio(whole.seconds, whole.default_seconds).median)
        record.races.append(whole)
        return whole

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed


def _drop(records: Sequence[Record], why: str) -> None:
    for record in records:
        record.dropped = why
