"""Who goes first where there are fewer cores than threads: the one that answers, not those that compute."""

import contextlib
import os
import sys
import threading

NICER = 4


def give_way() -> None:
    """Have the calling thread, and those it starts, wait for whoever else wants its core.

    Under a flood of requests the threads that compute are busy all the time, and the event loop is wanted for
    moments: to refuse at once what cannot be computed in time. Linux alone knows the niceness of a thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(PermissionError):  # of a sandbox: all is served, refusals take longer
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICER))
