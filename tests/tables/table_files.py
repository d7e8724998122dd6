"""Arrays as files, and errors as messages."""

import io

import numpy as np
import pytest

from aetool.tables import read_table

VALUES = np.array([[1.0, 2.5], [np.nan, -0.0], [np.inf, 1e300]])


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy_header(shape, data=b"\0" * 48) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return stream.getvalue() + data


def refusal(kind, *arguments, call=read_table, **options) -> str:
    """The message of the error, checked to be one line."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
