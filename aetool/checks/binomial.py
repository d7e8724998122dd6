"""Exact intervals of a share and of a count to come, and how many rows they need."""

import math
from collections.abc import Callable

import numpy as np

LEVEL = 0.95
"""Confidence level of every interval."""
_STEPS = 60
"""Bisections: more than float64 resolves."""


def interval(hits: int, rows: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a share of which `hits` of `rows` were seen (Clopper & Pearson 1934)."""
    rest = (1 - level) / 2
    low = 0.0 if hits == 0 else _bisect(lambda share: 1 - at_most(hits - 1, rows, share) < rest)
    high = 1.0 if hits == rows else _bisect(lambda share: at_most(hits, rows, share) > rest)
    return low, high


def expected_counts(hits: int, rows: int, further: int, level: float = LEVEL) -> tuple[int, int]:
    """Return the exact interval of how many of `further` rows lie above a threshold that `hits` of `rows` exceed.

    The share above an order statistic of `rows` scores has the distribution Beta(hits + 1, rows - hits), so that
    the count is beta-binomial (Vovk 2012, conditional validity of inductive conformal predictors, section 2).
    """
    log = np.vectorize(math.lgamma)
    above, below = hits + 1, max(rows - hits, 1)
    counts = np.arange(further + 1)
    chance = (
        math.lgamma(further + 1)
        - log(counts + 1)
        - log(further - counts + 1)
        + log(counts + above)
        + log(further - counts + below)
        - math.lgamma(further + above + below)
        + math.lgamma(above + below)
        - math.lgamma(above)
        - math.lgamma(below)
    )
    total = np.cumsum(np.exp(chance))
    rest = (1 - level) / 2
    low, high = np.searchsorted(total, [rest, 1 - rest])
    return int(low), min(int(high), further)


def rows_for_half(rate: float) -> int:
    """Return the fewest rows whose interval of a share `rate` lies within half of it to 1.5 times."""
    rows = math.ceil(1 / rate)
    while True:
        low, high = interval(round(rate * rows), rows)
        if low >= rate / 2 and high <= rate * 1.5:
            return rows
        rows = math.ceil(rows * 1.05)


def fewest_rows(rate: float) -> int:
    """Return the fewest rows for a threshold that at most a share `rate` of further rows exceeds."""
    return math.ceil(1 / rate - 1e-9) - 1


def at_least(hits: int, rows: int, share: float) -> float:
    """Return the probability of `hits` or more of `rows`, each with the probability `share`."""
    return at_most(rows - hits, rows, 1 - share)  # the same event, counted from the other side: nothing cancels


def at_most(hits: int, rows: int, share: float) -> float:
    """Return the probability of at most `hits` of `rows`, each with the probability `share`.

    The side of the sum that has fewer terms, each from the one before; the largest first, by its logarithm.
    """
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(hits >= rows)
    if hits > rows * share:  # the other side is the small one
        return 1 - at_most(rows - hits - 1, rows, 1 - share) if hits < rows else 1.0
    term = math.exp(
        math.lgamma(rows + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(rows - hits + 1)
        + hits * math.log(share)
        + (rows - hits) * math.log1p(-share)
    )
    total, odds = 0.0, (1 - share) / share
    for k in range(hits, -1, -1):
        total += term
        term *= k / (rows - k + 1) * odds
        if term < total * 1e-17:
            break
    return total


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Return the share below which the test holds."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
