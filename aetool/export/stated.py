"""Threshold and scaling of an ONNX file: given as options, or stated in its metadata."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aetool.errors import ExportError
from aetool.model.scored import Scaling


def stated_threshold(stated: Mapping[str, str], where: str) -> float | None:
    """The metadata's threshold, if there is one.

    Raises:
        ExportError: it is no finite number.
    """
    if "threshold" not in stated:
        return None
    try:
        value = float(stated["threshold"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(
            f"{where}: its metadata say threshold = {stated['threshold'][:60]!r}, a finite number is expected; "
            "pass --threshold"
        )
    return value


def stated_scaling(
    mean: Sequence[float] | None,
    scale: Sequence[float] | None,
    minimum: Sequence[float] | None,
    maximum: Sequence[float] | None,
    stated: Mapping[str, str],
    where: str,
    row_shape: tuple[int, ...],
) -> Scaling | None:
    """The scaling given, or else the metadata's; None where there is neither.

    Raises:
        ExportError: not finite numbers for the columns of such rows, or a scale that is not above 0.
    """
    options = {"mean": mean, "scale": scale, "minimum": minimum, "maximum": maximum}
    # What is given as an option goes before metadata of the other kind.
    ignored = () if minimum is None and maximum is None else ("mean", "scale")
    ignored = ignored if mean is None and scale is None else (*ignored, "minimum", "maximum")
    given = {
        key: _listed(stated[key]) if value is None and key in stated and key not in ignored else value
        for key, value in options.items()
    }
    return given_scaling(**given, row_shape=row_shape, where=where)  # type: ignore[arg-type]


def given_scaling(
    mean: Sequence[float] | None,
    scale: Sequence[float] | None,
    minimum: Sequence[float] | None,
    maximum: Sequence[float] | None,
    row_shape: tuple[int, ...],
    where: str = "scaling",
) -> Scaling | None:
    """Return the scaling that was given, as mean and scale or as minimum and maximum; None where none was.

    Each is one number, or one for each column; of rows with more axes one for each channel, along the first or
    the last axis, whichever has so many.

    Raises:
        ExportError: one without the other, both kinds, or numbers that do not fit such rows.
    """
    given = (("mean", mean), ("scale", scale), ("minimum", minimum), ("maximum", maximum))
    found = {key: _numbers(value, key, where, row_shape) for key, value in given if value is not None}
    if not found:
        return None
    pair = ("minimum", "maximum") if "minimum" in found or "maximum" in found else ("mean", "scale")
    if len(found) > 2:
        raise ExportError(f"{where}: {', '.join(found)} were given; give mean and scale, or minimum and maximum")
    if set(found) != set(pair):
        raise ExportError(
            f"{where}: {' and '.join(pair)} are expected together, found {' and '.join(found)} alone; give both"
        )
    shift, divisor = found[pair[0]], found[pair[1]]
    what, remedy = "scale must be above 0", "give 1"
    if pair[0] == "minimum":
        what, remedy, divisor = "maximum must be above minimum", "give minimum + 1", divisor - shift
    # The smallest that a standard deviation in float32 data can be: below, dividing overflows.
    if not (divisor >= np.finfo(np.float32).tiny).all():
        raise ExportError(f"{where}: {what}, found {divisor.min():g}; {remedy} for a column that is constant")
    return Scaling(shift, divisor)


def _listed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _numbers(values: object, key: str, where: str, row_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """As an array that goes with rows of `row_shape`."""
    listed = (
        list(values) if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) else [values]
    )
    usable = all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
        for value in listed
    )
    if not usable or not listed:
        raise ExportError(
            f"{where}: {key} must be finite numbers, found {str(values)[:60]!r}; pass --{key} NUMBER,NUMBER,..."
        )
    if len(listed) == 1:
        return np.asarray(listed, np.float64)
    first, last = row_shape[0] == len(listed), row_shape[-1] == len(listed)
    if not (first or last) or (first and last and len(row_shape) > 1):
        what = "column" if len(row_shape) == 1 else "channel, the first or the last axis"
        raise ExportError(
            f"{where}: {key} must be one number, or one for each {what} of rows of shape {row_shape}; found "
            f"{len(listed)}; mend --{key}"
        )
    numbers = np.asarray(listed, np.float64)
    return numbers if last else numbers.reshape(-1, *[1] * (len(row_shape) - 1))
