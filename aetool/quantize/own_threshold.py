"""A precision has scores of its own, and so a threshold of its own."""

import numpy as np
from numpy.typing import NDArray

from aetool.export.threshold import LARGEST_SCORE, Threshold, choose_threshold


def matched_threshold(model: NDArray[np.float32], variant: NDArray[np.float32], threshold: float) -> Threshold:
    """Where `variant` flags as many normal rows as `threshold` does in the model.

    Where that is none of them, or all, the threshold moves as the highest score does, or the lowest.

    Args:
        model, variant: scores of the same normal rows, (rows,).
    """
    there = np.isfinite(model) & np.isfinite(variant)
    before, after = (np.sort(score[there]).astype(np.float64) for score in (model, variant))
    flagged = int(np.count_nonzero(~(before <= threshold)))
    rule = {"rows": len(before), "flagged_share": flagged / max(len(before), 1)}
    if threshold >= LARGEST_SCORE or len(before) == 0:
        return Threshold(threshold, {"method": "that of fp32", **rule})
    if 0 < flagged < len(before):
        chosen = choose_threshold(after, flagged / len(before), None)
        return Threshold(
            chosen.value,
            {
                "method": "flags the share of normal rows that fp32 flags",
                **rule,
                "flagged_share": chosen.rule["flagged_share"],
                "fp32_flagged_share": flagged / len(before),
            },
        )
    end = 0 if flagged else -1
    ratio = after[end] / before[end] if before[end] > 0 else 1.0
    moved = float(np.float32(threshold * ratio))
    share = float(np.mean(~(after <= moved)))
    return Threshold(
        moved,
        {
            "method": f"moved as the {'lowest' if flagged else 'highest'} score of the normal rows",
            **rule,
            "flagged_share": share,
            "fp32_flagged_share": flagged / len(before),
        },
    )
