"""The autoencoder itself."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from aetool.model.config import AutoencoderConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
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
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        widths = config.widths
        self.encoder = _layers(widths, config, activate_last=True)
        dropped = config.dropout_on in ("embedding", "both")
        self.dropout = nn.Dropout(config.dropout if dropped else 0.0)
        self.decoder = _layers(widths[::-1], config, activate_last=False)

    def encode(self, features: Tensor) -> Tensor:
        """(batch, n_features) -> (batch, embedding_dim)"""
        embedding: Tensor = self.encoder(features)
        return embedding

    def decode(self, embedding: Tensor) -> Tensor:
        """(batch, embedding_dim) -> (batch, n_features)"""
        reconstruction: Tensor = self.decoder(embedding)
        return reconstruction

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n_features) -> embedding (batch, embedding_dim), reconstruction (batch, n_features)."""
        if self.training and self.config.input_noise > 0:
            features = features + self.config.input_noise * torch.randn_like(features)
        embedding = self.encode(features)
        return embedding, self.decode(self.dropout(embedding))


def _layers(widths: tuple[int, ...], config: AutoencoderConfig, *, activate_last: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width_in, width_out))
        if i < last or activate_last:
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(width_out))
            layers.append(ACTIVATIONS[config.activation]())
        if i < last and config.dropout > 0 and config.dropout_on in ("hidden", "both"):
            layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers)
