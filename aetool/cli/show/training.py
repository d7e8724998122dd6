"""How a training went, in one line."""

from collections.abc import Mapping, Sequence


def epochs_line(history: Sequence[Mapping[str, float]], of_mean: float | None) -> str:
    """Return `118, best validation loss 0.0613 (the mean: 0.9801), 94% of the variance explained`.

    Args:
        history: one entry per epoch, with its `validation_loss`.
        of_mean: the loss of whoever expects the mean of the training rows; None where that is not known.
    """
    best = min(float(epoch["validation_loss"]) for epoch in history)
    line = f"{len(history)}, best validation loss {best:.4f}"
    if not of_mean:  # an older checkpoint, or rows that are all alike
        return line
    gain = f"{1 - best / of_mean:.0%} of the variance explained" if best < of_mean else "no better than the mean"
    return f"{line} (the mean: {of_mean:.4f}), {gain}"
