"""The memory that a caller gives for a result."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError


def require_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], data: NDArray[Any]) -> None:
    """Refuse what cannot hold the result for `data`, before anything is computed.

    Raises:
        InputError: another shape, type or order, read-only, or in the memory of `data`.
    """
    if type(out) is not np.ndarray or out.shape != shape or out.dtype != dtype:
        what = f" of {out.dtype}, shape {out.shape}" if isinstance(out, np.ndarray) else ""
        raise InputError(
            f"out: expected ndarray of {dtype}, shape {shape}, found {type(out).__name__}{what}; give np.empty"
        )
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise InputError("out: expected C-ordered, aligned, writable memory, found another; give np.empty")
    if np.may_share_memory(out, data):
        raise InputError("out: lies in the memory of the rows, which would be overwritten; give another array")
