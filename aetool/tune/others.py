"""How much of the cores other processes take meanwhile: where they are busy, fewer threads only seem faster."""

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait, of the columns in proc(5)


class Others:
    """Counts from here; the processes that this one started must have ended when it is asked."""

    def __init__(self) -> None:
        self._begin = time.monotonic(), _busy_s(), _own_s()

    @property
    def share(self) -> float:
        """Of the cores that this process may use, 0 to 1; 0 where the system does not tell."""
        begin, busy, own = self._begin
        passed = (time.monotonic() - begin) * len(_cores())
        taken = (_busy_s() - busy) - (_own_s() - own)
        return min(1.0, max(0.0, taken / passed)) if passed > 0 else 0.0


def physical_cores() -> int:
    """Of those that this process may use; two threads of one core are one."""
    siblings = set()
    for core in _cores():
        try:
            siblings.add(
                Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text("ascii")
            )
        except OSError:  # the system does not tell
            siblings.add(str(core))
    return len(siblings)


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _busy_s() -> float:
    """Seconds for which these cores were not idle, since the start of the system."""
    names = {f"cpu{core}" for core in _cores()}
    try:
        lines = [line.split() for line in _STAT.read_text("ascii").splitlines()]
    except OSError:
        return 0.0
    found = [list(map(int, line[1:9])) for line in lines if line and line[0] in names]  # guests are in user time
    return sum(sum(ticks) - sum(ticks[i] for i in _IDLE) for ticks in found) / _TICKS


def _own_s() -> float:
    return sum(os.times()[:4])
