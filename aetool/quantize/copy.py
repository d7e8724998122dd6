"""A copy of a bundle that has one precision more: what tries it changes nothing of the bundle."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aetool.budget import Budget
from aetool.bundle import Bundle
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.publish import publish
from aetool.quantize.convert import Precision
from aetool.quantize.rows import Labels
from aetool.quantize.variant import Quantized, QuantizeOptions, quantize


def quantized_copy(
    bundle: Path,
    copy: Path,
    *,
    rows: NDArray[Any],
    labels: Labels | None,
    precision: Precision,
    budget: Budget,
    limits: Limits = DEFAULT_LIMITS,
) -> Quantized:
    """Copy `bundle` and add `precision` to the copy; the speed is for the caller to judge.

    Raises:
        BudgetError: it costs more than the budget allows.
        InputError, ExportError, VerificationError: as `quantize`.
    """
    opened = Bundle.open_whole(bundle, limits=limits)  # its files alone, of which some may be links
    publish(copy, opened.manifest, {name: opened.read(name) for name in opened.manifest.files})
    faithful = replace(budget, min_speedup=None)
    return quantize(
        copy,
        rows,
        labels,
        precision=precision,
        options=QuantizeOptions(rounds=2, seconds=0.05),
        budget=faithful,
        limits=limits,
    )
