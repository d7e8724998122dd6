"""Warm-up: a bundle checked against its golden rows, every graph open and warm, its latency measured."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.baseline import Baseline, read_baseline
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.golden import read_golden
from aetool.checks.drift import MOST_CHANCE, baseline_of_golden, promised_share
from aetool.checks.verify import verify_bundle
from aetool.errors import BundleError, InputError
from aetool.runtime.providers import ProviderName
from aetool.runtime.session import AutoencoderSession, load
from aetool.serve._live import Expected
from aetool.serve._protocol import TensorSpec, tensor_of

# How long a graph takes for so many rows: measured here, to decide where it is computed.

INLINE_S = 0.0005
"""Seconds below which a batch is computed by the thread that answers: handing it to another takes as long."""
_REPETITIONS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a batch, a straight line through two measurements."""

    first_s: float
    """Seconds of one row."""
    more_s: float
    """Seconds of each further row."""

    def inline(self, rows: int) -> bool:
        """Decide whether `rows` rows are cheaper computed than handed to another thread."""
        return self.first_s + (rows - 1) * self.more_s <= INLINE_S


def measured(run: Callable[[NDArray[np.float32]], Any], rows: NDArray[np.float32], batch: int) -> Cost:
    """Measure the cost of `run`, from one row and from `batch` rows made of `rows`; a first run does not count."""
    one = _best(run, rows[:1])
    if batch == 1:
        return Cost(one, one)
    many = _best(run, np.resize(rows, (batch, *rows.shape[1:])))
    return Cost(one, max(0.0, many - one) / (batch - 1))


def _best(run: Callable[[NDArray[np.float32]], Any], rows: NDArray[np.float32]) -> float:
    times = []
    for _ in range(_REPETITIONS + 1):
        begin = time.perf_counter()
        run(rows)
        times.append(time.perf_counter() - begin)
    return min(times[1:])


WAYS = (("encoder",), ("detector",), ("autoencoder",), ("encoder", "detector"), ("autoencoder", "detector"))
"""Sets of graphs to run for the requested outputs: the first that gives them all."""
VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Opening:
    """Options for opening every bundle; see `aetool.load`."""

    provider: ProviderName = "auto"
    precision: str = "auto"
    intra_op_num_threads: int | None = None
    limits: Limits = DEFAULT_LIMITS
    public_key: Path | None = None
    """File of the key whose signature every bundle must bear; None requires none."""
    threshold: float | None = None
    """Highest score that counts as normal; None for each bundle's own."""

    def load(self, path: str | Path, *, threads: int | None = None) -> AutoencoderSession:
        """Open the bundle at `path`, on `threads` cores where the options leave that open."""
        chosen = threads if self.intra_op_num_threads is None else self.intra_op_num_threads
        return load(
            path,
            provider=self.provider,
            precision=self.precision,
            intra_op_num_threads=chosen,
            threshold=self.threshold,
            limits=self.limits,
            require_signature=self.public_key,
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """One bundle, open."""

    session: AutoencoderSession
    """Session for batches that another thread computes, on all cores."""
    inline: AutoencoderSession
    """Session for those that the event loop computes itself, on one core: another would gain less than it
    costs."""
    inputs: Mapping[str, TensorSpec]
    """Input of each graph."""
    outputs: Mapping[str, tuple[TensorSpec, ...]]
    """Outputs of each graph."""
    costs: Mapping[str, Cost]
    expected: Expected
    """What live rows are compared with."""
    calibrated: tuple[TensorSpec, ...] = ()
    """Outputs that are made of the score; none where the bundle has no calibrator."""
    path: Path = Path()
    """Directory that was opened."""

    @property
    def version(self) -> str:
        """Beginning of the bundle's id: another model is another version."""
        return self.session.manifest.id[:VERSION_DIGITS]

    def run(self, graphs: tuple[str, ...], rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Return the outputs of `graphs`, which have the same input, for `rows`."""
        session = self.inline if self.cost(graphs).inline(len(rows)) else self.session
        if len(graphs) == 1:
            return session.run(graphs[0], rows)
        return {name: values for graph in graphs for name, values in session.run(graph, rows).items()}

    def cost(self, graphs: tuple[str, ...]) -> Cost:
        """Return the cost of `run`."""
        costs = [self.costs[graph] for graph in graphs]
        return Cost(sum(cost.first_s for cost in costs), sum(cost.more_s for cost in costs))

    def ways(self) -> list[tuple[str, ...]]:
        """Return the entries of WAYS that this bundle has the graphs for."""
        return [way for way in WAYS if set(way) <= self.outputs.keys()]


def make_ready(path: str | Path, opening: Opening, max_batch: int) -> Ready:
    """Open and check the bundle at `path`; nothing of it is read later.

    Raises:
        BundleError: damaged, or its results here differ from its golden rows.
        ProviderError: the provider does not work here.
    """
    session, inline = opening.load(path), opening.load(path, threads=1)
    if failed := [
        f"{one.graph} {one.output}"
        for one in verify_bundle(
            path, provider=opening.provider, public_key=opening.public_key, limits=opening.limits
        )
        if not one.passed
    ]:
        raise BundleError(
            f"{path}: {', '.join(failed)} of the golden rows differ; do not serve it here, export it again"
        )
    bundle = Bundle.open_whole(path, limits=opening.limits)
    if not bundle.manifest == session.manifest == inline.manifest:
        raise BundleError(f"{path}: was replaced by another bundle in the meantime; open it again")
    golden = read_golden(bundle)
    inputs, outputs, costs = {}, {}, {}
    for graph in session.graphs:
        source = "embedding" if graph == "decoder" else "features"
        rows = np.ascontiguousarray(golden[source], np.float32)
        inputs[graph] = tensor_of(source, rows)
        found = session.run(graph, rows[:1])
        outputs[graph] = tuple(tensor_of(name, values) for name, values in found.items())
        costs[graph] = measured(partial(session.run, graph), rows, max_batch)
        if costs[graph].inline(1):
            costs[graph] = measured(partial(inline.run, graph), rows, max_batch)
    calibrated: tuple[TensorSpec, ...] = ()
    if session.manifest.variants[session.precision].calibrator is not None:
        made = session.calibrated(np.zeros(1, np.float32))
        calibrated = tuple(tensor_of(name, values) for name, values in made.items())
    return Ready(session, inline, inputs, outputs, costs, _expected(bundle, session), calibrated, Path(path))


def _expected(bundle: Bundle, session: AutoencoderSession) -> Expected:
    """Return what live rows are compared with."""
    baseline: Baseline | None = read_baseline(bundle)
    if baseline is None:
        with contextlib.suppress(InputError):  # no golden row is normal
            baseline = baseline_of_golden(bundle)
    own = session.threshold == bundle.manifest.variants[session.precision].threshold
    promised, interval = promised_share(bundle.manifest, MOST_CHANCE) if own else (None, None)
    return Expected(baseline, session.threshold, promised, interval)
