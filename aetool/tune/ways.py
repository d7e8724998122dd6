"""The providers and precisions that can run a bundle here within the budget, and why the others cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aetool.budget import Budget
from aetool.bundle import Bundle
from aetool.errors import AetoolError, ProviderError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.runtime.providers import PROVIDERS, candidates
from aetool.runtime.settings import DEFAULTS, Choice
from aetool.tune.candidates import named
from aetool.tune.precisions import Judge, Judged, Sample
from aetool.tune.result import FidelityFigures, Trial

Way = tuple[str, str]
"""Provider and precision."""
Maker = Callable[[Path, Path], object]
"""(bundle, copy): writes a copy of the bundle that has one precision more; an AetoolError says why it cannot."""


@dataclass(frozen=True, slots=True)
class Ways:
    default: Way
    """What `aetool.load` takes where nothing is tuned."""
    within: Mapping[Way, Path]
    """Those that keep the budget -> the bundle that has the precision; the default first."""
    judged: Mapping[Way, Judged]
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
        makers: precision -> what makes it, for those that the bundle lacks.
        scratch: a directory for what they make.
    """
    default = ("auto" if len(candidates("auto")) > 1 else "cpu", "fp32")
    left_out: list[Trial] = []

    def leave_out(way: Way, why: str, figures: FidelityFigures | None = None) -> None:
        choice = Choice(*way, DEFAULTS)
        left_out.append(Trial(named(choice, Choice(*default, DEFAULTS)), choice, figures, (), why))

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
    judge = Judge(bundle, default[0], sample, seed, limits)
    within: dict[Way, Path] = {default: bundle}
    judged: dict[Way, Judged] = {}
    for provider in _providers(default[0], leave_out):
        for precision, place in places.items():
            way = provider, precision
            progress(f"fidelity of {precision} on {provider}")
            try:
                judged[way] = judge.judged(place, *way)
            except ProviderError as error:
                leave_out(way, str(error))
                continue
            if objection := judged[way].objection(budget):
                leave_out(way, objection, judged[way].figures)
            else:
                within[way] = place
    return Ways(default, within, judged, tuple(left_out))


def _providers(default: str, leave_out: Callable[[Way, str], None]) -> list[str]:
    """Those that work with this onnxruntime on this machine, the default first."""
    found = [default]
    for name in PROVIDERS:
        if name == default:
            continue
        try:
            candidates(name)
        except ProviderError as error:
            leave_out((name, "fp32"), str(error))
        else:
            found.append(name)
    return found
