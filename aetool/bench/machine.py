"""The machine that a result comes from."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from aetool.runtime.machine import cpu

PACKAGES = (
    "aetool",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-openvino",
    "onnxscript",
    "openvino",
    "pyod",
    "torch",
)
_CGROUP = Path("/sys/fs/cgroup")


def machine() -> dict[str, Any]:
    """CPU, cores, memory, versions and commit: what a result needs to be compared with another."""
    model, flags = cpu()
    return {
        "cpu": model,
        "cpu_flags": list(flags),
        "cores": len(_affinity()),
        "affinity": _affinity(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "quota_cores": _quota_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": _commit(),
    }


def usable_cores() -> int:
    """Cores that a measurement may keep busy: the affinity, and the container's quota."""
    quota, cores = _quota_cores(), len(_affinity())
    return cores if quota is None else max(1, min(cores, round(quota)))


def _affinity() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _quota_cores() -> float | None:
    """What the container may use at most, in cores (cgroup v2, then v1); None without a quota."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (_CGROUP / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (_CGROUP / "cpu/cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Of the source tree that aetool runs from; "unknown" where it was installed from a wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "unknown"
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=root
        )
    except OSError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"
