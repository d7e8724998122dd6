"""The input of every export, from any source, and the rows it is proven on."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from aetool.bundle.baseline import Baseline
from aetool.bundle.golden import evenly
from aetool.bundle.manifest import Feature, Series, categories_of
from aetool.export.threshold import Threshold
from aetool.model.pipeline import BLOCK_ROWS

Rows = NDArray[np.float32]
Reference = dict[str, NDArray[Any]]

BATCH_BYTES = 256 << 20
"""Maximum size of the values of one batch in the proof, in bytes."""
WORK = 2_000_000_000
"""Multiply-adds that the reference may take for one set of rows in the proof."""
NUMBERS = 2_000_000
"""Numbers of all rows of a set: each is compared in float64, several times."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class RowCost:
    """Cost of one row in the reference; it limits the number of rows of the proof."""

    bytes: int = 1
    """Held at one time, in float64."""
    multiply_adds: int = 1
    numbers: int = 1
    """Count of numbers in the row itself."""

    def rows(self, most: int, least: int = 3) -> int:
        """Return how many rows, `least` to `most`, stay within BATCH_BYTES, WORK and NUMBERS."""
        fitting = (BATCH_BYTES // self.bytes, WORK // self.multiply_adds, NUMBERS // self.numbers)
        return max(least, min(most, *fitting))

    @property
    def batch(self) -> int:
        """Return the number of rows at once, 1 or more."""
        return max(1, min(BLOCK_ROWS, BATCH_BYTES // self.bytes))


@dataclass(frozen=True, slots=True)
class ExportInput:
    """One graph with every output, and the computation that it must equal."""

    graph: ModelProto
    """features -> embedding (if there is one), reconstruction, score, is_anomaly."""
    evaluate: Callable[[Rows], Reference]
    """The reference, in float64 where that is possible: rows -> embedding, reconstruction, score."""
    in_float32: Callable[[Rows], Reference]
    """The same in float32, by other kernels than those that run the graph: what rounding alone explains."""
    reference: str
    """Name of the reference, for people."""
    rows: Rows
    """Real rows, (rows, ...): compared, and kept as golden vectors."""
    threshold: Threshold
    score: Mapping[str, Any]
    """Definition of the score."""
    features: tuple[Feature, ...] = ()
    """Columns, where the rows are those of a table."""
    imputes: bool = False
    """True if NaN is a missing value that the graph replaces."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Facts for the manifest."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    baseline: Baseline | None = None
    """Statistics of the rows that the model was made for."""
    series: Series | None = None
    """How a log becomes windows, where rows are such."""
    cost: RowCost = RowCost()
    notes: tuple[str, ...] = ()
    """Notes for the user, a sentence each."""

    def expected(self, rows: Rows) -> Reference:
        """Return the reference outputs for `rows`, decisions included."""
        return expected_outputs(self.evaluate, rows, self.threshold.value)

    def rounded(self, rows: Rows, expected: Reference) -> Reference:
        """Return `expected`, moved by what float32 alone may move it, on rows as they are and one ulp away.

        Whole numbers stay: they may be codes. A score is also summed one contribution after the other, the order
        that rounds most: a runtime may choose any.
        """
        away = np.random.default_rng(0).choice(np.array([-np.inf, np.inf], np.float32), rows.shape)
        nudged = np.where(np.isfinite(rows) & (rows != np.round(rows)), np.nextafter(rows, away), rows)
        runs = [self.in_float32(rows), self.in_float32(nudged)]
        with np.errstate(invalid="ignore", over="ignore"):
            terms = np.asarray(runs[0]["contribution"], np.float32).reshape(len(rows), -1)
            runs.append({**runs[0], "score": np.cumsum(terms, axis=1)[:, -1]})
            moved = {key: np.max([np.abs(run[key] - expected[key]) for run in runs], axis=0) for key in runs[0]}
            return {key: expected[key] + value for key, value in moved.items()}

    @property
    def identity(self) -> str:
        """Return the sha256 of what decides the outputs."""
        names = json.dumps([feature.name for feature in self.features], ensure_ascii=False)
        categories = json.dumps(self.categories, ensure_ascii=False) if self.categories else ""
        of_rows = None if self.series is None else self.series.row_threshold
        rows = "" if of_rows is None else repr(of_rows)
        content = self.graph.SerializeToString(deterministic=True)
        return hashlib.sha256(content + (names + categories + rows).encode()).hexdigest()

    @property
    def categories(self) -> dict[str, tuple[str, ...]]:
        """Return the categories of each feature that has any."""
        return categories_of(self.features)


def expected_outputs(evaluate: Callable[[Rows], Reference], rows: Rows, threshold: float) -> Reference:
    """Return every output by name for `rows`, decisions included.

    A number beyond float32 is infinite, as it is wherever the model is deployed.
    """
    outputs: Reference = {
        name: np.where(np.abs(values) > FLOAT32_MAX, np.copysign(np.inf, values), values)
        for name, values in evaluate(rows).items()
    }
    outputs["is_anomaly"] = ~(outputs["score"] <= threshold)
    return outputs


def _middle_of(real: Rows) -> Rows:
    """Return the median of the finite values of each column; 0 where there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without a finite value
        middle = np.nanmedian(np.where(np.isfinite(real), real, np.nan), axis=0)
    return np.asarray(np.nan_to_num(middle), np.float32)


def finite_rows(rows: Rows) -> Rows:
    """Return the rows without NaN and infinity."""
    return rows[np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)]


def out_of_range(rows: Rows, real: Rows, times: float = 100.0) -> Rows:
    """Return `rows`, so many times as far from the middle of the `real` ones."""
    middle = _middle_of(real)
    with np.errstate(over="ignore", invalid="ignore"):  # from a row that is infinite already
        return (middle + np.float32(times) * (rows - middle)).astype(np.float32)


# Rows that a graph is proven on: real ones, and rows that no table holds but an app will send.

GOLDEN, OUT_OF_RANGE = "golden", "out of range"
PROBE_ROWS = 24
FEW = 4
FAR, VERY_FAR = 100.0, 1e6
_NON_FINITE = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of one kind to compare on."""

    name: str
    rows: Rows
    """(rows, ...) float32"""
    finite: bool = True
    """True if no row holds NaN or infinity."""


def probes(real: Rows, count: int = PROBE_ROWS) -> Iterator[Probe]:
    """Give sets of at most `count` rows made of `real` ones, (rows, ...), besides those themselves.

    Rows 100 and a million times out of range, one feature out of range, negative, all zero, constant, tiny, one
    of each kind in one batch, and rows that hold NaN or infinity. Where a row costs so much that `count` is below
    FEW, the one batch of each kind stands for all.
    """
    some = finite_rows(real)
    if not len(some):
        some = np.broadcast_to(_middle_of(real), (1, *real.shape[1:]))
    some = some[evenly(len(some), count)]
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


def _one_feature(rows: Rows) -> Rows:
    """Return rows with one feature a thousand times as far from the middle, another one in each row."""
    changed = rows.reshape(len(rows), -1).copy()
    places = np.linspace(0, changed.shape[1] - 1, len(rows)).round().astype(int)
    spread = np.abs(changed - np.median(changed, axis=0)).max(axis=0) + np.abs(changed).max(axis=0) + 1
    for i, place in enumerate(places):
        changed[i, place] += (1000.0 if i % 2 else -1000.0) * spread[place]
    return changed.reshape(rows.shape)


def _not_finite(rows: Rows) -> Rows:
    """Return rows with NaN, Inf or -Inf in the first, middle or last place, and one row of NaN alone."""
    size = rows[0].size
    made = [np.full(rows.shape[1:], np.nan, np.float32)]
    for place in sorted({0, size // 2, size - 1}):
        for value in _NON_FINITE:
            row = rows[len(made) % len(rows)].copy()
            row.flat[place] = value
            made.append(row)
    return np.stack(made)
