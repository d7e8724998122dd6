"""The autoencoder network, its configuration and that of its training."""

import reprlib
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from aetool.choices import (
    ACTIVATIONS,
    ARCHITECTURES,
    CONSTANT,
    DROPOUT_ON,
    SCORES_BY,
    Activation,
    Architecture,
    Constant,
    DropoutOn,
    ScoreBy,
)
from aetool.errors import InputError
from aetool.model import _window_layers as window_layers

# Configuration of the network and its training

Impute = Literal["mean", "median", "last"]
"""What stands for a missing value; "last" is the last value within a window, and the mean where there is none."""

_BYTES_A_WEIGHT = 40
"""Bytes a weight takes in training: with its gradient, Adam's state, the best and the last epoch."""
_BYTES_A_VALUE = 32
"""Bytes a value of the table takes: as read, standardised, shuffled."""
_MAX_WEIGHTS = 1 << 28
"""Maximum number of weights: an ONNX file holds 2 GiB at most, and a graph contains some weights twice."""


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """The shape of an autoencoder; the defaults are the reference model 256-128-256."""

    n_features: int = 256
    """Columns of the table, channels of a series; one that holds categories counts as many as it has."""
    embedding_dim: int = 128
    """Width of the embedding."""
    hidden_dims: tuple[int, ...] = ()
    """Widths of the layers between features and embedding; the decoder mirrors them."""
    activation: Activation = "leaky_relu"
    """After every layer but the last."""
    dropout: float = 0.5
    """Share of units dropped while training."""
    dropout_on: DropoutOn = "embedding"
    """Which layers' outputs lose units."""
    batch_norm: bool = False
    """Batch normalisation after every layer but the last."""
    input_noise: float = 0.0
    """Standard deviation of the noise added to the standardised features while training (denoising)."""
    architecture: Architecture = "dense"
    """Layers: dense ones; for windows also convolutions over time, or a GRU each way."""
    window: int | None = None
    """Rows of a window, each of `n_features` channels; None: a row stands for itself."""

    def __post_init__(self) -> None:
        """Check the values."""
        _require(isinstance(self.hidden_dims, tuple | list), "hidden_dims", "a list of widths", self.hidden_dims)
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        for name in ("n_features", "embedding_dim"):
            _require(_is_count(getattr(self, name)), name, "an integer of 1 or more", getattr(self, name))
        _require(all(map(_is_count, self.hidden_dims)), "hidden_dims", "integers of 1 or more", self.hidden_dims)
        _require(self.window is None or _is_count(self.window), "window", "an integer of 1 or more", self.window)
        _require(self.architecture in ARCHITECTURES, "architecture", " or ".join(ARCHITECTURES), self.architecture)
        _require(
            self.architecture == "dense" or self.window is not None,
            "architecture",
            "dense, or a window",
            self.architecture,
        )
        found = self.n_weights
        _require(found <= _MAX_WEIGHTS, "widths of the layers", f"{_MAX_WEIGHTS:,} weights at most", found)
        for name, choices in (("activation", ACTIVATIONS), ("dropout_on", DROPOUT_ON)):
            _require(getattr(self, name) in choices, name, " or ".join(choices), getattr(self, name))
        _require(isinstance(self.batch_norm, bool), "batch_norm", "true or false", self.batch_norm)
        share, noise = self.dropout, self.input_noise
        _require(_is_number(share) and 0 <= share < 1, "dropout", "0 or more and below 1", share)
        _require(_is_number(noise) and noise >= 0, "input_noise", "0 or more", noise)
        # Else an option would be taken and do nothing.
        _require(
            self.dropout_on != "hidden" or self.dropout == 0 or bool(self.hidden_dims),
            "dropout_on",
            "embedding, or hidden_dims to drop from",
            self.dropout_on,
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the widths of the encoder's layers, from the features to the embedding."""
        return (self.n_inputs, *self.hidden_dims, self.embedding_dim)

    @property
    def n_inputs(self) -> int:
        """Return how many numbers the network takes: those of all rows of a window."""
        return self.n_features * (self.window or 1)

    @property
    def n_weights(self) -> int:
        """Return the number of weights, without biases."""
        if self.architecture != "dense":
            return window_layers.n_weights(
                self.architecture, self.window or 1, self.n_features, self.hidden_dims, self.embedding_dim
            )
        return 2 * sum(a * b for a, b in pairwise(self.widths))

    def training_bytes(self, rows: int) -> int:
        """Return about how many bytes training takes on a table of `rows`."""
        return self.n_weights * _BYTES_A_WEIGHT + rows * self.n_inputs * _BYTES_A_VALUE

    @classmethod
    def for_width(cls, n_features: int, rows: int | None = None) -> "AutoencoderConfig":
        """Return an architecture for a table of `n_features` columns (`aetool.model.encoded_width`).

        One layer each way with dropout on the embedding, as the reference model. Half as wide as the table
        where the table is wide (256 columns give the reference), up to four times as wide where it is
        narrow: there a bottleneck of a few units loses normal structure, and it is dropout that keeps the
        network from copying its input. No wider than the table has `rows` where it has more columns: rows
        span no more dimensions than there are of them.
        """
        suitable = min(4 * n_features, max(128, n_features // 2))
        if rows is not None and rows < n_features:
            suitable = min(suitable, max(32, rows))
        affordable = _MAX_WEIGHTS // (2 * max(1, n_features))
        return cls(n_features=n_features, embedding_dim=max(1, min(suitable, affordable)))


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How an autoencoder is trained."""

    epochs: int | None = None
    """Passes over the training rows at most; None: as many as small tables need, see `epochs_for`."""
    batch_size: int = 256
    """Rows per step."""
    learning_rate: float = 3e-3
    """Peak of the schedule: a short warm-up, then a cosine down to zero."""
    weight_decay: float = 0.0
    """Adam's L2 penalty."""
    validation_fraction: float | None = None
    """Share of the normal rows held out: they stop the training and set the threshold. None: a tenth, of
    small tables up to a quarter, see `held_out_of`."""
    patience: int = 10
    """Epochs without a better validation loss before training stops."""
    seed: int = 0
    """Same seed, same machine: same weights."""
    impute: Impute | None = None
    """Replacement of missing values, and of infinite ones; with None, they are an error."""
    constant: Constant = "score"
    """A change in a column that never changed in training: score it as evidence, or ignore it."""
    score: ScoreBy = "prototypes"
    """What the score measures: the distance to the reconstruction and to the nearest prototype of the training
    rows, or to the reconstruction alone."""

    def __post_init__(self) -> None:
        """Check the values."""
        _require(self.epochs is None or _is_count(self.epochs), "epochs", "an integer of 1 or more", self.epochs)
        _require(_is_count(self.batch_size), "batch_size", "an integer of 1 or more", self.batch_size)
        rate, decay, share = self.learning_rate, self.weight_decay, self.validation_fraction
        _require(_is_number(rate) and rate > 0, "learning_rate", "above 0", rate)
        _require(_is_number(decay) and decay >= 0, "weight_decay", "0 or more", decay)
        _require(
            share is None or (_is_number(share) and 0 < share < 1), "validation_fraction", "between 0 and 1", share
        )
        _require(_is_count(self.patience), "patience", "an integer of 1 or more", self.patience)
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        _require(whole and 0 <= self.seed < 2**63, "seed", "an integer of 0 or more and below 2**63", self.seed)
        _require(self.impute in (None, *get_args(Impute)), "impute", "mean, median or none", self.impute)
        _require(self.constant in CONSTANT, "constant", " or ".join(CONSTANT), self.constant)
        _require(self.score in SCORES_BY, "score", " or ".join(SCORES_BY), self.score)

    def epochs_for(self, rows: int) -> int:
        """Return the epochs for a table of `rows` training rows: at least 10, and at least 600 steps in all."""
        if self.epochs is not None:
            return self.epochs
        steps = -(-rows // self.batch_size)
        return max(10, -(-600 // steps))

    def held_out_of(self, rows: int) -> int:
        """Return the rows to hold out of `rows`: a tenth, but 100 where a quarter allows; two remain on either
        side."""
        share = self.validation_fraction
        wanted = max(rows / 10, min(100, rows / 4)) if share is None else rows * share
        return min(rows - 2, max(2, round(wanted)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    """Return True if `value` is a finite number that fits a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise InputError(f"{name}: expected {expected}, found {reprlib.repr(found)}")


_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Autoencoder(nn.Module):
    """Encoder, dropout, decoder; works on standardised features.

    With the default config: Linear(256 -> 128), LeakyReLU, Dropout(0.5), Linear(128 -> 256).
    """

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        """Build the layers."""
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        encoder, decoder = _both(config)
        self.encoder = encoder
        dropped = config.dropout_on in ("embedding", "both")
        self.dropout = nn.Dropout(config.dropout if dropped else 0.0)
        self.decoder = decoder

    def encode(self, features: Tensor) -> Tensor:
        """Map (batch, n_inputs) -> (batch, embedding_dim)."""
        embedding: Tensor = self.encoder(features)
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """Map (batch, embedding_dim) -> (batch, n_inputs)."""
        reconstruction: Tensor = self.decoder(embedding)
        return reconstruction

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, n_inputs) -> embedding (batch, embedding_dim), reconstruction (batch, n_inputs)."""
        if self.training and self.config.input_noise > 0:
            features = features + self.config.input_noise * torch.randn_like(features)
        embedding = self.encode(features)
        return embedding, self.decode(self.dropout(embedding))


def _both(config: AutoencoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """Return encoder and decoder."""
    if config.architecture == "dense":
        widths = config.widths
        return _layers(widths, config, activate_last=True), _layers(widths[::-1], config, activate_last=False)
    assert config.window is not None
    shape = config.window, config.n_features, config.hidden_dims, config.embedding_dim
    drops = config.dropout if config.dropout_on in ("hidden", "both") else 0.0
    return window_layers.LAYERS[config.architecture](*shape, _ACTIVATIONS[config.activation], drops)


def _layers(widths: tuple[int, ...], config: AutoencoderConfig, *, activate_last: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width_in, width_out))
        if i < last or activate_last:
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(width_out))
            layers.append(_ACTIVATIONS[config.activation]())
        if i < last and config.dropout > 0 and config.dropout_on in ("hidden", "both"):
            layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers)
