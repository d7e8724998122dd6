"""A precision has scores of its own, and so a threshold of its own."""

import numpy as np
from numpy.typing import NDArray

from aetool.export.threshold import CLEAR_GAP, LARGEST_SCORE, Threshold, choose_threshold


def matched_threshold(model: NDArray[np.float32], variant: NDArray[np.float32], threshold: float) -> Threshold:
    """Where `variant` flags as many normal rows as `threshold` does in the model.

    Between the same two scores in rank, and as far from them as it was; where no row is flagged, or every one, it
    moves as the highest score does, or the lowest.

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
        value = _between(before, after, len(before) - flagged, threshold)
        if np.min(np.abs(after - value)) <= CLEAR_GAP * value:  # rounding would decide
            value = choose_threshold(after, flagged / len(before), None).value
        return Threshold(
            value,
            {
                "method": "flags the share of normal rows that fp32 flags",
                **rule,
                "flagged_share": float(np.mean(~(after <= value))),
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


def _between(before: NDArray[np.float64], after: NDArray[np.float64], rank: int, threshold: float) -> float:
    """The threshold's place between the scores of ranks `rank` - 1 and `rank`, in the other order."""
    (low, high), (to_low, to_high) = before[rank - 1 : rank + 1], after[rank - 1 : rank + 1]
    place = (threshold - low) / (high - low) if high > low else 0.5
    return float(np.float32(to_low + place * (to_high - to_low)))
