"""Evidence that a module is a function of each row alone, before it is traced."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from aetool.errors import ExportError
from aetool.export.candidate import Reference, Rows
from aetool.model.adapter import has_mean, own_copy
from aetool.model.pipeline import BLOCK_ROWS, evaluate_rows
from aetool.model.scored import ScoredModule

REPEATS = 3
CROWD_ROWS, CROWD_NUMBERS = 1000, 1 << 22
"""Most rows of a large batch, and most numbers in it."""
SAMPLE_ROWS = 7
"""To trace with: no number of layers, channels or steps is likely to be taken for it."""
SAME = 1e-5
"""Difference between a row alone and among others, relative to the output's size, that rounding explains."""


def require_function(scored: ScoredModule, sample: Tensor, module: nn.Module) -> None:
    """Run a module repeatedly, on single rows, and on many.

    Raises:
        ExportError: the results differ; the message tells what is usually behind it.
    """
    kind, scored = type(module).__name__, scored.as_reference(torch.float32)
    # A forward may branch on the size of its batch. A module that is traced with one row takes no more.
    times = min(CROWD_ROWS, CROWD_NUMBERS // sample[0].numel()) // len(sample)
    crowd = torch.cat([sample] * max(1, times))
    with torch.no_grad():
        try:
            runs = [scored(sample) for _ in range(REPEATS)]
            alone = [scored(sample[i : i + 1]) for i in range(len(sample))]
            among = scored(crowd) if len(sample) > 1 else runs[0]
        except Exception as error:
            raise ExportError(
                f"{kind}: fails on {len(sample)} rows or on one ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}); forward must take any batch: no batch norm in training "
                "mode, no shape that is fixed"
            ) from error
    for name, first, *others in zip(runs[0]._fields, *runs, strict=True):
        if first is not None and not all(_same(first, other, 0.0) for other in others):
            remedy = (
                "export its mean with --latent mean"
                if has_mean(module)
                else "make dropout and sampling depend on self.training"
            )
            raise ExportError(
                f"{kind}: runs on the same rows differ in {name}: something is random in eval mode; {remedy}"
            )
    for i, single in enumerate(alone):
        for name, one, few, many in zip(single._fields, single, runs[0], among, strict=True):
            if one is not None and not (_same(one[0], few[i], SAME) and _same(one[0], many[i], SAME)):
                raise ExportError(
                    f"{kind}: the {name} of a row depends on the other rows of its batch: batch norm in training "
                    "mode (track_running_stats=False, or training=True), or a recurrent layer without "
                    "batch_first=True? Use running statistics in eval mode, and the batch in front"
                )


def usable_sample(module: nn.Module, rows: Rows) -> Tensor:
    """Some rows to trace with, or one where the module takes no more; more than one leaves the batch free."""
    several = some_rows(rows)
    own = own_copy(module)
    with torch.no_grad():
        try:
            own(several)
        except Exception:  # noqa: BLE001 - what is wrong, if it is not the number of rows, shows again with one
            return several[:1]
    return several


def some_rows(rows: Rows) -> Tensor:
    """SAMPLE_ROWS of the rows, repeated where they are fewer."""
    return torch.from_numpy(np.resize(rows[:SAMPLE_ROWS], (SAMPLE_ROWS, *rows.shape[1:])))


def reference_of(scored: ScoredModule, sample: Tensor) -> "tuple[Evaluate, str]":
    """The module in float64, or in float32 where its forward allows nothing else; and what to call it."""
    block = 1 if len(sample) == 1 else BLOCK_ROWS
    evaluate = Evaluate(scored.as_reference(torch.float64), torch.float64, block)
    try:
        evaluate(sample.numpy())
    except ExportError:  # its forward makes float32 tensors of its own
        return Evaluate(scored.as_reference(torch.float32), torch.float32, block), "PyTorch in float32"
    return evaluate, "PyTorch in float64"


@dataclass(frozen=True, slots=True)
class Evaluate:
    """rows -> outputs by name, in PyTorch."""

    module: ScoredModule
    dtype: torch.dtype
    block: int
    """Rows at once."""

    def __call__(self, rows: Rows) -> Reference:
        # What forward makes itself (an initial state, say) then has the right type as well.
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            return dict(evaluate_rows(self.module, rows, self.dtype, self.block))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            kind = type(self.module.network.module).__name__
            raise ExportError(
                f"{kind} fails on {len(rows)} rows ({type(error).__name__}: {reason}); forward must take any "
                "batch of such rows"
            ) from error
        finally:
            torch.set_default_dtype(before)


def _same(first: Tensor, second: Tensor, tolerance: float) -> bool:
    if first.shape != second.shape:
        return False
    a, b = torch.nan_to_num(first.double()), torch.nan_to_num(second.double())
    size = max(float(a.abs().max()), 1e-30) if a.numel() else 1.0
    return bool((a - b).abs().max() <= tolerance * size) if a.numel() else True
