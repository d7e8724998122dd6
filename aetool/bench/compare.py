"""Comparison of two results, before and after: faster, slower, or not to be told apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aetool.bench.result import BenchResult, Measured, MeasuredCase
from aetool.errors import BenchmarkError

Word = Literal["faster", "slower", "can't tell"]

_SMALLEST_CHANGE = 0.05
"""Two runs of one program differ by so much, since its memory lies elsewhere each time."""
_IDENTITY = ("cpu", "cpu_flags", "cores", "quota_cores")


@dataclass(frozen=True, slots=True)
class Verdict(MeasuredCase):
    """One measurement that both results have."""

    before_s: float
    """Median over rounds of the median latency of a query."""
    after_s: float
    ratio: float
    """After / before: below 1 is faster."""
    low: float
    high: float
    """Interval of the ratio: it covers the rounds of both, and what changed with the machine alone."""
    verdict: Word
    """"can't tell", unless the whole interval is on one side of 1 and the ratio changed by 5 % or more."""
    stable: bool
    """True if the machine was quiet in both."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The cases of two results, side by side."""

    verdicts: tuple[Verdict, ...]
    only_before: int
    only_after: int
    """Measurements that the other result does not have."""
    changed: tuple[str, ...]
    """Other differences: packages, the commit, the bundle, the machine where that is allowed."""


def compare(before: BenchResult, after: BenchResult, *, different_machines: bool = False) -> Comparison:
    """Compare two results row by row.

    Raises:
        BenchmarkError: they come from different machines (unless allowed), or have no measurement in common.
    """
    differences = _differences(before, after)
    if differences and not different_machines:
        raise BenchmarkError(
            f"the results come from different machines: {'; '.join(differences)}; times of two machines compare "
            "the machines (--different-machines compares them anyway)"
        )
    old, new = ({measured.key: measured for measured in result.results} for result in (before, after))
    if not old.keys() & new.keys():
        raise BenchmarkError(
            "the results have no measurement in common; measure with the same graphs, providers, precisions, "
            "threads, batches and scenarios"
        )
    both = {key: (measured, new[key]) for key, measured in old.items() if key in new}
    machine = _drift_of_machine(before, after)
    same_program = before.machine.packages == after.machine.packages and before.bundle.files == after.bundle.files
    verdicts = []
    for measured, again in both.values():
        drift = machine
        if same_program:  # then the other contestants under this load changed with the machine alone
            others = [pair for pair in both.values() if _are_peers(pair[0], measured)]
            drift = max([drift, *(abs(math.log(_median(two) / _median(one))) for one, two in others)])
        verdicts.append(_verdict(measured, again, drift))
    changed = (*differences, *_changes(before, after))
    return Comparison(tuple(verdicts), len(old.keys() - new.keys()), len(new.keys() - old.keys()), changed)


def interval(before: Sequence[float], after: Sequence[float], drift: float = 0.0) -> tuple[float, float]:
    """Return the least and the largest ratio after / before that two sets of rounds leave possible.

    Args:
        before: medians of the rounds before, seconds.
        after: medians of the rounds after, seconds.
        drift: logarithm of the factor by which times change between two runs of one program.
    """
    # Rounds of one run are more alike than those of two runs, so the extremes stand here, no standard error.
    return min(after) / max(before) / math.exp(drift), max(after) / min(before) * math.exp(drift)


def word(ratio: float, low: float, high: float, smallest: float = _SMALLEST_CHANGE) -> Word:
    """Return the verdict on a ratio after / before.

    Args:
        ratio: that of the medians.
        low: least ratio that is possible.
        high: largest ratio that is possible.
        smallest: smallest relevant change, as a share.
    """
    if low <= 1 <= high or abs(ratio - 1) < smallest:
        return "can't tell"
    return "faster" if ratio < 1 else "slower"


def _verdict(before: Measured, after: Measured, drift: float) -> Verdict:
    low, high = interval([one.p50_s for one in before.rounds], [one.p50_s for one in after.rounds], drift)
    before_s, after_s = _median(before), _median(after)
    ratio = after_s / before_s
    stable = before.stability.stable and after.stability.stable
    smallest = _SMALLEST_CHANGE if stable else max(before.stability.spread, after.stability.spread)
    return Verdict(
        *before.key,
        before_s=before_s,
        after_s=after_s,
        ratio=ratio,
        low=low,
        high=high,
        verdict=word(ratio, low, high, smallest),
        stable=stable,
    )


def _median(measured: Measured) -> float:
    return statistics.median(one.p50_s for one in measured.rounds)


def _are_peers(one: Measured, other: Measured) -> bool:
    """Return whether two contestants took turns under one load."""
    load = ("graph", "provider", "precision", "threads", "batch", "scenario")
    return one.contestant != other.contestant and all(getattr(one, name) == getattr(other, name) for name in load)


def _drift_of_machine(before: BenchResult, after: BenchResult) -> float:
    """Return the logarithm of the largest change of the machine's own peaks."""
    old, new = before.ceiling, after.ceiling
    pairs = [(old.copy_gb_per_s, new.copy_gb_per_s)]
    pairs += [
        (peak, new.matmul_gflops[count]) for count, peak in old.matmul_gflops.items() if count in new.matmul_gflops
    ]
    return max(abs(math.log(two / one)) for one, two in pairs if one > 0 and two > 0)


def _differences(before: BenchResult, after: BenchResult) -> list[str]:
    """Return what differs between the machines."""
    found = []
    for name in _IDENTITY:
        old, new = getattr(before.machine, name), getattr(after.machine, name)
        if old != new:
            if name == "cpu_flags":
                old, new = (" ".join(sorted(set(a) - set(b))) or "none more" for a, b in ((old, new), (new, old)))
            found.append(f"{name} {old} and {new}")
    return found


def _changes(before: BenchResult, after: BenchResult) -> list[str]:
    old, new = before.machine.packages, after.machine.packages
    found = [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    for name, a, b in (
        ("python", before.machine.python, after.machine.python),
        ("system", before.machine.system, after.machine.system),
        ("commit", before.machine.commit, after.machine.commit),
        ("bundle", f"{before.bundle.name} {before.bundle.id[:8]}", f"{after.bundle.name} {after.bundle.id[:8]}"),
    ):
        if a != b:
            found.append(f"{name} {a} -> {b}")
    return found
