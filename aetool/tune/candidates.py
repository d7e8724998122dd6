"""What is tried: the ways to run a bundle that can differ in speed for one purpose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aetool.bench.contestants import Contestant
from aetool.bench.peers import GRAPH
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.manifest import Manifest
from aetool.runtime.bulk import largest_chunk
from aetool.runtime.cores import usable_cores
from aetool.runtime.opening import ONE_SESSION_BYTES, few_threads
from aetool.runtime.settings import DEFAULTS, Choice, Settings
from aetool.tune.others import physical_cores

Purpose = Literal["latency", "throughput"]
"""One row a call, or many."""
SPINS_US = (0, 100, 1000)
CHUNK_FACTORS = (0.5, 2.0, 0.25, 4.0)
"""Of the default's chunk, the likelier first."""
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    """What it differs in."""
    choice: Choice
    bundle: Path
    """That has the precision."""
    limits: Limits = DEFAULT_LIMITS
    """How much is read of it."""

    @property
    def way(self) -> tuple[str, str]:
        """Provider and precision."""
        return self.choice.provider, self.choice.precision

    def contestant(self, graph: str) -> Contestant:
        """What runs it in a process of its own."""
        arguments: dict[str, Any] = {
            "path": str(self.bundle.absolute()),
            "graph": graph,
            "provider": self.choice.provider,
            "precision": self.choice.precision,
            "settings": self.choice.settings._asdict(),
            **({} if self.limits == DEFAULT_LIMITS else {"limits": self.limits._asdict()}),
        }
        return Contestant(self.name, "aetool.bench.peers:bundle", arguments)


def default_of(provider: str, bundle: Path, limits: Limits = DEFAULT_LIMITS) -> Candidate:
    """What `aetool.load` opens where nothing is tuned."""
    return Candidate(DEFAULT, Choice(provider, "fp32", DEFAULTS), bundle, limits)


def challengers(
    purpose: Purpose, graph: str, manifest: Manifest, ways: Mapping[tuple[str, str], Path], default: Candidate
) -> list[Candidate]:
    """What could be faster than the default, every provider and precision in its likeliest setting first.

    Args:
        ways: provider and precision -> the bundle that has it.
    """
    found: list[tuple[int, Candidate]] = []
    for (provider, precision), bundle in ways.items():
        precisions = manifest.variants
        variant = precisions.get(precision, precisions["fp32"])  # one that is made for the purpose is no larger
        size = manifest.files[variant.files[GRAPH[graph]]].size
        for place, settings in enumerate(_settings(purpose, graph, manifest, size)):
            choice = Choice(provider, precision, settings)
            if choice != default.choice:
                found.append((place, Candidate(named(choice, default.choice), choice, bundle, default.limits)))
    return [candidate for _, candidate in sorted(found, key=lambda pair: pair[0])]


def named(choice: Choice, default: Choice) -> str:
    """What a choice differs in: `int8, 512 rows a chunk`."""
    words = []
    if choice.provider != default.provider:
        words.append(choice.provider)
    if choice.precision != default.precision:
        words.append(choice.precision)
    return ", ".join([*words, *choice.settings.words]) or DEFAULT


def _settings(purpose: Purpose, graph: str, manifest: Manifest, size: int) -> list[Settings]:
    """Without two that come to the same; the default first."""
    cores = usable_cores()
    if purpose == "latency":
        default = cores if size > ONE_SESSION_BYTES else few_threads(size)
        threads = [default, *(count for count in _powers(cores) if count != default)]
        found = [
            Settings(direct_threads=None if count == default else count, spin_us=spin)
            for count in threads
            for spin in (SPINS_US if count > 1 else (DEFAULTS.spin_us,))
        ]
        return sorted(found, key=lambda settings: settings != DEFAULTS)
    chunk = largest_chunk(_widest(graph, manifest))
    found = [DEFAULTS, *(Settings(chunk_rows=int(chunk * factor)) for factor in CHUNK_FACTORS)]
    if (physical := physical_cores()) < cores:  # two threads of one core may do no more than one
        found.append(Settings(workers=physical))
    if size > ONE_SESSION_BYTES:
        found.append(Settings(direct_threads=1))
    return found


def _powers(most: int) -> Sequence[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({*(1 << power for power in range(most.bit_length()) if 1 << power <= most), most})


def _widest(graph: str, manifest: Manifest) -> int:
    """Numbers that a row holds or gives at most."""
    embedding = manifest.embedding_dim if graph == "encode" else 0
    return max(math.prod(manifest.input_shape), embedding)
