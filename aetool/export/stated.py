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
    stated: Mapping[str, str],
    where: str,
    row_shape: tuple[int, ...],
) -> Scaling | None:
    """The scaling given, or else the metadata's; None where there is neither.

    Raises:
        ExportError: not finite numbers for the columns of such rows, or a scale that is not above 0.
    """
    found = {
        key: _numbers(_listed(stated[key]) if given is None and key in stated else given, key, where, row_shape)
        for key, given in (("mean", mean), ("scale", scale))
        if given is not None or key in stated
    }
    if not found:
        return None
    if len(found) == 1:
        raise ExportError(f"{where}: mean and scale are expected together, found {min(found)} alone; give both")
    # The smallest that a standard deviation in float32 data can be: below, dividing overflows.
    if not (found["scale"] >= np.finfo(np.float32).tiny).all():
        raise ExportError(
            f"{where}: scale must be above 0, found {found['scale'].min()}; give 1 for a column that is constant"
        )
    return Scaling(found["mean"], found["scale"])


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
    # One for each column: of rows with more axes nobody could tell which of them are columns.
    if len(listed) != 1 and row_shape != (len(listed),):
        raise ExportError(
            f"{where}: {key} must be one number, or one for each column of rows of shape {row_shape}; found "
            f"{len(listed)}; mend --{key}"
        )
    return np.asarray(listed, np.float64)
