"""Memory of large results, used again once the caller has let go of them.

Memory that the system hands out anew is cleared page by page as it is first written: a fifth of the time of a
whole bulk run.
"""

import math
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_BYTES = 1 << 20
"""Below, the allocator keeps and reuses memory itself."""
BLOCKS_KEPT = 2

Block = NDArray[np.uint8]


class Recycler:
    """Gives out arrays; the memory of the last few that nobody holds any more is given out again."""

    def __init__(self) -> None:
        self._free: deque[Block] = deque(maxlen=BLOCKS_KEPT)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """As `numpy.empty`: C-ordered, writable, the caller's own, content undefined."""
        size = math.prod(shape) * dtype.itemsize
        if size < MIN_BYTES:
            return np.empty(shape, dtype)
        return np.asarray(_Lease(self._block(size), self._free, shape, dtype))

    def _block(self, size: int) -> Block:
        for _ in range(BLOCKS_KEPT):
            try:
                block = self._free.popleft()  # one step: no two threads get the same
            except IndexError:
                break
            if size <= block.nbytes <= 2 * size:
                return block
            self._free.append(block)
        return np.empty(size, np.uint8)


class _Lease:
    """What an array and its views rest on: dies with the last of them, and gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_free")

    def __init__(self, block: Block, free: deque[Block], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._block, self._free = block, free
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (block.ctypes.data, False),
        }

    def __del__(self) -> None:
        self._free.append(self._block)
