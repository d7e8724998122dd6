"""How many cores this process may use."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@cache
def usable_cores() -> int:
    """Cores of this process: its affinity, and the quota of its container. onnxruntime looks at neither quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, round(quota)))


def cpu_quota() -> float | None:
    """Cores that the container's scheduler grants, which may be a fraction; None without a limit."""
    for quota, period in _quotas():
        if quota.isdecimal() and int(quota) > 0 and int(period) > 0:  # "max" and -1 are no limit
            return int(quota) / int(period)
    return None


def _quotas() -> Iterator[tuple[str, str]]:
    """(quota, period) in microseconds, as cgroup v2 and v1 write them."""
    v1 = CGROUP / "cpu"
    for files in ((CGROUP / "cpu.max",), (v1 / "cpu.cfs_quota_us", v1 / "cpu.cfs_period_us")):
        try:
            words = [word for file in files for word in file.read_text(encoding="ascii").split()]
        except OSError:  # not this version of cgroups
            continue
        if len(words) == 2:
            yield words[0], words[1]
