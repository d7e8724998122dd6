"""This machine and the cores that this process may use, as far as the speed of a bundle depends on them."""

import os
import platform
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from aetool.bundle.schema import Count

_CPUINFO = "/proc/cpuinfo"
_VECTORS = ("avx", "amx", "fma", "f16c", "asimd", "sve")


class Machine(NamedTuple):
    """Properties of a machine that decide how fast a bundle runs."""

    cpu: str
    """Model name."""
    cpu_flags: tuple[str, ...]
    """Flags of vector and matrix instructions, sorted."""
    cores: Count
    """Number of cores that the process may keep busy."""
    versions: Mapping[str, str]
    """Versions of the packages that run the graphs: package -> version."""

    def difference(self, other: "Machine") -> str:
        """Return in words what `other` has instead; empty where it is the same."""
        for what in ("cpu", "cores"):
            if (there := getattr(self, what)) != (here := getattr(other, what)):
                return f"{what} {there}, here {here}"
        if changed := sorted(set(self.cpu_flags) ^ set(other.cpu_flags)):
            return f"cpu flags differ: {' '.join(changed)}"
        for name in sorted({*self.versions, *other.versions}):
            there, here = (versions.get(name, "none") for versions in (self.versions, other.versions))
            if there != here:
                return f"{name} {there}, here {here}"
        return ""


@cache
def cpu() -> tuple[str, tuple[str, ...]]:
    """Return model name and vector instruction flags of the first processor."""
    facts = {}
    try:
        with open(_CPUINFO, encoding="ascii", errors="replace") as stream:
            for line in stream:
                if not line.strip():  # the others are alike, and the kernel takes a while to list them
                    break
                key, _, value = line.partition(":")
                facts[key.strip()] = value.strip()
    except OSError:  # not Linux
        pass
    flags = facts.get("flags", facts.get("Features", "")).split()
    name = facts.get("model name") or f"{platform.machine()} {facts.get('CPU part', '')}".strip()
    return name, tuple(sorted(flag for flag in flags if flag.startswith(_VECTORS)))


# The cores this process may use: its affinity, and the CPU quota of its container.
#
# onnxruntime looks at neither quotas nor OMP_NUM_THREADS.

CGROUPS = "/sys/fs/cgroup"
OWN_CGROUP = "/proc/self/cgroup"


class Cores(NamedTuple):
    """Limits on the cores of this process."""

    machine: int
    """Number of cores of the system."""
    affinity: int
    """Number of cores that the scheduler lets this process run on."""
    quota: float | None
    """Cores' worth of time that the container gets (cgroup v2 cpu.max); None: as much as there is."""

    @property
    def usable(self) -> int:
        """Threads that can run at once: a quota of 1.5 cores is 2, one below a core is 1."""
        return self.affinity if self.quota is None else max(1, min(self.affinity, round(self.quota)))


@cache
def usable_cores() -> int:
    """Return the number of threads of this process that can run at once."""
    return cores().usable


def cores() -> Cores:
    """Return the limits of this process now."""
    machine = os.cpu_count() or 1
    return Cores(machine, len(affinity()), _quota())


def affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    return (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    )


def available_memory() -> int | None:
    """Return the bytes of memory that this process may still take without swapping; None where unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            free = next(int(line.split()[1]) << 10 for line in stream if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    limits = [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")]
    for most, used in limits:
        try:
            with (
                open(os.path.join(CGROUPS, most), encoding="ascii") as limit,
                open(os.path.join(CGROUPS, used), encoding="ascii") as usage,
            ):
                free = min(free, int(limit.read()) - int(usage.read()))
        except (OSError, ValueError):  # no limit
            continue
    return max(free, 0)


def _quota() -> float | None:
    """Return the smallest quota from this process's group up to the root; a container's own group is its root."""
    try:
        with open(OWN_CGROUP, encoding="utf-8") as stream:
            own = next(line[3:].strip() for line in stream if line.startswith("0::"))
    except (OSError, StopIteration):  # no cgroup v2 here
        return _quota_v1()
    parts = own.split("/")
    found = [_quota_of(os.path.join(CGROUPS, *parts[1:depth])) for depth in range(len(parts), 0, -1)]
    return min((quota for quota in found if quota is not None), default=None) or _quota_v1()


def _quota_of(folder: str) -> float | None:
    try:
        with open(os.path.join(folder, "cpu.max"), encoding="ascii") as stream:
            quota, period = stream.read().split()
    except (OSError, ValueError):  # the root group of a machine has none
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1() -> float | None:
    """Return the quota of cgroup v1, of which a container has its own at the root."""
    try:
        with (
            open(os.path.join(CGROUPS, "cpu/cpu.cfs_quota_us"), encoding="ascii") as quota,
            open(os.path.join(CGROUPS, "cpu/cpu.cfs_period_us"), encoding="ascii") as period,
        ):
            share = int(quota.read()) / int(period.read())
    except (OSError, ValueError):
        return None
    return share if share > 0 else None  # -1: no quota
