"""Rows that are images or windows, as found and as expected."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.report.bundle.records import ChannelPair, ImagePair

Floats = NDArray[np.float64]

_MOST_PIXELS, _MOST_STEPS = 96, 240
"""Largest side of an image, and most time steps of a curve, that a page holds."""
_CHANNELS = 12
"""Most channels of a window: an array with more on both axes is shown as an image."""
_SHOWN_CHANNELS = 4
_ACCENT = (194, 80, 10)
"""Colour of differences, seen on light and on dark."""


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether a row of this shape is shown as an image."""
    return len(shape) == 3 or (len(shape) == 2 and min(shape) > _CHANNELS)


def is_window(shape: tuple[int, ...]) -> bool:
    """Return whether a row of this shape is shown as curves over time."""
    return len(shape) == 2 and min(shape) <= _CHANNELS


def image_pair(found: NDArray[Any], expected: NDArray[Any]) -> ImagePair:
    """Return two images of one shape, grey or RGB, as PNG files.

    Both are drawn on one scale, from their lowest to their highest value.
    """
    pair = [_reduced(_channels_last(image)) for image in (found, expected)]
    values = np.stack(pair)
    low, high = float(values.min()), float(values.max())
    pixels = ((values - low) / ((high - low) or 1.0) * 255).round().astype(np.uint8)
    difference = np.abs(pair[0] - pair[1]).mean(axis=2)
    largest = float(difference.max())
    opacity = (difference / (largest or 1.0) * 255).round().astype(np.uint8)
    accent = np.broadcast_to(np.array(_ACCENT, np.uint8), (*opacity.shape, 3))
    height, width = opacity.shape
    return ImagePair(_png(pixels[0]), _png(pixels[1]), _png(np.dstack([accent, opacity])), width, height, largest)


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


def _channels_last(image: NDArray[Any]) -> Floats:
    """Return (height, width, 1 or 3); other numbers of channels become their mean."""
    array = np.nan_to_num(image.astype(np.float64))
    if array.ndim == 2:
        return array[:, :, None]
    if array.shape[0] <= array.shape[2]:
        array = np.moveaxis(array, 0, 2)
    return array if array.shape[2] in (1, 3) else array.mean(axis=2, keepdims=True)


def _reduced(image: Floats) -> Floats:
    """Reduce an image to blocks, each the mean of its pixels."""
    size = math.ceil(max(image.shape[:2]) / _MOST_PIXELS)
    for axis in (0, 1):
        length = image.shape[axis]
        starts = np.arange(0, length, size)
        sums = np.add.reduceat(image, starts, axis=axis)
        counts = np.minimum(size, length - starts)
        image = sums / (counts[:, None, None] if axis == 0 else counts[None, :, None])
    return image


def _png(pixels: NDArray[np.uint8]) -> str:
    """Return (height, width, channels) as a PNG file in base64: 1 channel is grey, 3 are RGB, 4 RGBA."""
    height, width, channels = pixels.shape
    lines = np.hstack([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)])  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()
