"""The tail of the scores: a generalised Pareto distribution, for scores beyond the largest that was seen.

Scores above a high one follow it in the limit, whatever their distribution (Balkema & de Haan 1974, Pickands
1975). Its shape is estimated as by Zhang & Stephens (A New and Efficient Estimation Method for the Generalized
Pareto Distribution, Technometrics 51, 2009): near the maximum of the likelihood, without iterating.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHARE = 0.1
"""Proportion of the scores that the tail is fitted to."""
FEWEST = 20
"""Fewest scores for a fit; with fewer there is no tail."""
_LEAST_SHAPE = 1e-3
_WIDEST, _NARROWEST = 2.0, -0.5
"""Bounds of the shape: beyond them an estimate from few scores says nothing."""


class ParetoTail(NamedTuple):
    """Distribution of how far a score lies beyond the largest: (1 + shape * excess / scale) ** (-1 / shape)."""

    shape: float
    scale: float
    scores: int
    """Number of scores that it was fitted to."""


def fit_tail(scores: NDArray[np.float64]) -> ParetoTail | None:
    """Fit the tail of ascending scores; None for fewer than FEWEST above a share of 1 - SHARE, or all alike.

    The excess over the largest score has the same shape as that over the threshold, and another scale.
    """
    count = max(FEWEST, math.ceil(SHARE * len(scores)))
    if len(scores) <= count:
        return None
    over = float(scores[-count - 1])
    excess = scores[-count:] - over
    excess = excess[excess > 0]
    if len(excess) < FEWEST:
        return None
    shape, scale = _zhang_stephens(excess)
    shape = min(max(shape, _NARROWEST), _WIDEST)
    if abs(shape) < _LEAST_SHAPE:
        shape = _LEAST_SHAPE
    beyond = scale + shape * float(excess[-1])
    least = 1e-3 * float(np.mean(excess))  # a shape below 0 ends, and no later than here
    return ParetoTail(shape, max(beyond, least), len(excess))


def _zhang_stephens(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Return shape and scale of ascending positive excesses."""
    count = len(excess)
    tries = 30 + math.isqrt(count)
    steps = 1 - np.sqrt(tries / (np.arange(1, tries + 1) - 0.5))
    quartile = excess[int(count / 4 + 0.5) - 1]
    thetas = steps / (3 * quartile) + 1 / excess[-1]
    shapes = np.mean(np.log1p(-thetas[:, None] * excess), axis=1)
    likelihood = count * (np.log(-thetas / shapes) - shapes - 1)
    weights = 1 / np.sum(np.exp(np.minimum(likelihood - likelihood[:, None], 700)), axis=1)
    theta = float(weights @ thetas)
    shape = float(np.mean(np.log1p(-theta * excess)))
    return shape, -shape / theta
