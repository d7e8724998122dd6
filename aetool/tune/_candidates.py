"""The settings to try for one purpose, and the load that other processes put on the cores."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aetool.bench.contestants import Contestant, bundle_contestant
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.manifest import Manifest
from aetool.bundle.schema import to_plain
from aetool.choices import CALLS
from aetool.runtime.chunks import largest_chunk
from aetool.runtime.graphs import NATIVE_ROWS, ONE_SESSION_BYTES, few_threads
from aetool.runtime.machine import affinity, usable_cores
from aetool.runtime.settings import DEFAULTS, RunConfig, RunSettings

# CPU load of other processes: on busy cores, fewer threads only seem faster.

_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait, of the columns in proc(5)


class Others:
    """Counts from here; the processes that this one started must have ended when it is asked."""

    def __init__(self) -> None:
        """Read the counters of CPU time."""
        self._begin = time.monotonic(), _busy_s(), _own_s()

    @property
    def share(self) -> float:
        """Return the load of other processes, as a share of the cores available to this process, 0 to 1; 0 if
        unknown."""
        begin, busy, own = self._begin
        passed = (time.monotonic() - begin) * len(affinity())
        taken = (_busy_s() - busy) - (_own_s() - own)
        return min(1.0, max(0.0, taken / passed)) if passed > 0 else 0.0


def physical_cores() -> int:
    """Return the number of physical cores available to this process; two threads of one core count once."""
    siblings = set()
    for core in affinity():
        try:
            siblings.add(
                Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text("ascii")
            )
        except OSError:  # the system does not tell
            siblings.add(str(core))
    return len(siblings)


def _busy_s() -> float:
    """Return the seconds for which these cores were not idle, since the start of the system."""
    names = {f"cpu{core}" for core in affinity()}
    try:
        lines = [line.split() for line in _STAT.read_text("ascii").splitlines()]
    except OSError:
        return 0.0
    found = [list(map(int, line[1:9])) for line in lines if line and line[0] in names]  # guests are in user time
    return sum(sum(ticks) - sum(ticks[i] for i in _IDLE) for ticks in found) / _TICKS


def _own_s() -> float:
    return sum(os.times()[:4])


Purpose = Literal["latency", "throughput"]
"""One row a call, or many."""
_SPINS_US = (0, 100, 1000)
_CHUNK_FACTORS = (0.5, 2.0, 0.25, 4.0)
"""Factors on the default's chunk, likeliest first."""
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class RunCandidate:
    """A way to run the bundle that is measured."""

    name: str
    """Difference from the default, in words."""
    choice: RunConfig
    bundle: Path
    """Directory of the bundle that has the precision."""
    limits: Limits = DEFAULT_LIMITS
    """Limits for reading it."""

    @property
    def way(self) -> tuple[str, str]:
        """Return provider and precision."""
        return self.choice.provider, self.choice.precision

    def contestant(self, graph: str) -> Contestant:
        """Return the contestant that runs the candidate in its own process."""
        return bundle_contestant(self.name, self.bundle, self.limits, graph=graph, **to_plain(self.choice))


def default_of(provider: str, bundle: Path, limits: Limits = DEFAULT_LIMITS) -> RunCandidate:
    """Return the candidate that `aetool.load` opens without tuning."""
    return RunCandidate(DEFAULT, RunConfig(provider, "fp32", DEFAULTS), bundle, limits)


def challengers(
    purpose: Purpose,
    graph: str,
    manifest: Manifest,
    ways: Mapping[tuple[str, str], Path],
    default: RunCandidate,
    rows: int = 1,
) -> list[RunCandidate]:
    """Return the candidates that may be faster than the default, every provider and precision in its likeliest
    setting first.

    Args:
        purpose: one row at a time, or many.
        graph: the measured graph.
        manifest: the bundle's manifest.
        ways: provider and precision -> the bundle that has it.
        default: the candidate to beat.
        rows: rows of one call.
    """
    ranked: list[tuple[int, RunCandidate]] = []
    for (provider, precision), bundle in ways.items():
        precisions = manifest.variants
        variant = precisions.get(precision, precisions["fp32"])  # one that is made for the purpose is no larger
        size = manifest.files[variant.files[CALLS[graph]]].size
        settings_of = _with_core if default.choice.provider == "auto" else _on_any
        for index, settings in enumerate(settings_of(provider, rows, _settings(purpose, graph, manifest, size))):
            choice = RunConfig(provider, precision, settings)
            if choice != default.choice:
                ranked.append((index, RunCandidate(named(choice, default.choice), choice, bundle, default.limits)))
    return [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])]


def _on_any(_: str, __: int, settings: Sequence[RunSettings]) -> Sequence[RunSettings]:
    return settings


def _with_core(provider: str, rows: int, settings: Sequence[RunSettings]) -> Sequence[RunSettings]:
    """Return the settings of a provider where the default has the core answer a few rows, and "cpu" the rest.

    Each engine is measured under one name alone: for a few rows "auto" is the core, for more it is the CPU
    provider with another bound on what is few.
    """
    if rows <= NATIVE_ROWS:
        return [DEFAULTS] if provider == "auto" else settings
    core = DEFAULTS._replace(native_rows=rows)
    return {"auto": [settings[0], core, *settings[1:]], "cpu": []}.get(provider, settings)


def named(choice: RunConfig, default: RunConfig) -> str:
    """Return the difference of a choice from the default: `int8, 512 rows a chunk`."""
    words = []
    if choice.provider != default.provider:
        words.append(choice.provider)
    if choice.precision != default.precision:
        words.append(choice.precision)
    return ", ".join([*words, *choice.settings.words]) or DEFAULT


def _settings(purpose: Purpose, graph: str, manifest: Manifest, size: int) -> list[RunSettings]:
    """Return the settings to try, without two that come to the same; the default first."""
    cores = usable_cores()
    if purpose == "latency":
        default = cores if size > ONE_SESSION_BYTES else few_threads(size)
        threads = [default, *(count for count in _powers(cores) if count != default)]
        found = [
            RunSettings(direct_threads=None if count == default else count, spin_us=spin)
            for count in threads
            for spin in (_SPINS_US if count > 1 else (DEFAULTS.spin_us,))
        ]
        return sorted(found, key=lambda settings: settings != DEFAULTS)
    chunk = largest_chunk(_widest(graph, manifest))
    found = [DEFAULTS, *(RunSettings(chunk_rows=int(chunk * factor)) for factor in _CHUNK_FACTORS)]
    if (physical := physical_cores()) < cores:  # two threads of one core may do no more than one
        found.append(RunSettings(workers=physical))
    if size > ONE_SESSION_BYTES:
        found.append(RunSettings(direct_threads=1))
    return found


def _powers(most: int) -> Sequence[int]:
    """Return 1, 2, 4, ... and `most`."""
    return sorted({*(1 << power for power in range(most.bit_length()) if 1 << power <= most), most})


def _widest(graph: str, manifest: Manifest) -> int:
    """Return how many numbers a row holds or gives at most."""
    embedding = manifest.embedding_dim if graph == "encode" else 0
    return max(math.prod(manifest.input_shape), embedding)
