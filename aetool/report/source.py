"""What `aetool bench` has written: its JSON as frozen dataclasses, read strictly."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aetool.errors import InputError
from aetool.report.decode import KEY, decode, fault
from aetool.strict_json import no_constant, require_storable, unique_keys

KIND = "aetool.bench"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cpu_flags: Any  # a text or a list of them
    cores: int
    memory_bytes: int
    quota_cores: float | None
    system: str
    python: str
    packages: Mapping[str, str]
    commit: str | None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the machine itself can do."""

    matmul_gflops: Mapping[str, float]  # threads -> peak of a matrix product
    copy_gb_per_s: float


@dataclass(frozen=True, slots=True)
class GraphFile:
    """One graph of the bundle."""

    sha256: str
    bytes: int
    multiply_adds_per_row: int | None


@dataclass(frozen=True, slots=True)
class MeasuredBundle:
    """What was measured."""

    name: str
    id: str
    features: int
    embedding: int | None
    files: Mapping[str, GraphFile]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a contestant's output is from the reference, before any was timed."""

    contestant: str
    graph: str
    output: str
    max_scaled: float
    rows: Any  # how many, or which ones


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds a call; a percentile that has too few samples is None."""

    mean: float
    min: float
    max: float
    p50: float
    p90: float | None
    p99: float | None
    p99_9: float | None = field(metadata={KEY: "p99.9"})


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges that are spaced by a factor."""

    edges_s: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of a contestant."""

    p50_s: float
    rows_per_s: float


@dataclass(frozen=True, slots=True)
class Stability:
    """Whether the same work took the same time from beginning to end."""

    windows_s: tuple[float, ...]  # median of each window, in order
    spread: float
    stable: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What a node of the graph took."""

    node: str
    op: str
    us: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contestant, one job, one batch, one scenario."""

    contestant: str
    graph: str
    provider: str
    precision: str
    threads: int | None
    batch: int
    scenario: str
    placement: Mapping[str, int] | None
    import_s: float | None
    session_creation_s: float | None
    first_run_s: float | None
    resident_after_load_bytes: int | None
    peak_memory_bytes: int | None
    samples: int
    warm_up_samples: int
    latency_s: Latency
    histogram: Histogram
    throughput_rows_per_s: float
    arrivals_per_s: float | None
    rounds: tuple[Round, ...]
    stability: Stability
    share_of_peak: float | None
    profile: tuple[NodeTime, ...] | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """One contestant against another, median of the rounds; below 1 is less time."""

    graph: str
    batch: int
    scenario: str
    of: str
    to: str
    p50: float
    p99: float | None
    throughput: float
    spread: tuple[float, ...]  # lowest and highest round
    provider: str | None = None  # how both were set; None: as in every other ratio
    precision: str | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The whole file."""

    created: str
    command: tuple[str, ...]
    machine: Machine
    ceiling: Ceiling
    bundle: MeasuredBundle
    parameters: Mapping[str, Any]
    agreement: tuple[Agreement, ...]
    results: tuple[Measurement, ...]
    ratios: tuple[Ratio, ...]


def read_result(path: Path) -> BenchResult:
    """The result that `aetool bench` wrote at `path`.

    Raises:
        InputError: the file cannot be read, is something else, or a key is missing or of another type.
    """
    where = str(path)
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=unique_keys, parse_constant=no_constant)
        require_storable(content)
    except OSError as error:
        raise InputError(f"{where}: cannot be read: {error.strerror}; give the JSON of aetool bench") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON, or not all of it: {error}; run aetool bench again") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        found = content.get("kind") if isinstance(content, dict) else content
        raise fault(where, "$.kind", repr(KIND), found)
    if content.get("format_version") != FORMAT_VERSION:
        raise fault(
            where, "$.format_version", f"{FORMAT_VERSION}, which this aetool reads", content.get("format_version")
        )
    result = decode(BenchResult, content, where)
    _require_drawable(result, where)
    return result


def _require_drawable(result: BenchResult, where: str) -> None:
    """What the types cannot say: times above 0, histograms whose counts fit their edges."""
    if not result.results:
        raise fault(where, "$.results", "a list of one or more", [])
    for i, found in enumerate(result.results):
        path = f"$.results[{i}]"
        if found.batch < 1:
            raise fault(where, f"{path}.batch", "1 or more", found.batch)
        _require_positive(where, f"{path}.throughput_rows_per_s", found.throughput_rows_per_s)
        times = found.latency_s
        for name, value in (("min", times.min), ("p50", times.p50), ("max", times.max)):
            _require_positive(where, f"{path}.latency_s.{name}", value)
        for name, percentile in (("p90", times.p90), ("p99", times.p99), ("p99.9", times.p99_9)):
            if percentile is not None:
                _require_positive(where, f"{path}.latency_s.{name}", percentile)
        for j, turn in enumerate(found.rounds):
            _require_positive(where, f"{path}.rounds[{j}].p50_s", turn.p50_s)
        edges, counts = found.histogram.edges_s, found.histogram.counts
        ascending = all(low < high for low, high in itertools.pairwise((0.0, *edges)))
        if not ascending or (counts and len(edges) != len(counts) + 1):
            raise fault(
                where, f"{path}.histogram.edges_s", "ascending, one more than there are counts", len(edges)
            )
        if min(counts, default=0) < 0:
            raise fault(where, f"{path}.histogram.counts", "0 or more", min(counts))
    for i, ratio in enumerate(result.ratios):
        path = f"$.ratios[{i}]"
        if len(ratio.spread) != 2:
            raise fault(where, f"{path}.spread", "the lowest and the highest", list(ratio.spread))
        for name, value in (("p50", ratio.p50), *(("spread", edge) for edge in ratio.spread)):
            _require_positive(where, f"{path}.{name}", value)


def _require_positive(where: str, path: str, value: float) -> None:
    if value <= 0:
        raise fault(where, path, "above 0", value)
