"""The providers and precisions that can run a bundle here within the budget, and why the others cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aetool.bench.factories import OUTPUT
from aetool.bench.result import measured_in
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.checks.fidelity import Answers, Budget, Fidelity, fidelity
from aetool.core.native import vectors
from aetool.errors import AetoolError, ProviderError
from aetool.runtime.providers import PROVIDERS, ProviderName, candidates
from aetool.runtime.session import AutoencoderSession
from aetool.runtime.settings import DEFAULTS, RunConfig
from aetool.runtime.tuning_file import FidelityFigures, Trial
from aetool.tune._candidates import named

# Precisions and providers within the budget, found before anything is timed.

MOST_ROWS = 20_000
"""Maximum rows that fidelity is measured on; of more, as many are drawn."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows to measure fidelity on."""

    rows: NDArray[np.float32]
    """(rows, ...)"""
    labels: NDArray[np.bool_] | None
    """(rows,) True for anomalies."""
    source: str
    given: bool
    """True if the user gave the rows, False if they come out of the bundle."""

    def drawn(self, seed: int) -> "Sample":
        """Return MOST_ROWS of them at most."""
        if len(self.rows) <= MOST_ROWS:
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.rows), MOST_ROWS, replace=False))
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, rows=self.rows[chosen], labels=labels, source=f"{MOST_ROWS:,} of {self.source}")


@dataclass(frozen=True, slots=True)
class FidelityResult:
    """A provider and a precision beside the model as it is."""

    fidelity: Fidelity | None
    """None for the model itself."""
    source: str

    @property
    def figures(self) -> FidelityFigures | None:
        """Return the figures that the result keeps."""
        found = self.fidelity
        if found is None:
            return None
        return FidelityFigures(
            found.rows, found.flips, found.rank_correlation, found.embedding_cosine, found.auroc_drop, self.source
        )

    def objection(self, budget: Budget, speedup: float | None = None) -> str:
        """Return the exceeded limits of the budget, in words; empty if there are none."""
        return "" if self.fidelity is None else ", ".join(budget.exceeded(self.fidelity, speedup))


class FidelityCheck:
    """Compares providers and precisions with the default."""

    def __init__(
        self, bundle: Path, provider: str, sample: Sample, seed: int, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        """Compute the default's outputs.

        Args:
            bundle: the bundle's directory.
            provider: provider of the default, whose precision is fp32.
            sample: rows to judge on.
            seed: seed of the bootstrap.
            limits: limits for reading the bundle, see `load`.
        """
        self._sample, self._seed, self._default = sample.drawn(seed), seed, (provider, "fp32")
        self._limits = limits
        self._model = self._answers(bundle, provider, "fp32")

    def judged(self, bundle: Path, provider: str, precision: str) -> FidelityResult:
        """Judge on the rows given, else by what was measured as the variant was made, else on the golden rows.

        Raises:
            ProviderError: the provider does not work here, or does not take the graphs.
            BenchmarkError: the bundle's figures are damaged.
        """
        if (provider, precision) == self._default:
            return FidelityResult(None, "")
        stated: Any = Bundle.open(bundle, limits=self._limits).variant(precision).figures.get("fidelity")
        if stated is not None and not self._sample.given and provider in (self._default[0], "cpu"):
            source = measured_in(f"{bundle}, manifest.json, {precision}")
            return FidelityResult(source.read(Fidelity, stated), "measured as it was made")
        answers = self._answers(bundle, provider, precision)
        return FidelityResult(
            fidelity(self._model, answers, self._sample.labels, seed=self._seed), self._sample.source
        )

    def _answers(self, bundle: Path, provider: str, precision: str) -> Answers:
        rows = self._sample.rows
        with AutoencoderSession(
            bundle,
            provider=cast(ProviderName, provider),
            precision=precision,
            settings=DEFAULTS,
            limits=self._limits,
        ) as model:
            scored = model.run("detector", rows)
            return Answers(
                embedding=model.encode(rows) if "encoder" in model.graphs else None,
                reconstruction=model.reconstruct(rows),
                score=scored["score"],
                is_anomaly=scored["is_anomaly"],
            )


def reference(
    bundle: Path,
    provider: str,
    precision: str,
    graph: str,
    rows: NDArray[np.float32],
    limits: Limits = DEFAULT_LIMITS,
) -> Mapping[str, NDArray[Any]]:
    """Return a precision's outputs for `rows`, which every setting of it must match: output name -> values."""
    with AutoencoderSession(
        bundle, provider=cast(ProviderName, provider), precision=precision, settings=DEFAULTS, limits=limits
    ) as model:
        return {OUTPUT[graph]: getattr(model, graph)(rows)}


Way = tuple[str, str]
"""Provider and precision."""
Maker = Callable[[Path, Path], object]
"""(bundle, copy): writes a copy of the bundle that has one more precision, or raises an AetoolError with the
reason."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Providers and precisions within the budget, and the reasons against the others."""

    default: Way
    """Provider and precision that `aetool.load` uses without tuning."""
    within: Mapping[Way, Path]
    """Those that keep the budget -> the bundle that has the precision; the default first."""
    judged: Mapping[Way, FidelityResult]
    left_out: tuple[Trial, ...]


def find_ways(
    bundle: Path,
    sample: Sample,
    budget: Budget,
    *,
    makers: Mapping[str, Maker],
    scratch: Path,
    seed: int,
    progress: Callable[[str], None],
    limits: Limits = DEFAULT_LIMITS,
) -> Ways:
    """Try every provider with every precision, and judge what comes out.

    Args:
        bundle: the bundle's directory.
        sample: rows to judge on.
        budget: limits of what a precision may cost.
        makers: precision -> function that makes it, for those that the bundle lacks.
        scratch: directory for the bundles that are made.
        seed: seed of the bootstrap.
        progress: called with the current step.
        limits: limits for reading the bundle, see `load`.
    """
    several = len(candidates("auto")) > 1 or vectors() is not None
    default = ("auto" if several else "cpu", "fp32")
    left_out: list[Trial] = []

    def leave_out(way: Way, why: str, figures: FidelityFigures | None = None) -> None:
        choice = RunConfig(*way, DEFAULTS)
        left_out.append(Trial(named(choice, RunConfig(*default, DEFAULTS)), choice, figures, (), why))

    places = dict.fromkeys(Bundle.open(bundle, limits=limits).manifest.variants, bundle)
    for precision, make in makers.items():
        if precision not in places:
            progress(f"{precision} is made")
            copy = scratch / precision / bundle.name
            try:
                make(bundle, copy)
            except AetoolError as error:
                leave_out((default[0], precision), str(error))
            else:
                places[precision] = copy
    judge = FidelityCheck(bundle, default[0], sample, seed, limits)
    within: dict[Way, Path] = {default: bundle}
    judged: dict[Way, FidelityResult] = {}
    for provider in _providers(default[0], leave_out):
        for precision, directory in places.items():
            way = provider, precision
            progress(f"fidelity of {precision} on {provider}")
            try:
                judged[way] = judge.judged(directory, *way)
            except ProviderError as error:
                leave_out(way, str(error))
                continue
            if objection := judged[way].objection(budget):
                leave_out(way, objection, judged[way].figures)
            else:
                within[way] = directory
    return Ways(default, within, judged, tuple(left_out))


def _providers(default: str, leave_out: Callable[[Way, str], None]) -> list[str]:
    """Return the providers that work with this onnxruntime on this machine, the default first."""
    names = [default]
    for name in PROVIDERS:
        if name == default or (name == "native" and default == "auto"):  # which is the core, where it can be
            continue
        try:
            candidates(name)
        except ProviderError as error:
            leave_out((name, "fp32"), str(error))
        else:
            names.append(name)
    return names
