"""Threshold and scaling of an ONNX file: given as options, or stated in its metadata under a usual key."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import ExportError
from aetool.model.scored import Scaling

THRESHOLDS = (
    *("threshold", "anomaly_threshold", "score_threshold", "decision_threshold", "reconstruction_threshold"),
    *("reconstruction_error_threshold", "error_threshold", "mse_threshold", "loss_threshold", "cutoff"),
)
MEANS = ("mean", "means", "mean_", "scaler_mean", "scaler_mean_", "feature_mean", "feature_means", "x_mean")
SCALES = (
    *("scale", "scales", "scale_", "scaler_scale", "scaler_scale_", "std", "stds", "stddev", "standard_deviation"),
    *("scaler_std", "feature_std", "feature_stds", "feature_scale", "x_std"),
)
MINIMA = ("minimum", "data_min", "data_min_", "scaler_min", "scaler_data_min", "feature_min", "x_min")
MAXIMA = ("maximum", "data_max", "data_max_", "scaler_max", "scaler_data_max", "feature_max", "x_max")
"""Keys of metadata that are read, as `_key` writes them."""
FAMILIES = ({"mean": MEANS, "scale": SCALES}, {"minimum": MINIMA, "maximum": MAXIMA})
_LIKELY = ("thresh", "mean", "std", "scale", "norm", "min_max", "minmax")


def stated_threshold(stated: Mapping[str, str], where: str) -> float | None:
    """The metadata's threshold, if there is one.

    Raises:
        ExportError: it is no finite number, or there are several.
    """
    found = _entry(stated, THRESHOLDS, where, "--threshold")
    if found is None:
        return None
    key, text = found
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(
            f"{where}: its metadata say {key} = {text[:60]!r}, a finite number is expected; pass --threshold"
        )
    return value


def stated_scaling(
    given: Mapping[str, Sequence[float] | None],
    stated: Mapping[str, str],
    where: str,
    row_shape: tuple[int, ...],
) -> Scaling | None:
    """The scaling given, or else the metadata's; None where there is neither.

    Args:
        given: mean and scale, or minimum and maximum; None for each that is not given.

    Raises:
        ExportError: not finite numbers for such rows, or a scale that is not above 0.
    """
    chosen: dict[str, Any] = {key: given.get(key) for keys in FAMILIES for key in keys}
    # What is given as an option goes before metadata of the other kind.
    families = [keys for keys in FAMILIES if any(chosen[key] is not None for key in keys)] or FAMILIES
    for key, spellings in [(key, spelling) for keys in families for key, spelling in keys.items()]:
        if chosen[key] is None and (entry := _entry(stated, spellings, where, f"--{key}")) is not None:
            chosen[key] = _listed(entry[1])
    return given_scaling(**chosen, row_shape=row_shape, where=where)


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


def unread(stated: Mapping[str, str]) -> list[str]:
    """Keys of metadata that look like a threshold or a scaler, and are not read."""
    known = {*THRESHOLDS, *MEANS, *SCALES, *MINIMA, *MAXIMA}
    return [key for key in stated if _key(key) not in known and any(word in _key(key) for word in _LIKELY)]


def _key(text: str) -> str:
    """A key as the lists have it: `Scaler.Mean` is `scaler_mean`."""
    return re.sub(r"[^a-z0-9_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower())


def _entry(stated: Mapping[str, str], keys: Sequence[str], where: str, option: str) -> tuple[str, str] | None:
    found = {key: value for key, value in stated.items() if _key(key) in keys}
    if len(set(found.values())) > 1:
        raise ExportError(
            f"{where}: its metadata say different things under {', '.join(found)}; say which with {option}"
        )
    return next(iter(found.items()), None)


def _listed(text: str) -> Any:
    """A list in JSON, or of numbers with commas or spaces between, with brackets or without."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [float(part) for part in text.strip("[]() \n").replace(",", " ").split()]
    except ValueError:
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
