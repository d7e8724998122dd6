"""The result of tuning: the contents of the tuning file, written and read strictly.

`aetool.runtime.tuning` reads the part that running the bundle needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetool.bench.json_records import fault, from_plain, read_document
from aetool.errors import BenchmarkError, InputError
from aetool.runtime.machine import Machine
from aetool.runtime.settings import RunConfig

KIND, FORMAT_VERSION = "aetool.tuning", 1


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """Identity of the tuned bundle."""

    name: str
    id: str
    manifest_sha256: str
    """Another bundle in its place, or the same with other variants, has another one."""


@dataclass(frozen=True, slots=True)
class FidelityFigures:
    """Fidelity of a precision to fp32, see `aetool.checks.fidelity.Fidelity`."""

    rows: int
    flips: float
    rank_correlation: float
    embedding_cosine: float | None
    auroc_drop: float | None
    source: str
    """Source of the rows."""


@dataclass(frozen=True, slots=True)
class Race:
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


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, and what became of it."""

    name: str
    choice: RunConfig
    fidelity: FidelityFigures | None
    """None for the default, which the others are compared with, and where it was not measured."""
    races: tuple[Race, ...]
    dropped: str
    """Why it is not the choice; empty for the one that is."""


@dataclass(frozen=True, slots=True)
class TuningResult:
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
    trials: tuple[Trial, ...]
    """The default first."""
    kind: str = KIND
    format_version: int = FORMAT_VERSION


def tuning_of(content: Mapping[str, Any], where: str) -> TuningResult:
    """Return the result in a document of `aetool.bench.json_records.read_document`.

    Raises:
        BenchmarkError: of another version, or with a missing entry or one that no measurement gives.
    """
    try:
        result = from_plain(TuningResult, content, where)
    except InputError as error:  # settings that cannot be
        raise BenchmarkError(f"{where}: {error}; measure again") from error
    if not result.trials:
        raise fault(where, "$.trials", "a list of one or more", [])
    for i, trial in enumerate(result.trials):
        for j, race in enumerate(trial.races):
            path = f"$.trials[{i}].races[{j}]"
            if not race.seconds or min(*race.seconds, *race.default_seconds, race.ratio) <= 0:
                raise fault(where, path, "rounds of more than 0 seconds", race.seconds)
    return result


def read_tuning(path: Path) -> TuningResult:
    """Read a file of `aetool tune`.

    Raises:
        BenchmarkError: see `tuning_of`; or not there, or another kind of file.
    """
    return tuning_of(read_document(path, {KIND: FORMAT_VERSION}, "aetool tune"), str(path))
