"""Rows that a graph is proven on: real ones, and what no table holds but an app will send."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aetool.export.candidate import Rows, middle_of, out_of_range

GOLDEN, OUT_OF_RANGE = "golden", "out of range"
PROBE_ROWS = 24
FEW = 4
FAR, VERY_FAR = 100.0, 1e6
NON_FINITE = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True, slots=True)
class Probe:
    name: str
    rows: Rows
    """(rows, ...) float32"""
    finite: bool = True
    """Whether no row holds NaN or infinity."""


def probes(real: Rows, count: int = PROBE_ROWS) -> Iterator[Probe]:
    """Give sets of at most `count` rows made of `real` ones, (rows, ...), besides those themselves.

    Rows 100 and a million times out of range, one feature out of range, negative, all zero, constant, tiny, one
    of each kind in one batch, and rows that hold NaN or infinity. Where a row costs so much that `count` is below
    FEW, the one batch of each kind stands for all.
    """
    finite = real[np.isfinite(real.reshape(len(real), -1)).all(axis=1)]
    some = _spaced(finite if len(finite) else np.broadcast_to(middle_of(real), (1, *real.shape[1:])), count)
    largest = float(np.abs(some).max(initial=1.0))
    constants = (0.0, 1.0, -1.0, 0.5, largest, -largest, float(some.mean()), 1e-6)
    sets = {
        "far out of range": out_of_range(some, some, VERY_FAR),
        "one feature out of range": _one_feature(some),
        "negative": -some,
        "constant": np.stack([np.full(some.shape[1:], value, np.float32) for value in constants[:count]]),
        "tiny": some * np.float32(1e-4),
    }
    kinds = [some, out_of_range(some, some, FAR), *sets.values()]
    each = 1 if count < FEW else 3
    sets["mixed"] = np.concatenate([rows[:each] for rows in kinds])
    chosen = sets if count >= FEW else {"mixed": sets["mixed"]}
    for name, rows in chosen.items():
        yield Probe(name, np.ascontiguousarray(rows, np.float32))
    yield Probe("not finite", _not_finite(some)[:count], finite=False)


def _spaced(rows: Rows, count: int) -> Rows:
    picked: Rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), count)).round().astype(int))]
    return picked


def _one_feature(rows: Rows) -> Rows:
    """Each row with one feature a thousand times as far from the middle, another one in each row."""
    changed = rows.reshape(len(rows), -1).copy()
    places = np.linspace(0, changed.shape[1] - 1, len(rows)).round().astype(int)
    spread = np.abs(changed - np.median(changed, axis=0)).max(axis=0) + np.abs(changed).max(axis=0) + 1
    for i, place in enumerate(places):
        changed[i, place] += (1000.0 if i % 2 else -1000.0) * spread[place]
    return changed.reshape(rows.shape)


def _not_finite(rows: Rows) -> Rows:
    """A row for each of NaN, Inf and -Inf in its first, middle and last place; one of NaN alone."""
    size = rows[0].size
    made = [np.full(rows.shape[1:], np.nan, np.float32)]
    for place in sorted({0, size // 2, size - 1}):
        for value in NON_FINITE:
            row = rows[len(made) % len(rows)].copy()
            row.flat[place] = value
            made.append(row)
    return np.stack(made)
