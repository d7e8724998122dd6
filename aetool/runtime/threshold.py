"""A threshold of the caller's own, in place of the bundle's."""

import math
import reprlib
from numbers import Real
from typing import Any

import numpy as np

from aetool.errors import InputError
from aetool.runtime._inputs import require_out
from aetool.runtime.cpu import Call

LARGEST = float(np.finfo(np.float32).max)


def as_threshold(value: object) -> float:
    """Return `value` as the float32 number that scores are compared with; infinity is allowed.

    Raises:
        InputError: not a number, or NaN.
    """
    number = float(value) if not isinstance(value, bool) and isinstance(value, Real) else math.nan
    if math.isnan(number):
        raise InputError(
            f"threshold: expected a number, found {reprlib.repr(value)}; inf flags only rows without a score, "
            "-inf flags every row"
        )
    if abs(number) > LARGEST:
        return math.copysign(math.inf, number)
    return float(np.float32(number))


def deciding(score: Call, threshold: float) -> Call:
    """Return a function as `score` is one, that decides instead: `not (score <= threshold)`, as the graph does."""

    def call(data: Any, out: Any = None) -> Any:
        decisions = ~(score(data) <= threshold)
        if out is None:
            return decisions
        require_out(out, decisions.shape, np.dtype(bool), data if isinstance(data, np.ndarray) else decisions)
        out[...] = decisions
        return out

    return call


def deciding_all(outputs: Call, threshold: float) -> Call:
    """Return a function as `outputs` is one, which gives all of the detector's, with its decisions replaced."""

    def call(data: Any) -> Any:
        found = outputs(data)
        return {**found, "is_anomaly": ~(found["score"] <= threshold)}

    return call
