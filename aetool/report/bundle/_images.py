"""Rows that are images, as found and as expected; pictures as PNG files."""

import base64
import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.report.bundle.records import ImagePair, Picture

Floats = NDArray[np.float64]

_MOST_PIXELS = 96
"""Largest side of an image that a page holds."""
_HIGHER, _LOWER = (194, 80, 10), (11, 98, 164)
"""Colours of differences, those of `hot` and `cold` in the style sheet."""


def image_pair(found: NDArray[Any], expected: NDArray[Any]) -> ImagePair:
    """Return two images of one shape, grey or RGB, and how the first differs from the second.

    Both are drawn on one scale, from their lowest to their highest value.
    """
    pair = [_reduced(_channels_last(image)) for image in (found, expected)]
    values = np.stack(pair)
    low, high = float(values.min()), float(values.max())
    pixels = ((values - low) / ((high - low) or 1.0) * 255).round().astype(np.uint8)
    apart = pair[0] - pair[1]
    size = np.abs(apart).mean(axis=2)
    return ImagePair(
        _picture(pixels[0]),
        _picture(pixels[1]),
        _coloured(np.where(apart.sum(axis=2) < 0, -size, size)),
        low,
        high,
        float(size.max()),
    )


def change_of(values: NDArray[Any]) -> Picture:
    """Return an image of numbers, 0 for none: those above 0 in one colour, those below in another."""
    return _coloured(_reduced(_channels_last(values)).mean(axis=2))


def image_of(values: NDArray[Any], low: float, high: float) -> Picture:
    """Return an image, black at `low` and white at `high`."""
    shares = (_reduced(_channels_last(values)) - low) / ((high - low) or 1.0)
    return _picture((shares.clip(0, 1) * 255).round().astype(np.uint8))


def _coloured(values: Floats) -> Picture:
    """Return (height, width) as a picture that is transparent at 0 and opaque where a number is the largest."""
    size = np.abs(values)
    opacity = (size / (float(size.max()) or 1.0) * 255).round().astype(np.uint8)
    colours = np.where(values[:, :, None] < 0, np.array(_LOWER), np.array(_HIGHER)).astype(np.uint8)
    return _picture(np.dstack([colours, opacity]))


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


def _picture(pixels: NDArray[np.uint8]) -> Picture:
    """Return (height, width, channels) as a PNG file: 1 channel is grey, 3 are RGB, 4 RGBA."""
    height, width, channels = pixels.shape
    lines = np.hstack([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)])  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return Picture(base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode(), width, height)
