"""Denormal numbers flushed to zero while a graph runs, and only then.

Numbers below 1.2e-38 make Intel's cores leave the fast path: a row of them ran eight times slower. onnxruntime's
`session.set_denormal_as_zero` changes the arithmetic of the thread that opens the first session, which is the
caller's own, for good, and that of no other caller. Here the mode is set around each run and put back after it.
"""

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

Function = Callable[..., Any]

_Mode = ctypes.c_uint32 * 2  # glibc's femode_t on x86-64: the x87 control word, MXCSR
_FLUSH = 0x8040  # in MXCSR: results flushed to zero, operands taken as zero


@cache
def slow_here() -> bool:
    """Whether denormals cost on this machine, and can be flushed."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        with open("/proc/cpuinfo", "rb") as stream:
            return b"GenuineIntel" in stream.read(256)
    except OSError:
        return False


def flushing(function: Function) -> Function:
    """`function`, run with denormals flushed; itself where that gains nothing."""
    if not slow_here():
        return function
    get, put = _mode_of_this_thread()
    usual = _Mode()
    get(usual)
    during = _Mode(usual[0], usual[1] | _FLUSH)

    def flushed(*arguments: Any) -> Any:
        before = _Mode()
        get(before)
        try:  # put inside: a signal handler may raise as soon as it is done
            put(during)
            return function(*arguments)
        finally:
            put(before)

    return flushed


@cache
def _mode_of_this_thread() -> tuple[Function, Function]:
    # PyDLL keeps the interpreter's lock: dropping it would cost more than the call.
    library = ctypes.PyDLL("libm.so.6")
    return library.fegetmode, library.fesetmode
