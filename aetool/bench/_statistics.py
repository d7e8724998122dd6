"""Percentiles of latencies, as far as the samples allow, and how stable a measurement was."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench.result import Latency, LatencyHistogram, Stability

Seconds = NDArray[np.float64]

MINIMUM_SAMPLES = {"p50": 1, "p90": 64, "p99": 662, "p99.9": 6_636}
"""Percentile -> number of samples below which it is not reported.

From MLPerf LoadGen's early stopping (mlcommons/inference, loadgen/early_stopping.cc, `MinPassingQueriesFinder`):
the fewest queries of which at most one lies above the true percentile with a probability of 1 % or less.
"""
BIN_FACTOR = 1.03
"""From one edge of a histogram to the next: fine enough for the body of a distribution, however far its tail."""
_SHARE = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def latency_figures(latencies: Seconds) -> dict[str, Any]:
    """Return mean, min, max and percentiles of (samples,), seconds; None for a percentile of too few samples.

    A percentile is the smallest latency that at least that share of the samples does not exceed. No sample is
    left out, however far it lies.
    """
    figures: dict[str, Any] = {
        "mean": float(latencies.mean()),
        "min": float(latencies.min()),
        "max": float(latencies.max()),
    }
    for name, share in _SHARE.items():
        enough = latencies.size >= MINIMUM_SAMPLES[name]
        figures[name] = float(np.quantile(latencies, share, method="inverted_cdf")) if enough else None
    return figures


def latency_of(latencies: Seconds) -> Latency:
    """Return `latency_figures` as a record."""
    return Latency(**{name.replace(".", "_"): value for name, value in latency_figures(latencies).items()})


def histogram(latencies: Seconds) -> LatencyHistogram:
    """Count all of (samples,), seconds, from the smallest to the largest, in bins of BIN_FACTOR or less."""
    low, high = float(latencies.min()), float(latencies.max())
    low = max(low, 1e-9)  # a clock that did not move; it has no logarithm
    high = max(high, low * 1.01)
    bins = max(1, math.ceil(math.log(high / low) / math.log(BIN_FACTOR)))
    edges = np.geomspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high  # exactly, whatever the rounding of the powers
    counts, _ = np.histogram(np.maximum(latencies, low), bins=edges)
    return LatencyHistogram(tuple(map(float, edges)), tuple(map(int, counts)))


# Stability: is the machine quiet enough for its figures to mean something?

LARGEST_SPREAD = 0.10
"""The windows' medians may lie this far apart, as a share of their own median."""


def stability(turns: Sequence[NDArray[np.int64]]) -> Stability:
    """Cut each turn's latencies, (queries,) nanoseconds, into two windows and compare their medians."""
    parts = [part for latencies in turns for part in np.array_split(latencies, 2) if part.size]
    medians = [float(np.median(part)) / 1e9 for part in parts]
    middle = float(np.median(medians))
    spread = (max(medians) - min(medians)) / middle if middle > 0 else 0.0
    stable = spread <= LARGEST_SPREAD
    reason = (
        "" if stable else f"machine too noisy: windows differ by {spread:.0%}, {LARGEST_SPREAD:.0%} is allowed"
    )
    return Stability(tuple(medians), spread, stable, reason)
