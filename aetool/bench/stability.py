"""Was the machine quiet enough for its figures to mean something?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_SPREAD = 0.10
"""The windows' medians may lie this far apart, as a share of their own median."""


@dataclass(frozen=True, slots=True)
class Stability:
    """Medians of windows of time, compared."""

    windows_s: tuple[float, ...]
    """Median latency of each window, in order."""
    spread: float
    """Largest less smallest, as a share of their median."""
    stable: bool
    reason: str = ""
    """Why it is not stable; empty when it is."""


def stability(turns: Sequence[NDArray[np.int64]], windows_per_turn: int = 2) -> Stability:
    """Cut each turn's latencies, (queries,) nanoseconds, into windows and compare their medians."""
    parts = [part for latencies in turns for part in np.array_split(latencies, windows_per_turn) if part.size]
    medians = [float(np.median(part)) / 1e9 for part in parts]
    middle = float(np.median(medians))
    spread = (max(medians) - min(medians)) / middle if middle > 0 else 0.0
    stable = spread <= LARGEST_SPREAD
    reason = (
        "" if stable else f"machine too noisy: windows differ by {spread:.0%}, {LARGEST_SPREAD:.0%} is allowed"
    )
    return Stability(tuple(medians), spread, stable, reason)
