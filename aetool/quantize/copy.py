"""A copy of a bundle that has one precision more: what tries it changes nothing of the bundle."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aetool.budget import Budget
from aetool.quantize.convert import Precision
from aetool.quantize.rows import Labels
from aetool.quantize.variant import Quantized, QuantizeOptions, quantize


def quantized_copy(
    bundle: Path, copy: Path, *, rows: NDArray[Any], labels: Labels | None, precision: Precision, budget: Budget
) -> Quantized:
    """Copy `bundle` and add `precision` to the copy; the speed is for the caller to judge.

    Raises:
        BudgetError: it costs more than the budget allows.
        InputError, ExportError, VerificationError: as `quantize`.
    """
    shutil.copytree(bundle, copy)
    faithful = replace(budget, min_speedup=None)
    return quantize(
        copy, rows, labels, precision=precision, options=QuantizeOptions(rounds=2, seconds=0.05), budget=faithful
    )
