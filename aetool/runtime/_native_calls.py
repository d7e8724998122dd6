"""Calls into onnxruntime: kept from daemon threads at the interpreter's end, and run with denormals flushed.

Python ends a daemon thread by unwinding its stack at the next touch of Python. Inside onnxruntime's C++ that
is std::terminate: the whole process aborts, after everything went well.
"""

import atexit
import ctypes
import os
import platform
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from aetool.core.native import float_mode

PATIENCE_S = 10.0
"""Seconds that the end waits for runs under way; each is one chunk of rows."""

running: deque[None] = deque()
"""Calls under way, one entry each; append and pop are atomic."""
began = False
"""True once the interpreter ends."""


def call_native(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function(*arguments)`, which enters onnxruntime; a daemon thread never does after the end began."""
    try:  # append inside: a signal handler may raise as soon as it is done
        running.append(None)
        if began:
            keep_out_daemons()
        return function(*arguments)
    finally:
        running.pop()


def keep_out_daemons() -> None:
    """Block a daemon thread for ever; for a call in `running` that finds that the end has begun."""
    if threading.current_thread().daemon:
        running.pop()
        threading.Event().wait()  # for ever: the process ends meanwhile


def _let_out() -> None:
    global began  # noqa: PLW0603 - the one fact about this process that calls in flight must see
    began = True
    until = time.monotonic() + PATIENCE_S
    while running and time.monotonic() < until:
        time.sleep(0.001)


atexit.register(_let_out)


class _Forgetful(Protocol):
    def _forget_after_fork(self) -> None: ...


_living: "weakref.WeakSet[_Forgetful]" = weakref.WeakSet()


def forget_after_fork(session: _Forgetful) -> None:
    """Have `session._forget_after_fork()` called in every child of a fork, as long as the session lives."""
    _living.add(session)


def _after_fork_in_child() -> None:
    running.clear()  # those threads are not here
    for session in list(_living):
        session._forget_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# Denormal numbers flushed to zero while a graph runs, and only then.
#
# Numbers below 1.2e-38 make Intel's cores leave the fast path: a row of them ran eight times slower. onnxruntime's
# `session.set_denormal_as_zero` changes the arithmetic of the thread that opens the first session, which is the
# caller's own, for good, and that of no other caller. Here the mode is set around each run and put back after it.

Function = Callable[..., Any]

_Mode = ctypes.c_uint32 * 2  # glibc's femode_t on x86-64: the x87 control word, MXCSR
_FLUSH = 0x8040  # in MXCSR: results flushed to zero, operands taken as zero


@cache
def slow_here() -> bool:
    """Decide whether denormals cost time on this machine, and can be flushed."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        with open("/proc/cpuinfo", "rb") as stream:
            return b"GenuineIntel" in stream.read(256)
    except OSError:
        return False


def flushing(function: Function) -> Function:
    """Return `function`, run with denormals flushed; itself where that gains nothing."""
    if not slow_here():
        return function
    get, put, flush = _mode_of_this_thread()

    def flushed(*arguments: Any) -> Any:
        before = get()
        try:  # put inside: a signal handler may raise as soon as it is done
            put(flush(before))
            return function(*arguments)
        finally:
            put(before)

    return flushed


@cache
def _mode_of_this_thread() -> tuple[Function, Function, Function]:
    """Return functions that give a mode, set one, and make of one that which flushes."""
    if (quick := float_mode()) is not None:
        return *quick, _FLUSH.__or__
    # PyDLL keeps the interpreter's lock: dropping it would cost more than the call.
    library = ctypes.PyDLL("libm.so.6")

    def get() -> ctypes.Array[ctypes.c_uint32]:
        mode = _Mode()
        library.fegetmode(mode)
        return mode

    return get, library.fesetmode, lambda mode: _Mode(mode[0], mode[1] | _FLUSH)
