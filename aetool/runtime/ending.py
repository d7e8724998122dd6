"""An interpreter that ends while daemon threads run: they are let out of onnxruntime first.

Python ends a daemon thread by unwinding its stack at the next touch of Python. Inside onnxruntime's C++ that
is std::terminate: the whole process aborts, after everything went well.
"""

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

PATIENCE_S = 10.0
"""How long the end waits for runs that are under way; each is one chunk of rows."""

running: deque[None] = deque()
"""One entry per call under way; append and pop are atomic."""
began = False
"""Whether the interpreter ends."""


def call_native(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, which goes into onnxruntime; from a daemon thread never after the end began."""
    try:  # append inside: a signal handler may raise as soon as it is done
        running.append(None)
        if began:
            keep_out_daemons()
        return function(*arguments)
    finally:
        running.pop()


def keep_out_daemons() -> None:
    """For a call that stands in `running` and finds that the end `began`: no way back for a daemon thread."""
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
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=running.clear)  # those threads are not here
