"""The result of a benchmark: the contents of the JSON file, written and read strictly."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from aetool.bundle.atomic import publish_file
from aetool.bundle.schema import NOT_EMPTY, Count, Positive, Source, read_json, to_plain
from aetool.errors import BenchmarkError

KIND, FORMAT_VERSION = "aetool.bench", 1
MAX_BYTES = 256 << 20


def document_of(result: Any) -> dict[str, Any]:
    """Return a record that has a kind and a version as JSON, these two first."""
    plain = to_plain(result)
    return {"kind": plain.pop("kind"), "format_version": plain.pop("format_version"), **plain}


def write_document(document: Mapping[str, Any], path: Path, *, overwrite: bool = False) -> None:
    """Write the JSON file.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or it cannot be written.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    publish_file(path, text.encode(), overwrite=overwrite)


def read_document(path: Path, kinds: Mapping[str, int], writer: str) -> dict[str, Any]:
    """Read the JSON object in a file of one of `kinds`.

    Args:
        path: the file.
        kinds: kind -> format version.
        writer: the command that writes such files, for messages.

    Raises:
        BenchmarkError: not there, another kind of file, or of a newer aetool.
    """
    try:
        content = read_json(path, MAX_BYTES)
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read: {error.strerror}; give a file of {writer}") from error
    except ValueError as error:
        raise BenchmarkError(f"{path}: not valid JSON ({error}); give a file that {writer} wrote") from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in list(kinds):
        expected = " or ".join(map(repr, kinds))
        raise BenchmarkError(
            f"{path}: kind {expected} expected, found {kind!r:.40}; give a file that {writer} wrote"
        )
    version = content.get("format_version")
    if version != kinds[kind] or isinstance(version, bool):
        raise BenchmarkError(
            f"{path}: format_version {kinds[kind]} expected, found {version!r:.40}; measure again, or use the "
            "aetool that wrote it"
        )
    return dict(content)


def measured_in(where: str) -> Source:
    """Return the source of measurements that are read strictly."""
    return Source(where, "measure again with this aetool", BenchmarkError, strict=True)


@dataclass(frozen=True, slots=True)
class MachineRecord:
    """The machine of a measurement."""

    cpu: str
    """Model name."""
    cpu_flags: tuple[str, ...]
    """Flags for vector and matrix instructions."""
    cores: int
    """Number of cores that the process may run on."""
    affinity: tuple[int, ...]
    """Numbers of these cores."""
    memory_bytes: int
    quota_cores: float | None
    """The container's quota, in cores; None without a quota."""
    system: str
    python: str
    packages: Mapping[str, str]
    """Package -> version."""
    commit: str


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Peak rates of the machine."""

    matmul_gflops: Mapping[str, float]
    """Threads -> GFLOP/s of a large float32 matrix product: the better of numpy's and onnxruntime's."""
    copy_gb_per_s: float
    """Rate of a large copy by one thread, GB/s; bytes read and bytes written both count."""

    def or_better(self, other: "Ceiling") -> "Ceiling":
        """Return the higher of two measurements with the same threads: another program can only lower one."""
        both = zip(self.matmul_gflops.items(), other.matmul_gflops.values(), strict=True)
        peaks = {threads: max(one, two) for (threads, one), two in both}
        return Ceiling(peaks, max(self.copy_gb_per_s, other.copy_gb_per_s))


@dataclass(frozen=True, slots=True)
class GraphFile:
    """An ONNX file of the bundle."""

    sha256: str
    bytes: int
    multiply_adds_per_row: int | None
    """Multiply-adds of the matrix products; None if there are others, such as convolutions."""


@dataclass(frozen=True, slots=True)
class BundleRecord:
    """The measured bundle."""

    name: str
    id: str
    features: int
    """Numbers in one row."""
    embedding: int | None
    """Numbers in one embedding."""
    files: Mapping[str, GraphFile]
    """Graph (precision/graph where it is not fp32) -> its file."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output of one contestant, compared before anything is timed."""

    contestant: str
    graph: str
    output: str
    max_scaled: float
    """Largest difference, as a share of the output's range; of a reconstruction, of its column's."""
    rows: str
    """The compared rows, and what they were compared with."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per query over all rounds; None where there are too few samples."""

    mean: float
    min: Positive
    max: Positive
    p50: Positive
    p90: Positive | None
    p99: Positive | None
    p99_9: Positive | None = field(metadata={"key": "p99.9"})


@dataclass(frozen=True, slots=True)
class LatencyHistogram:
    """A histogram of latencies."""

    edges_s: tuple[float, ...]
    """Ascending, evenly spaced in their logarithm; one more than there are counts."""
    counts: Annotated[tuple[int, ...], NOT_EMPTY]
    """Every sample is in one of them."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a case."""

    p50_s: Positive
    rows_per_s: float


@dataclass(frozen=True, slots=True)
class Stability:
    """Medians of windows of time, compared."""

    windows_s: tuple[float, ...]
    """Median latency of each window, in order."""
    spread: float
    """Largest less smallest, as a share of their median."""
    stable: bool
    reason: str = ""
    """Why it is not stable; empty when it is."""


@dataclass(frozen=True, slots=True)
class NodeTime:
    """Time of one node of the graph."""

    node: str
    op: str
    us: float
    """Mean of one run."""


@dataclass(frozen=True, slots=True)
class MeasuredCase:
    """A contestant, and what it was put to: the same measurement in two results has the same case."""

    contestant: str
    """aetool, raw-onnxruntime, torch, torch-compile, openvino."""
    graph: str
    """encode, reconstruct or score."""
    provider: str
    precision: str
    threads: int | None
    """Inside one call; None: the contestant's own default."""
    batch: Count
    """Rows a query."""
    scenario: str

    @property
    def key(self) -> tuple[str, str, str, str, int | None, int, str]:
        """Return the fields that identify the same measurement in two results."""
        return (
            self.contestant, self.graph, self.provider, self.precision, self.threads, self.batch, self.scenario
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured(MeasuredCase):
    """One contestant under one load."""

    placement: Mapping[str, int] | None
    """Execution provider -> nodes it runs, as recorded by onnxruntime; None if not recorded."""
    import_s: float
    session_creation_s: float
    first_run_s: float
    """The first call in the process, one row."""
    resident_after_load_bytes: int | None
    peak_memory_bytes: int | None
    """While this was measured; the rows are in it."""
    samples: int
    warm_up_samples: int
    latency_s: Latency
    histogram: LatencyHistogram
    throughput_rows_per_s: Positive
    """Median over rounds of rows / wall time."""
    arrivals_per_s: float | None
    """Queries; of the server scenario."""
    rounds: Annotated[tuple[Round, ...], NOT_EMPTY]
    stability: Stability
    share_of_peak: float | None
    """Share of the machine's float32 matrix-product peak on all cores; None for other providers and precisions."""
    profile: tuple[NodeTime, ...] | None


@dataclass(frozen=True, slots=True)
class RatioRecord:
    """The comparison of two contestants: medians over rounds of the rounds' own ratios."""

    graph: str
    provider: str
    precision: str
    threads: int | None
    batch: int
    scenario: str
    of: str
    to: str
    p50: Positive
    """Latency of the first / latency of the second: below 1, the first is faster."""
    p99: float | None
    """99th percentile of all samples."""
    throughput: float
    """Above 1, the first is faster."""
    spread: tuple[Positive, Positive]
    """Smallest and largest p50 ratio of a round."""


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The result of a benchmark."""

    created: str
    """ISO 8601, UTC."""
    command: tuple[str, ...]
    machine: MachineRecord
    ceiling: Ceiling
    bundle: BundleRecord
    parameters: Mapping[str, Any]
    """Parameters of the run, and the source of the rows."""
    agreement: tuple[Agreement, ...]
    results: Annotated[tuple[Measured, ...], NOT_EMPTY]
    ratios: tuple[RatioRecord, ...]
    kind: str = KIND
    format_version: int = FORMAT_VERSION


def read_result(path: Path) -> BenchResult:
    """Read a file of `aetool bench`.

    Raises:
        BenchmarkError: not there, another kind of file, of a newer aetool, or with a missing entry or one that
            no measurement gives, which the message names.
    """
    return result_of(read_document(path, {KIND: FORMAT_VERSION}, "aetool bench"), str(path))


def result_of(content: Mapping[str, Any], where: str) -> BenchResult:
    """Return the result in a document of `read_document`.

    Raises:
        BenchmarkError: with a missing entry or one that no measurement gives, which the message names.
    """
    source = measured_in(where)
    result = source.read(BenchResult, content)
    for i, measured in enumerate(result.results):
        edges, counts = measured.histogram.edges_s, measured.histogram.counts
        path = f"$.results[{i}].histogram.edges_s"
        if min(counts) < 0:
            raise source.fault(f"$.results[{i}].histogram.counts", "0 or more each", min(counts))
        if len(edges) != len(counts) + 1:
            raise source.fault(path, f"a list of {len(counts) + 1}, one more than counts", len(edges))
        if not all(low < high for low, high in itertools.pairwise((0.0, *edges))):
            raise source.fault(path, "above 0 and ascending", list(edges))
    return result
