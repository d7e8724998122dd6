"""Encoders and decoders of windows: convolutions over time, or a GRU each way.

Both take and give windows as flat rows, (batch, window * channels), the channels of one time side by side, as
dense layers do: scaling, score and training are the same for all.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

_KERNEL = 5
"""Rows that a filter sees."""


def convolutional(
    window: int,
    channels: int,
    filters: Sequence[int],
    embedding_dim: int,
    activation: Callable[[], nn.Module],
    dropout: float,
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return an encoder that halves the time with each convolution, and a decoder that doubles it again."""
    widths = [channels, *(filters or (_default_filters(channels),))]
    length = _lengths(window, len(widths) - 1)[-1]
    down: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        down += [nn.Conv1d(width_in, width_out, _KERNEL, stride=2, padding=_KERNEL // 2), activation()]
        down += [nn.Dropout(dropout)] if dropout else []
    up: list[nn.Module] = []
    for width_in, width_out in pairwise(widths[::-1]):
        up += [activation()] if up else []
        up += [nn.ConvTranspose1d(width_in, width_out, 4, stride=2, padding=1)]
    flat = widths[-1] * length
    encoder = nn.Sequential(
        ToChannels(window, channels), *down, nn.Flatten(), nn.Linear(flat, embedding_dim), activation()
    )
    decoder = nn.Sequential(
        nn.Linear(embedding_dim, flat), activation(), nn.Unflatten(1, (widths[-1], length)), *up, ToRows(window)
    )
    return encoder, decoder


def recurrent(
    window: int,
    channels: int,
    hidden: Sequence[int],
    embedding_dim: int,
    activation: Callable[[], nn.Module],
    dropout: float,
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return a GRU that reads a window, and one that tells it again from the embedding."""
    width = hidden[0] if hidden else embedding_dim
    drop = [nn.Dropout(dropout)] if dropout else []
    encoder = nn.Sequential(
        GruReader(window, channels, width), *drop, nn.Linear(width, embedding_dim), activation()
    )
    return encoder, nn.Sequential(GruTeller(window, channels, width, embedding_dim))


class ToChannels(nn.Module):
    """Flat rows to what a convolution takes, (batch, channels, window)."""

    def __init__(self, window: int, channels: int) -> None:
        """Note the shape of one window."""
        super().__init__()
        self.window, self.channels = window, channels

    def forward(self, flat: Tensor) -> Tensor:
        """Map (batch, window * channels) -> (batch, channels, window)."""
        return flat.reshape(-1, self.window, self.channels).transpose(1, 2)


class ToRows(nn.Module):
    """What a convolution gives, as flat rows; times beyond the window, where halving rounded up, are left out."""

    def __init__(self, window: int) -> None:
        """Note the length of one window."""
        super().__init__()
        self.window = window

    def forward(self, values: Tensor) -> Tensor:
        """Map (batch, channels, window or a little more) -> (batch, window * channels)."""
        return values[:, :, : self.window].transpose(1, 2).flatten(1)


class GruReader(nn.Module):
    """The state of a GRU after a window's last row."""

    def __init__(self, window: int, channels: int, width: int) -> None:
        """Build the layer."""
        super().__init__()
        self.window, self.channels = window, channels
        self.gru = nn.GRU(channels, width, batch_first=True)

    def forward(self, flat: Tensor) -> Tensor:
        """Map (batch, window * channels) -> (batch, width)."""
        states, _ = self.gru(flat.reshape(-1, self.window, self.channels))
        last: Tensor = states[:, -1]
        return last


class GruTeller(nn.Module):
    """A window from its embedding, which a GRU is given at each of its times."""

    def __init__(self, window: int, channels: int, width: int, embedding_dim: int) -> None:
        """Build the layers."""
        super().__init__()
        self.window = window
        self.gru = nn.GRU(embedding_dim, width, batch_first=True)
        self.last = nn.Linear(width, channels)

    def forward(self, embedding: Tensor) -> Tensor:
        """Map (batch, embedding_dim) -> (batch, window * channels)."""
        states, _ = self.gru(embedding[:, None, :].expand(-1, self.window, -1))
        flat: Tensor = torch.flatten(self.last(states), 1)
        return flat


LAYERS = {"conv": convolutional, "gru": recurrent}


def n_weights(kind: str, window: int, channels: int, hidden: Sequence[int], embedding_dim: int) -> int:
    """Return the number of weights of encoder and decoder together, without biases."""
    if kind == "conv":
        widths = [channels, *(hidden or (_default_filters(channels),))]
        flat = widths[-1] * _lengths(window, len(widths) - 1)[-1]
        return sum((_KERNEL + 4) * a * b for a, b in pairwise(widths)) + 2 * flat * embedding_dim
    width = hidden[0] if hidden else embedding_dim
    return 3 * width * (channels + embedding_dim + 2 * width) + width * (embedding_dim + channels)


def _default_filters(channels: int) -> int:
    return max(8, 2 * channels)


def _lengths(window: int, layers: int) -> list[int]:
    """Return the length of a window before and after each convolution."""
    lengths = [window]
    for _ in range(layers):
        lengths.append((lengths[-1] - 1) // 2 + 1)
    return lengths
