"""Constants of programs: each once, weights packed in panels as core.c reads them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

PANEL = 64
"""Outputs in one panel of weights."""
_ALIGNED = 16
"""Floats in a cache line."""


class Constants:
    """Constants of one program, or of several."""

    def __init__(self) -> None:
        """Begin with none."""
        self.floats, self.halves, self.indexes = _Blob(np.float32), _Blob(np.uint16), _Blob(np.int32)
        self.bytes = _Blob(np.int8)

    def whole(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return all, when all are written."""
        return self.floats.whole(), self.halves.whole(), self.indexes.whole(), self.bytes.whole()


class _Blob:
    """Arrays one after the other, each once, from whole cache lines on."""

    def __init__(self, dtype: Any) -> None:
        self._parts: list[NDArray[Any]] = []
        self._known: dict[int, int] = {}
        self._kept: list[Any] = []
        self._dtype, self._size = np.dtype(dtype), 0
        self._whole: NDArray[Any] | None = None

    def add(self, source: NDArray[Any], make: Callable[[], NDArray[Any]]) -> int:
        """Return the offset of what `make` makes of `source`, which is known by its identity."""
        if id(source) not in self._known:
            part = np.asarray(make(), self._dtype).ravel()
            self._known[id(source)] = self._size
            self._kept.append(source)  # an identity is good as long as its array lives
            self._parts.append(part)
            self._size += -(-part.size // _ALIGNED) * _ALIGNED
        return self._known[id(source)]

    def whole(self) -> NDArray[Any]:
        """Return everything, beginning at a cache line of memory; nothing more is added."""
        if self._whole is not None:
            return self._whole
        size = self._dtype.itemsize
        room: NDArray[np.uint8] = np.zeros(self._size * size + 64, np.uint8)
        start = -room.ctypes.data % 64
        found: NDArray[Any] = room[start : start + self._size * size].view(self._dtype)
        at = 0
        for part in self._parts:
            found[at : at + part.size] = part
            at += -(-part.size // _ALIGNED) * _ALIGNED
        found.flags.writeable = False
        self._whole = found
        return found


def widened(halves: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 numbers of bfloat16."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def panels(weights: NDArray[Any], filled: int) -> NDArray[Any]:
    """Return weights, (inputs, outputs), in panels of 64 outputs, with zeros up to `filled` outputs."""
    padded = np.pad(weights, ((0, 0), (0, filled - weights.shape[1])))
    return np.concatenate([padded[:, start : start + PANEL].ravel() for start in range(0, filled, PANEL)])


def paired(weights: NDArray[np.uint16], filled: int) -> NDArray[np.uint16]:
    """Return bfloat16 weights in panels; of each whole 32 outputs, output j beside output j + 16."""
    padded = np.pad(weights, ((0, 0), (0, filled - weights.shape[1])))
    whole = filled // 32 * 32
    pairs = padded[:, :whole].reshape(len(padded), -1, 2, 16).swapaxes(2, 3).reshape(len(padded), whole)
    return panels(np.concatenate([pairs, padded[:, whole:]], axis=1), filled)
