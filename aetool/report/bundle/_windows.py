"""Rows that are windows, as found and as expected."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.report.bundle.records import ChannelPair

Floats = NDArray[np.float64]

_MOST_STEPS = 240
"""Most time steps of a curve that a page holds."""
_SHOWN_CHANNELS = 4


def channel_pairs(
    found: NDArray[Any], expected: NDArray[Any], contribution: NDArray[Any], names: Sequence[str] = ()
) -> list[ChannelPair]:
    """Return the channels of a window that contribute most; of a long one, the steps that differ most.

    Where channels have names, they are the last axis; else the shorter one.
    """
    arrays = [_channels_first(array, last=bool(names)) for array in (found, expected, contribution)]
    order = np.argsort(-np.nan_to_num(arrays[2]).sum(axis=1), kind="stable")[:_SHOWN_CHANNELS]
    pairs = []
    for channel in order.tolist():
        own, other = arrays[0][channel], arrays[1][channel]
        steps = _steps(np.abs(own - other))
        pairs.append(
            ChannelPair(
                names[channel] if names else names[channel] if names else f"channel {channel}",
                tuple(steps.tolist()),
                tuple(own[steps].tolist()),
                tuple(other[steps].tolist()),
            )
        )
    return pairs


def _channels_first(window: NDArray[Any], *, last: bool) -> Floats:
    """Return (channels, time): channels are the last axis, or the shorter one."""
    array = np.nan_to_num(window.astype(np.float64))
    return array.T if last or array.shape[0] > array.shape[1] else array


def _steps(difference: Floats) -> NDArray[np.int64]:
    """Return the step with the largest difference of each block of steps, so that no peak is lost."""
    size = math.ceil(len(difference) / _MOST_STEPS)
    starts = range(0, len(difference), size)
    return np.array([start + int(difference[start : start + size].argmax()) for start in starts], np.int64)
