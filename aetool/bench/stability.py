"""Was the machine quiet enough for its figures to mean something?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aetool.bench.result import Stability

LARGEST_SPREAD = 0.10
"""The windows' medians may lie this far apart, as a share of their own median."""


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
