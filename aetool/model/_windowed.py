"""`Windowed`: a pipeline of flat rows as one of windows; a missing value may be the last one before it."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aetool.model.pipeline import Outputs
from aetool.model.statistics import Statistics


class Windowed(nn.Module):
    """Windows, (batch, window, channels), through a pipeline of rows, (batch, window * channels).

    Where it `holds`, a missing value is the last one of its channel before it in the window, and counts like any
    other; what has none before it is left to the pipeline.
    """

    def __init__(self, flat: nn.Module, window: int, channels: int, *, holds: bool) -> None:
        """Put a pipeline behind a window's shape."""
        super().__init__()
        self.flat, self.window, self.channels = flat, window, channels
        # Each step looks twice as far back as the one before: see `forward`.
        self.steps = [1 << power for power in range((window - 1).bit_length())] if holds else []
        for step in self.steps:
            self.register_buffer(f"back_{step}", torch.arange(window).sub(step).clamp(min=0))

    def forward(self, features: Tensor) -> Outputs:
        """Map (batch, window, channels) in raw units to all outputs."""
        for step in self.steps:
            # After it, a value is the last of the 2 * step before it that is there.
            earlier = torch.index_select(features, 1, getattr(self, f"back_{step}"))
            features = torch.where(torch.isnan(features), earlier, features)
        found: Outputs = self.flat(features.reshape(-1, self.window * self.channels))
        shape = -1, self.window, self.channels
        second = None if found.alternative is None else found.alternative.reshape(shape)
        return Outputs(
            found.embedding,
            found.reconstruction.reshape(shape),
            found.score,
            found.contribution.reshape(shape),
            second,
        )


def held(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows, (windows, window, channels), with the last value before each missing one, as `Windowed`."""
    places = np.where(np.isnan(windows), 0, np.arange(windows.shape[1])[:, None])
    return np.take_along_axis(windows, np.maximum.accumulate(places, axis=1), axis=1)


def repeated(statistics: Statistics, window: int) -> Statistics:
    """Return statistics of channels as those of a window's flat row."""
    return replace(
        statistics,
        mean=np.tile(statistics.mean, window),
        scale=np.tile(statistics.scale, window),
        fill=None if statistics.fill is None else np.tile(statistics.fill, window),
    )
