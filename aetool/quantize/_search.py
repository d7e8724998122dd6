"""The search for a recipe within the budget: as asked, then with other calibrations, then with layers in float."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aetool.checks.fidelity import Budget, Fidelity
from aetool.checks.parity import rank_correlation
from aetool.choices import CALIBRATIONS, Calibration, Precision
from aetool.errors import BudgetError
from aetool.quantize._convert import Recipe
from aetool.quantize._trial import VariantTrial, Workbench

Progress = Callable[[str], None]
"""Called with the current step."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A recipe and what it came to."""

    recipe: Recipe
    fidelity: Fidelity
    reasons: tuple[str, ...]
    """Exceeded limits of the budget; empty if there are none."""

    @property
    def record(self) -> dict[str, Any]:
        """Return the attempt for manifest and JSON."""
        found = self.fidelity
        return {
            "calibration": self.recipe.calibration if self.recipe.precision == "int8" else None,
            "in_float": list(self.recipe.in_float),
            "flips": found.flips,
            "auroc_drop": found.auroc_drop,
            "rank_correlation": found.rank_correlation,
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        """Return the attempt in words."""
        return f"{self.recipe}: {'; '.join(self.reasons) or 'within the budget'}"


def find_recipe(
    bench: Workbench, precision: Precision, calibration: Calibration, budget: Budget, progress: Progress
) -> tuple[VariantTrial, list[Attempt]]:
    """Return the first trial within the budget, and every attempt.

    Raises:
        BudgetError: none is; the message lists what was tried, and the layer or the column to blame.
    """
    attempts: list[Attempt] = []
    best: VariantTrial | None = None
    least = (np.inf, np.inf)
    for recipe in _recipes(bench, precision, calibration, lambda: attempts, progress):
        progress(f"{precision}: {recipe}")
        trial = bench.make(recipe)
        attempts.append(Attempt(recipe, trial.fidelity, tuple(budget.exceeded(trial.fidelity))))
        if not attempts[-1].reasons:
            return trial, attempts
        if best is None or _cost(trial.fidelity) < least:
            best, least = trial, _cost(trial.fidelity)
    assert best is not None
    raise refused(bench, precision, best, attempts)


def refused(bench: Workbench, precision: Precision, best: VariantTrial, attempts: list[Attempt]) -> BudgetError:
    """Return the error for a precision outside the budget."""
    nearest = min(attempts, key=lambda attempt: attempt.recipe != best.recipe)
    left = max((len(attempt.recipe.in_float) for attempt in attempts), default=0)
    tried = [f"calibration {name}" for name in dict.fromkeys(a.recipe.calibration for a in attempts)]
    tried = tried if precision == "int8" else ["all layers"]
    tried += [f"up to {left} layers in float"] if left else []
    blame = []
    if left:
        most = next(attempt.recipe.in_float[0] for attempt in attempts if attempt.recipe.in_float)
        blame.append(f"the most sensitive layer is {most}")
        blame += [column] if (column := bench.worst_column(best)) is not None else []
    return BudgetError(
        f"{bench.bundle.path}: {precision} was not added: {'; '.join(nearest.reasons)} ({nearest.recipe}). Tried "
        f"{', '.join(tried)}{'; ' if blame else ''}{', and '.join(blame)}. Widen the budget, give other --data, "
        "or keep fp32",
        [attempt.record for attempt in attempts],
    )


def _recipes(
    bench: Workbench,
    precision: Precision,
    calibration: Calibration,
    attempts: Callable[[], list[Attempt]],
    progress: Progress,
) -> Iterator[Recipe]:
    layers = bench.converter.layers(precision)
    yield Recipe(precision, calibration)
    if precision == "int8":
        yield from (Recipe(precision, other) for other in CALIBRATIONS if other != calibration)
    best = min(attempts(), key=lambda attempt: _cost(attempt.fidelity)).recipe.calibration
    progress(f"{precision}: which layers are sensitive")
    damage = {name: _damage(bench, precision, best, layers, name) for name in layers}
    order = sorted(layers, key=lambda name: -damage[name])
    # Every layer more costs speed and bytes; with more than half of them in float little is gained.
    for count in range(1, max(1, len(layers) // 2) + 1):
        if count < len(layers):
            yield Recipe(precision, best, tuple(order[:count]))


def _damage(
    bench: Workbench, precision: Precision, calibration: Calibration, layers: list[str], one: str
) -> float:
    """Return how much one layer alone changes the order of the scores."""
    others = Recipe(precision, calibration, tuple(name for name in layers if name != one))
    before, after = bench.answers.score, bench.scores(others, bench.split.judged)
    lost = float(np.mean(np.isfinite(before) & ~np.isfinite(after)))
    return 1 - rank_correlation(before, after) + lost


def _cost(found: Fidelity) -> tuple[float, float]:
    return found.flips + max(0.0, found.auroc_drop or 0.0), 1 - found.rank_correlation
