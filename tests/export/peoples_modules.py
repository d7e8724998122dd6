"""Other people's autoencoders, small: what `export_module` is tried on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Plain(nn.Module):
    """Returns the reconstruction alone; has encoder and decoder."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class OtherNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(6, 3), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class NoParts(nn.Module):
    """Reconstruction alone, nothing that can be told apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Pair(Plain):
    """(embedding, reconstruction)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z = self.encoder(x)
        return z, self.decoder(z)


class Swapped(Plain):
    """(reconstruction, embedding)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z = self.encoder(x)
        return self.decoder(z), z


class AsDict(Plain):
    """A dict, with an output more than needed."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        z = self.encoder(x)
        y = self.decoder(z)
        return {"latent": z, "x_hat": y, "error": ((x - y) ** 2).mean(dim=1)}


@dataclass
class Result:
    reconstruction: Tensor
    embedding: Tensor


class AsDataclass(Plain):
    def forward(self, x: Tensor) -> Result:  # type: ignore[override]
        z = self.encoder(x)
        return Result(self.decoder(z), z)


class Convolutional(nn.Module):
    """Images 3x8x8, batch norm, transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
        )
        self.decoder = nn.Sequential(
            nn.Linear(10, 128), nn.ReLU(), nn.Unflatten(1, (8, 4, 4)), nn.ConvTranspose2d(8, 3, 4, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Recurrent(nn.Module):
    """Windows of a series, (batch, 5, 4), through two LSTMs."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.LSTM(4, 8, batch_first=True)
        self.dec = nn.LSTM(8, 8, batch_first=True)
        self.out = nn.Linear(8, 4)

    def states(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.enc(x, self.states(x))
        y, _ = self.dec(h[-1].unsqueeze(1).repeat(1, x.shape[1], 1))
        return self.out(y)


class RecurrentOneRow(Recurrent):
    """Its initial state has a batch of one."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("initial", torch.full((1, 1, 8), 0.3))

    def states(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.initial, self.initial


class FixedReshape(nn.Module):
    """Works for one row only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 20)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(1, 20)).reshape(1, 5, 4)


class Temporal(nn.Module):
    """A temporal convolutional network: dilated causal convolutions with residual connections."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 3, dilation=1))
        self.second = nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 3, dilation=2))
        self.narrow = nn.Conv1d(8, 2, 1)
        self.wide = nn.Conv1d(2, 3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.first(F.pad(x, (2, 0))))
        h = h + F.relu(self.second(F.pad(h, (4, 0))))
        z = self.narrow(F.avg_pool1d(h, 2))
        return z, self.wide(F.interpolate(z, scale_factor=2.0))


class Variational(nn.Module):
    """encode -> (mean, log-variance); forward samples, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.log_variance = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.decoder = nn.Linear(2, 6)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.body(x))
        return self.mean(h), self.log_variance(h)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decode(z), mean, log_variance


class AlwaysDropping(Plain):
    """Dropout called functionally, whatever the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(F.dropout(self.encoder(x), 0.5, training=True))


class BatchStatistics(nn.Module):
    """Batch norm without running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
