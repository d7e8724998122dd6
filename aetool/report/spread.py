"""Texts on a picture that is full already: each beside its place, none over another."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_STEP = 4.0  # from one ring of places to try to the next
_WAYS = 16  # places on a ring


class Box(NamedTuple):
    """A text's place: its middle, and how wide and high it is."""

    x: float
    y: float
    width: float
    height: float


def spread(wanted: Sequence[Box], width: float, height: float) -> list[Box]:
    """Each box inside `width` x `height`, as near as may be to where it is wanted, the first ones nearest.

    A box for which there is no room stays where it was wanted.
    """
    placed: list[Box] = []
    for box in wanted:
        found = (near for near in _around(box, math.hypot(width, height)) if _is_inside(near, width, height))
        placed.append(next((near for near in found if not any(_meet(near, other) for other in placed)), box))
    return placed


def _around(box: Box, farthest: float) -> Iterator[Box]:
    yield box
    for ring in range(1, math.ceil(farthest / _STEP)):
        for way in range(_WAYS):
            turn = 2 * math.pi * way / _WAYS
            yield box._replace(x=box.x + ring * _STEP * math.cos(turn), y=box.y + ring * _STEP * math.sin(turn))


def _is_inside(box: Box, width: float, height: float) -> bool:
    x, y = min(box.x, width - box.x), min(box.y, height - box.y)
    return x >= box.width / 2 and y >= box.height / 2


def _meet(one: Box, other: Box) -> bool:
    across, down = abs(one.x - other.x), abs(one.y - other.y)
    return across < (one.width + other.width) / 2 and down < (one.height + other.height) / 2
