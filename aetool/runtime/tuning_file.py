"""The contents of a tuning file: `aetool tune` writes it, `load` reads the choice in it."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from aetool.bundle.schema import NOT_EMPTY, Digest
from aetool.runtime.machine import Machine
from aetool.runtime.settings import RunConfig

KIND, FORMAT_VERSION = "aetool.tuning", 1


class BundleFacts(NamedTuple):
    """Identity of the tuned bundle."""

    name: str
    id: str
    manifest_sha256: Digest
    """Another bundle in its place, or the same with other variants, has another one."""


class FidelityFigures(NamedTuple):
    """Fidelity of a precision to fp32, see `aetool.checks.fidelity.Fidelity`."""

    rows: int
    flips: float
    rank_correlation: float
    embedding_cosine: float | None
    auroc_drop: float | None
    source: str
    """Source of the rows."""


class Race(NamedTuple):
    """Turns of a candidate and of the default, taken one after the other."""

    name: str
    rows: int
    """Rows of one call."""
    seconds: tuple[float, ...]
    """Median time of a call, one a round."""
    default_seconds: tuple[float, ...]
    """The default's, same rounds."""
    ratio: float
    """Median of the rounds' ratios, the candidate's time to the default's: below 1 is faster."""


class Trial(NamedTuple):
    """A candidate, and what became of it."""

    name: str
    choice: RunConfig
    fidelity: FidelityFigures | None
    """None for the default, which the others are compared with, and where it was not measured."""
    races: tuple[Race, ...]
    dropped: str
    """Why it is not the choice; empty for the one that is."""


class TuningResult(NamedTuple):
    """The result of tuning."""

    aetool: str
    """Release; another one may run graphs in another way."""
    created: str
    """ISO 8601, UTC."""
    command: tuple[str, ...]
    purpose: str
    """latency or throughput."""
    graph: str
    """encode, reconstruct or score."""
    rows: int
    """Rows of one call."""
    data: str
    """Source of the rows."""
    budget: Mapping[str, float | None]
    machine: Machine
    bundle: BundleFacts
    choice: RunConfig
    speedup: float
    """Median of the final rounds, the default's time over the choice's; 1 for the default itself."""
    reason: str
    """Why it was chosen, in words."""
    trials: Annotated[tuple[Trial, ...], NOT_EMPTY]
    """The default first."""
    kind: str = KIND
    format_version: int = FORMAT_VERSION
