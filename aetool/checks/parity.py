"""Differences between two computations of the same outputs: one record per graph and output."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.golden import PARTIAL
from aetool.bundle.manifest import Tolerances

Array = NDArray[np.generic]

SCALED_TOLERANCE = 1e-5
"""Largest difference allowed, as a share of the output's range: float32 against float64."""
DECISION_BAND = 1e-5
"""A reference score this close to the threshold (relative) is decided by rounding alone."""
RANK_TOLERANCE = 1e-4
"""Largest distance of the scores' rank correlation below 1."""
SCALED = ("embedding", "reconstruction", "score", "contribution", "distance")
"""Outputs that are numbers, and whose tolerance is a share of their range."""
REAL = ("golden", "normal golden")
"""Names of sets of real rows, where others are compared besides."""
EXACT = Tolerances(SCALED_TOLERANCE, SCALED_TOLERANCE, SCALED_TOLERANCE, 1 - RANK_TOLERANCE, 0.0)
"""Tolerances of float32 against float64."""
ROUNDING = 8.0
"""Factor by which a float32 result may lie further from float64 than another float32 computation: both round, but
in another order. benchmarks/proof.py measures it."""
MARGIN = 1.5
"""Factor between a coarser precision's tolerances and what was measured: other machines round at other places."""


@dataclass(frozen=True, slots=True)
class OutputParity:
    """The agreement of one output of one graph with its reference."""

    graph: str
    output: str
    rows: str
    """Name of the compared rows: golden, out of range, ..."""
    shape: tuple[int, ...]
    max_absolute: float
    """Largest |actual - expected|."""
    max_relative: float
    """Largest |actual - expected| / |expected|, where expected is not 0."""
    max_scaled: float
    """Largest |actual - expected| / range of the output: what is judged."""
    tolerance: float
    """Largest max_scaled allowed."""
    rank_correlation: float | None = None
    """Spearman's rank correlation, for scores."""
    flipped: int | None = None
    """Number of decisions that differ, for is_anomaly; of rows in another segment, for segment."""
    borderline: int | None = None
    """Number of those that differ where the reference lies within DECISION_BAND of the other decision."""
    float32: float | None = None
    """Difference of PyTorch's own float32 from the reference, scaled like max_scaled; None if not measured."""
    worst_row: int | None = None
    """Index of the row with the largest difference relative to its limit."""
    reason: str = ""
    """Reason for the failure; empty when it passed."""

    @property
    def passed(self) -> bool:
        """True where nothing failed."""
        return not self.reason


def summary(records: Sequence[OutputParity]) -> str:
    """Return a summary: `21 of 21 outputs agree, largest difference 2.5e-07 of the range`."""
    passed, worst = sum(record.passed for record in records), largest_difference(records)
    told = "" if worst is None else f", largest difference {worst:.1e} of the range"
    return f"{passed} of {len(records)} outputs agree{told}"


def largest_difference(records: Sequence[OutputParity]) -> float | None:
    """Return the largest range-scaled difference on real rows, as far as there are some; None without numbers."""
    scaled = [record for record in records if record.output in SCALED]
    real = [record for record in scaled if record.rows in REAL]
    return max((record.max_scaled for record in real or scaled), default=None)


def compare_values(
    graph: str,
    output: str,
    expected: Array,
    actual: Array,
    *,
    rounded: Array | None = None,
    scale: Array | float | None = None,
    tolerance: float = SCALED_TOLERANCE,
    least_rank: float = EXACT.rank_correlation,
    rows: str = "golden",
    lenient: bool = False,
) -> OutputParity:
    """Compare two arrays of numbers of the same shape, (rows, ...).

    A difference is divided by `scale`, per column or one number, the output's own range by default, and may be
    `tolerance`; or ROUNDING times what `rounded`, the reference's own float32, differs by in that column. Where
    that is not finite, nothing can be compared. Where the reference is NaN or infinite the actual value must not
    be finite either, unless `lenient`: of rows that hold NaN themselves, the score alone must tell.
    """
    shape = tuple(actual.shape)
    if actual.shape != expected.shape:
        nan = float("nan")
        return OutputParity(
            graph, output, rows, shape, nan, nan, nan, tolerance, reason=f"shape {expected.shape} expected"
        )
    reference, found = _double(expected), _double(actual)
    divisor = np.broadcast_to(
        _double(np.asarray(value_range(reference) if scale is None else scale)), reference.shape
    )
    compared = np.isfinite(reference)
    if rounded is not None:
        compared &= np.isfinite(rounded)
    with np.errstate(all="ignore"):
        noise = np.zeros(()) if rounded is None else _per_column(np.abs(_double(rounded) - reference), compared)
        difference = np.where(compared, np.abs(found - reference), 0.0)
        difference[compared & ~np.isfinite(found)] = np.inf
        scaled = _share(difference, divisor)
        allowed = np.maximum(tolerance * divisor, ROUNDING * noise)
        excess = _share(difference, allowed)
        relative = (difference / np.abs(reference))[compared & (reference != 0)]
        # Scores that rounding alone moved keep their rank: near-ties would change places.
        moved = np.maximum(DECISION_BAND * np.abs(reference), ROUNDING * noise)
        settled = np.where(np.abs(found - reference) <= moved, reference, found)
        place = np.unravel_index(int(np.argmax(excess)), excess.shape) if excess.size else None
        limit = tolerance if place is None else float(_share(allowed, divisor)[place])
        alone = None if rounded is None else _largest(_share(noise, divisor))
    rank = rank_correlation(reference, settled) if output == "score" else None
    reason = ""
    if not lenient and np.any(np.isfinite(found[~np.isfinite(reference)])):
        reason = "finite where the reference is not"
    elif place is not None and not excess[place] <= 1:
        told = "" if alone is None else f", where float32 alone differs by {alone:.1e}"
        reason = f"range-scaled difference {scaled[place]:.1e} above {limit:.1e} in row {place[0]}{told}"
    elif rank is not None and rank < least_rank:
        reason = f"rank correlation {rank:.6f} below {least_rank:.6g}"
    return OutputParity(
        graph,
        output,
        rows,
        shape,
        _largest(difference),
        _largest(relative),
        _largest(scaled),
        limit,
        rank_correlation=rank,
        float32=alone,
        worst_row=None if place is None else int(place[0]),
        reason=reason,
    )


def compare_decisions(
    graph: str,
    expected: Array,
    actual: Array,
    reference_score: Array,
    threshold: float,
    *,
    rounded_score: Array | None = None,
    flips: float = 0.0,
    rows: str = "golden",
) -> OutputParity:
    """Compare two arrays of decisions, (rows,) bool, given the reference scores behind the first.

    A share of `flips` of them may differ; and those that rounding decides, by what `rounded_score`, the
    reference's own float32, differs by in scores up to twice the threshold.
    """
    shape = tuple(actual.shape)
    if actual.shape != expected.shape:
        return OutputParity(
            graph, "is_anomaly", rows, shape, 1, 1, 1, 0, reason=f"shape {expected.shape} expected"
        )
    differs = np.asarray(expected, dtype=bool) != np.asarray(actual, dtype=bool)
    score = np.asarray(reference_score, dtype=np.float64)
    band = np.full(shape, DECISION_BAND * abs(threshold))
    if rounded_score is not None:
        with np.errstate(all="ignore"):
            noise = np.nan_to_num(np.abs(_double(rounded_score) - score), posinf=0.0)
        # Of a row's own rounding little may show: that of the rows around the threshold counts too.
        band = np.maximum(band, ROUNDING * np.maximum(noise, _largest(noise[score <= 2 * threshold])))
    near = np.abs(score - threshold) <= band
    flipped = int(np.count_nonzero(differs & ~near))
    worst, allowed = float(flipped > 0), flips * differs.size
    return OutputParity(
        graph,
        "is_anomaly",
        rows,
        shape,
        worst,
        worst,
        worst,
        flips,
        flipped=flipped,
        borderline=int(np.count_nonzero(differs & near)),
        reason=f"{flipped} of {differs.size} decisions flipped" if flipped > allowed else "",
    )


def compare_segments(
    graph: str, expected: Array, actual: Array, distance: Array, *, rows: str = "golden", moved: float = 0.0
) -> OutputParity:
    """Compare two arrays of segments, (rows,), given the reference's distance to each centre, (rows, clusters).

    `moved` is the share of rows that may be in another segment.
    """
    if actual.shape != expected.shape:
        nan = float("nan")
        reason = f"shape {expected.shape} expected"
        return OutputParity(graph, "segment", rows, tuple(actual.shape), nan, nan, nan, 0, reason=reason)
    wanted, found = np.asarray(expected, np.int64), np.asarray(actual, np.int64)
    differs = wanted != found
    both = differs & (np.minimum(wanted, found) >= 0) & (np.maximum(wanted, found) < distance.shape[1])
    own, other = (np.asarray(distance, np.float64)[both, segment[both]] for segment in (wanted, found))
    near = np.abs(own - other) <= DECISION_BAND * np.abs(own)
    borderline = int(np.count_nonzero(near))
    flipped = int(np.count_nonzero(differs)) - borderline
    worst = float(flipped > 0)
    return OutputParity(
        graph,
        "segment",
        rows,
        tuple(found.shape),
        worst,
        worst,
        worst,
        0.0,
        flipped=flipped,
        borderline=borderline,
        reason=f"{flipped} of {differs.size} rows in another segment" if flipped > moved * differs.size else "",
    )


def compare_graph(
    graph: str,
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    *,
    features: Array,
    threshold: float,
    rounded: Mapping[str, Array] = MappingProxyType({}),
    rows: str = "golden",
    tolerances: Tolerances = EXACT,
    lenient: bool = False,
) -> list[OutputParity]:
    """Compare every output of one graph with the reference of the same name.

    An output whose reference has fewer rows is compared on those.

    Args:
        graph: its name.
        expected: output name -> reference; must hold `score` where it holds `is_anomaly`, and `distance` where
            it holds `segment`. It may hold an
            `alternative` to the reconstruction: the second category where two are near ties.
        actual: output name -> what the graph gave.
        rounded: output name -> what the reference gives in float32: what rounding alone explains.
        rows: what to call these rows.
        features: the rows behind them, (rows, ...): a reconstruction is scaled by its column's own range.
        threshold: of the decisions.
        tolerances: of the precision.
        lenient: the rows hold NaN or infinity; see `compare_values`.
    """
    scaled = {name: getattr(tolerances, name) for name in SCALED}
    records = []
    for output, values in actual.items():
        if output == "segment":
            segments, distance, moved = expected["segment"], expected["distance"], tolerances.segments
            records.append(compare_segments(graph, segments, values, distance, rows=rows, moved=moved))
            continue
        if output == "is_anomaly":
            decisions, score, flips = expected["is_anomaly"], expected["score"], tolerances.flips
            records.append(
                compare_decisions(
                    graph,
                    decisions,
                    values,
                    score,
                    threshold,
                    rounded_score=rounded.get("score"),
                    flips=flips,
                    rows=rows,
                )
            )
            continue
        reference = expected[output]
        found = values[: len(reference)] if output in PARTIAL else values
        if output == "reconstruction" and found.shape == (other := expected.get("alternative", reference)).shape:
            reference = np.where(found == other, other, reference)
        scale = column_scale(features[: len(reference)], reference) if output == "reconstruction" else None
        records.append(
            compare_values(
                graph,
                output,
                reference,
                found,
                rounded=rounded.get(output),
                scale=scale,
                tolerance=scaled.get(output, SCALED_TOLERANCE),
                least_rank=tolerances.rank_correlation,
                rows=rows,
                lenient=lenient,
            )
        )
    return records


def value_range(values: Array) -> float:
    """Return the largest less the smallest finite value, and at least the largest magnitude."""
    finite = np.asarray(values, dtype=np.float64)[np.isfinite(np.asarray(values, dtype=np.float64))]
    if finite.size == 0:
        return 0.0
    return float(max(finite.max() - finite.min(), np.abs(finite).max()))


def column_scale(features: Array, reconstruction: Array) -> Array:
    """Return the range of each column over features and reconstruction: columns have units of their own.

    Of larger rows, (rows, a, ..., z), each number has the smaller of two ranges: that of its place along the
    first axis and that of its place along the last. One of them holds channels, which have units too.
    """
    both = np.concatenate([features, reconstruction]).astype(np.float64)
    both = np.where(np.isfinite(both), both, 0.0)
    if both.ndim < 2 or both.shape[0] == 0:
        return np.asarray(value_range(both))
    return _over_channels(both, lambda part, axes: np.maximum(np.ptp(part, axes), np.abs(part).max(axes)))


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation of two (rows,) arrays, ties at their average rank; 1 if undefined."""
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean() if a.size else a, b - b.mean() if b.size else b
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 1.0


def _double(values: Array) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)


def _over_channels(
    values: NDArray[np.float64], measure: Callable[[NDArray[np.float64], tuple[int, ...]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Apply `measure` to (rows, ...) per column; for larger rows keep the smaller of first and last axis."""
    last = values.ndim - 1
    found = [
        measure(values, tuple(axis for axis in range(values.ndim) if axis != channel)).reshape(
            [-1 if axis == channel else 1 for axis in range(1, values.ndim)]
        )
        for channel in {1, last}
    ]
    return np.broadcast_to(np.minimum(found[0], found[-1]), values.shape[1:])


def _per_column(noise: NDArray[np.float64], compared: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the largest per column of what can be compared; for scores, (rows,), over all."""
    noise = np.where(compared, noise, 0.0)
    if noise.ndim < 2 or noise.size == 0:
        return np.asarray(_largest(noise))
    return _over_channels(noise, lambda part, axes: part.max(axes))


def _share(difference: NDArray[np.float64], divisor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `difference` / `divisor`, and 0 where there is no difference."""
    difference = np.broadcast_to(difference, divisor.shape)
    return np.where(difference == 0, 0.0, difference / divisor)


def ranks(values: Array) -> NDArray[np.float64]:
    """Return ranks of (rows,), ties at their average; NaN and infinity above all, equal to one another."""
    ordered = np.where(np.isfinite(values), values, np.inf).astype(np.float64)
    _, inverse, counts = np.unique(ordered, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]


def _largest(values: NDArray[np.float64]) -> float:
    return float(values.max()) if values.size else 0.0
