"""Rows that are pictures: which they are, and in which shape."""

import math
import re
from collections.abc import Sequence

from aetool.bundle.manifest import Manifest
from aetool.errors import InputError

_CHANNELS = 12
"""Most channels of a window: a row with more on both axes is a picture."""
_SMALLEST = 4
"""Smallest side of a picture that names alone tell."""
_PLACED = re.compile(r"(\D*)([0-9]{1,5})(\D+)([0-9]{1,5})\D?")
_NUMBERED = re.compile(r"(\D*)([0-9]{1,9})")
_PIXEL = re.compile(r"pix|px|ima?ge?", re.IGNORECASE)

Shape = tuple[int, ...]
"""(height, width), or three sizes with the channels first or last."""


def image_shape(asked: Shape | None, row: Shape, names: Sequence[str]) -> Shape | None:
    """Return the shape in which a row is a picture; None where it is none.

    Args:
        asked: the shape that somebody gave.
        row: shape of a row.
        names: its columns, if they have names: `pixel_3_4`, `4x5`, or `pixel0`, `pixel1`, ... of a square.

    Raises:
        InputError: a row does not fit into the shape that was asked for.
    """
    if asked is None:
        return _of_names(names) if names else row if _is_image(row) else None
    shown = "x".join(map(str, asked))
    if len(asked) not in (2, 3) or min(asked) < 1:
        raise InputError(
            f"image: {shown} is not a picture; give HEIGHTxWIDTH such as 28x28, or three sizes 32x32x3"
        )
    if math.prod(asked) != math.prod(row):
        raise InputError(
            f"image: {shown} is {math.prod(asked):,} numbers, but a row has {math.prod(row):,}; give the height "
            "and width of one picture, such as 28x28"
        )
    return asked


def shown_shape(manifest: Manifest) -> Shape | None:
    """Return `manifest.image`, which bundles of older versions lack: of those, the shape of a row."""
    if manifest.image is not None or manifest.series is not None:
        return manifest.image
    return manifest.input_shape if _is_image(manifest.input_shape) else None


def _is_image(row: Shape) -> bool:
    return len(row) == 3 or (len(row) == 2 and min(row) > _CHANNELS)


def _of_names(names: Sequence[str]) -> Shape | None:
    """Return (height, width) where the names count the pixels of a picture line by line, from 0 or from 1."""
    if placed := [found.groups() for name in names if (found := _PLACED.fullmatch(name))]:
        stem, first, between, _ = placed[0]
        is_pixel = _PIXEL.search(stem) or (not stem and between == "x")
        places = [(int(row) - int(first), int(column) - int(first)) for _, row, _, column in placed]
        height, width = (max(sizes) + 1 for sizes in zip(*places, strict=True))
        expected = (
            [(row, column) for row in range(height) for column in range(width)]
            if height * width == len(names)
            else []
        )
        alike = all(each[0] == stem and each[2] == between for each in placed)
        return (
            (height, width)
            if is_pixel and alike and places == expected and min(height, width) >= _SMALLEST
            else None
        )
    numbered = [found.groups() for name in names if (found := _NUMBERED.fullmatch(name))]
    side = math.isqrt(len(names))
    if not numbered or len(numbered) != len(names) or side**2 != len(names) or side < _SMALLEST:
        return None
    first = int(numbered[0][1])
    counts = [int(number) - first for _, number in numbered] == list(range(len(names)))
    return (
        (side, side)
        if counts and len({stem for stem, _ in numbered}) == 1 and _PIXEL.search(numbered[0][0])
        else None
    )
