"""What machine this is, as far as the speed of a bundle depends on it."""

import platform
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

_CPUINFO = "/proc/cpuinfo"
_VECTORS = ("avx", "amx", "fma", "f16c", "asimd", "sve")


class Machine(NamedTuple):
    cpu: str
    """Model name."""
    cpu_flags: tuple[str, ...]
    """Of vector and matrix instructions, sorted."""
    cores: int
    """That the process may keep busy."""
    versions: Mapping[str, str]
    """Of what runs the graphs: package -> version."""

    def difference(self, other: "Machine") -> str:
        """What `other` has instead, in words; empty where it is the same."""
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
    """Model name and flags of vector instructions of the first processor."""
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
