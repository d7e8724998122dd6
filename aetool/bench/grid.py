"""The grid of measurements on one bundle: which graphs, in which settings, under which load."""

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aetool.bench.contestants import Contestant, bundle_contestant
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.choices import CALLS, PEERS, SCENARIOS
from aetool.errors import DependencyError, InputError
from aetool.runtime.providers import PROVIDERS

OURS, RAW = "aetool", "raw-onnxruntime"
_PACKAGES = {"torch": ("torch", "train"), "torch-compile": ("torch", "train"), "openvino": ("openvino", "peers")}
_ON_CHECKPOINT = {
    "torch": "aetool.bench._torch_contestant:eager",
    "torch-compile": "aetool.bench._torch_contestant:compiled",
}


@dataclass(frozen=True, slots=True)
class Grid:
    """The measurements to take: every combination of the values."""

    graphs: tuple[str, ...] = ()
    """encode, reconstruct, score; none: all that the bundle has."""
    providers: tuple[str, ...] = ("auto",)
    precisions: tuple[str, ...] = ("fp32",)
    batches: tuple[int, ...] = (1, 64)
    """Rows a query; offline has its own."""
    offline_rows: int = 16_384
    threads: tuple[int | None, ...] = (None,)
    """Inside one call; None: each contestant's own default."""
    scenarios: tuple[str, ...] = ("single-stream", "offline")
    arrivals_per_s: float | None = None
    """Queries, server scenario; None: half of what the slowest contestant can answer."""
    peers: tuple[str, ...] = (RAW,)
    against: Path | None = None
    """The checkpoint that the bundle was exported from, which PyTorch runs."""
    rounds: int = 6
    """Turns of each contestant under each load, in all launches together."""
    launches: int = 2
    """Number of times that each contestant's process is started anew."""
    seconds: float = 0.25
    """Duration of one turn, in seconds."""
    seed: int = 0
    profile: bool = False
    """Time of each node, by onnxruntime's own profiler."""

    def __post_init__(self) -> None:
        """Check the values."""
        _require_known("graph", self.graphs, tuple(CALLS))
        _require_known("scenario", self.scenarios, SCENARIOS)
        _require_known("peer", self.peers, PEERS)
        _require_known("provider", self.providers, ("auto", *PROVIDERS))
        for name in ("providers", "precisions", "batches", "threads", "scenarios"):
            if not getattr(self, name):
                raise InputError(f"{name}: one or more expected, found none; leave it out for the default")
        counts = [("rounds", self.rounds), ("launches", self.launches), ("offline rows", self.offline_rows)]
        counts += [("batch", batch) for batch in self.batches]
        counts += [("threads", count) for count in self.threads if count is not None]
        for name, count in counts:
            if count < 1:
                raise InputError(f"{name}: 1 or more expected, found {count}")
        if self.launches > self.rounds:
            raise InputError(f"launches: at most one a round ({self.rounds}) expected, found {self.launches}")
        for name, number in (("seconds", self.seconds), ("arrivals a second", self.arrivals_per_s)):
            if number is not None and not 0 < number < float("inf"):
                raise InputError(f"{name}: a number above 0 expected, found {number}")
        for peer in self.peers:
            package, extra = _PACKAGES.get(peer, ("onnxruntime", "cpu"))
            if importlib.util.find_spec(package) is None:
                raise DependencyError(package, extra, f"the peer {peer}")
            if peer in _ON_CHECKPOINT and self.against is None:
                raise InputError(
                    f"peer {peer}: needs the checkpoint of the bundle; give it with --against CHECKPOINT"
                )

    @property
    def largest_batch(self) -> int:
        """Return the rows in the largest query."""
        return max(batch for _, batch in self.loads())

    def rounds_of(self, launch: int) -> range:
        """Return the numbers of the rounds of a launch."""
        return range(launch * self.rounds // self.launches, (launch + 1) * self.rounds // self.launches)

    def loads(self) -> Iterator[tuple[str, int]]:
        """Return the scenario and batch of every cell."""
        for scenario in self.scenarios:
            for batch in (self.offline_rows,) if scenario == "offline" else self.batches:
                yield scenario, batch


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of the contestants' processes; the same processes run all of the grid's loads."""

    graph: str
    provider: str
    precision: str
    threads: int | None

    def ours(self, bundle: Bundle) -> Contestant:
        """Return the contestant that runs the bundle through aetool."""
        return bundle_contestant(OURS, bundle.path, bundle.limits, **asdict(self))

    def peer(self, name: str, bundle: Bundle, provider: str, against: Path | None) -> Contestant:
        """Return a peer that runs where aetool does, on `provider`, or on the CPU if it does not support that."""
        arguments: dict[str, Any] = {"graph": self.graph, "threads": self.threads}
        if name in _ON_CHECKPOINT:
            assert against is not None  # a Grid is not made without
            arguments |= {"checkpoint": str(against.absolute()), "device": "cuda" if provider == "cuda" else "cpu"}
            return Contestant(name, _ON_CHECKPOINT[name], arguments)
        arguments["file"] = str(self.file(bundle))
        if name == RAW:
            arguments["provider"] = provider if provider == "cuda" else "cpu"
        return Contestant(name, f"aetool.bench.factories:{name.replace('-', '_')}", arguments)

    def inspector(self, name: str, bundle: Bundle, provider: str) -> Contestant:
        """Return a contestant of `aetool.bench.factories` on the same file."""
        arguments = {"file": str(self.file(bundle)), "provider": provider, "threads": self.threads}
        return Contestant(name, f"aetool.bench.factories:{name}", arguments)

    def file(self, bundle: Bundle) -> Path:
        """Return the path of the measured ONNX file."""
        return bundle.path.absolute() / bundle.variant(self.precision).files[CALLS[self.graph]]


@dataclass(frozen=True, slots=True)
class GridPlan:
    """A grid on a bundle, settled."""

    bundle: Bundle
    grid: Grid
    settings: tuple[Setting, ...] = field(default=())

    @property
    def turns(self) -> int:
        """Return the number of turns, for a progress bar."""
        return len(self.settings) * len(list(self.grid.loads())) * (1 + len(self.grid.peers)) * self.grid.rounds


def plan(path: Path, grid: Grid, limits: Limits = DEFAULT_LIMITS) -> GridPlan:
    """Open the bundle at `path`, check every file, and lay out the grid.

    Raises:
        BundleError: no bundle, a damaged one, or one without that precision.
        InputError: it has no such graph.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    has = bundle.variant("fp32").files
    if missing := [graph for graph in grid.graphs if CALLS[graph] not in has]:
        raise InputError(f"{path}: has no {CALLS[missing[0]]}, which {missing[0]} needs; it has {', '.join(has)}")
    graphs = grid.graphs or tuple(graph for graph, name in CALLS.items() if name in has)
    precisions = ["fp32" if precision == "auto" else precision for precision in grid.precisions]
    for precision in precisions:
        bundle.variant(precision)  # raises if it is not there, before anything is run
    settings = [
        Setting(graph, provider, precision, threads)
        for graph in graphs
        for provider in grid.providers
        for precision in precisions
        for threads in grid.threads
    ]
    return GridPlan(bundle, grid, tuple(settings))


def _require_known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{what} {name!r} is unknown; choose {', '.join(known)}")
