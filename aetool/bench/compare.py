"""Comparison of two results, before and after: faster, slower, or not distinguishable."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aetool.bench.result import BenchResult, Measured, MeasuredCase
from aetool.errors import BenchmarkError

Word = Literal["faster", "slower", "same"]

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
    verdict: Word
    """"same", unless the slowest round of one is faster than the fastest round of the other."""
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
            "the machines (--different-machines compares them all the same)"
        )
    old, new = ({measured.key: measured for measured in result.results} for result in (before, after))
    if not old.keys() & new.keys():
        raise BenchmarkError(
            "the results have no measurement in common; measure with the same graphs, providers, precisions, "
            "threads, batches and scenarios"
        )
    verdicts = tuple(_verdict(measured, new[key]) for key, measured in old.items() if key in new)
    changed = (*differences, *_changes(before, after))
    return Comparison(verdicts, len(old.keys() - new.keys()), len(new.keys() - old.keys()), changed)


def word(before: Sequence[float], after: Sequence[float], smallest: float = _SMALLEST_CHANGE) -> Word:
    """Return the verdict that the rounds support; with five on each side, chance alone separates them one time
    in 126.

    Args:
        before: medians of the rounds before, seconds.
        after: medians of the rounds after, seconds.
        smallest: smallest relevant change, as a share.
    """
    if abs(statistics.median(after) / statistics.median(before) - 1) < smallest:
        return "same"
    if max(after) < min(before):
        return "faster"
    return "slower" if min(after) > max(before) else "same"


def _verdict(before: Measured, after: Measured) -> Verdict:
    old, new = ([one.p50_s for one in measured.rounds] for measured in (before, after))
    before_s, after_s = statistics.median(old), statistics.median(new)
    stable = before.stability.stable and after.stability.stable
    smallest = _SMALLEST_CHANGE if stable else max(before.stability.spread, after.stability.spread)
    return Verdict(
        *before.key,
        before_s=before_s,
        after_s=after_s,
        ratio=after_s / before_s,
        verdict=word(old, new, smallest),
        stable=stable,
    )


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
