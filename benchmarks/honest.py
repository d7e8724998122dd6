"""Honest autoencoders as people write them, each with rows that it learns well: what no proof may refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, STEPS, CHANNELS = 12, 8, 4
IMAGE = (3, 8, 8)


class Dense(nn.Module):
    """Layers of PyOD's and most tutorials' kind."""

    def __init__(
        self, activation: Callable[[], nn.Module] = nn.Tanh, norm: Any = None, dropout: float = 0.1
    ) -> None:
        super().__init__()

        def block(a: int, b: int) -> list[nn.Module]:
            return [nn.Linear(a, b), *([norm(b)] if norm else []), activation(), nn.Dropout(dropout)]

        self.encoder = nn.Sequential(*block(WIDTH, 32), nn.Linear(32, 6))
        self.decoder = nn.Sequential(*block(6, 32), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Tied(nn.Module):
    """A decoder that is the encoder's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.hidden = nn.Parameter(torch.randn(8, WIDTH) * 0.3), nn.Parameter(torch.zeros(8))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def encode(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.hidden)

    def decode(self, z: Tensor) -> Tensor:
        return F.linear(z, self.weight.t(), self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Variational(nn.Module):
    """Samples in training, goes by its mean in eval mode; (reconstruction, mean, log-variance), as in pythae."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 32), nn.Tanh())
        self.mu, self.log_variance = nn.Linear(32, 6), nn.Linear(32, 6)
        self.decoder = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.body(x)
        mean, log_variance = self.mu(hidden), self.log_variance(hidden)
        z = mean + torch.randn_like(mean) * torch.exp(log_variance / 2) * 1e-3 if self.training else mean
        return self.decoder(z), mean, log_variance


class Residual(nn.Module):
    """Skips around every block, GELU and layer normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for block in self.blocks:
            h = h + block(h)
        return self.out(h)


class Convolutional(nn.Module):
    """Strided convolutions down, transposed ones up, a norm between."""

    def __init__(self, norm: Callable[[int], nn.Module] = nn.BatchNorm2d, skip: bool = False) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), norm(24), nn.ReLU(), nn.Conv2d(24, 48, 3, 1, 1))
        self.up = nn.Sequential(
            nn.LeakyReLU(), nn.ConvTranspose2d(48, 24, 4, 2, 1), nn.ReLU(), nn.Conv2d(24, 3, 3, 1, 1)
        )
        self.skip = nn.Conv2d(3, 3, 1) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.down(x))
        return y if self.skip is None else y + self.skip(x)


class Pooled(nn.Module):
    """Maximum pooling down, upsampling up, group normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.SiLU(), nn.AvgPool2d(2)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(32, 3, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Recurrent(nn.Module):
    """LSTM or GRU in the layouts of tutorials."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM, layout: str = "repeat") -> None:
        super().__init__()
        both = layout == "both ways"
        self.layout = layout
        self.encoder = kind(
            CHANNELS, 24, num_layers=2 if layout == "stacked" else 1, batch_first=True, bidirectional=both
        )
        width = 48 if both else 24
        self.decoder = kind(width, 32, batch_first=True)
        self.out = nn.Linear(32, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.encoder(x)
        if self.layout == "repeat":
            states = states[:, -1:, :].repeat(1, x.shape[1], 1)
        elif self.layout == "backwards":
            states = torch.flip(states, [1])
        y = self.out(self.decoder(states)[0])
        return torch.flip(y, [1]) if self.layout == "backwards" else y


class Temporal(nn.Module):
    """Dilated causal convolutions with residual connections and weight normalisation; channels first."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.first, self.second = norm(nn.Conv1d(CHANNELS, 24, 3)), norm(nn.Conv1d(24, 24, 3, dilation=2))
        self.narrow, self.wide = nn.Conv1d(24, 6, 1), nn.Conv1d(6, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(F.pad(x, (2, 0))))
        h = h + F.relu(self.second(F.pad(h, (4, 0))))
        return self.wide(self.narrow(h))


class Attention(nn.Module):
    """A transformer's encoder over the steps of a window."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(CHANNELS, 16), nn.Linear(16, CHANNELS)
        self.position = nn.Parameter(torch.randn(1, STEPS, 16) * 0.1)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        return self.out(h + 0.1 * self.layers(h + self.position))


class Reversible(nn.Module):
    """Each window standardised by its own mean and spread, and put back (reversible instance normalisation)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(STEPS * CHANNELS, 24), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(24, STEPS * CHANNELS), nn.Unflatten(1, (STEPS, CHANNELS)))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=1, keepdim=True)
        spread = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + 1e-5)
        return self.decoder(self.encoder((x - mean) / spread)) * spread + mean


class RootMeanSquare(Dense):
    """RMS normalisation in front."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.9 + 0.1 * self.decoder(self.encoder(self.norm(x)))


class Flat(nn.Module):
    """Takes images, gives them back flat."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ELU(), nn.Linear(64, 192))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


TABLE, WINDOWS, CHANNELS_FIRST = (WIDTH,), (STEPS, CHANNELS), (CHANNELS, STEPS)
FAMILIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    **{
        f"dense {kind.__name__}": ((lambda kind=kind: Dense(kind)), TABLE)
        for kind in (nn.ReLU, nn.Tanh, nn.GELU, nn.ELU)
    },
    "dense batch norm": (lambda: Dense(nn.ReLU, nn.BatchNorm1d), TABLE),
    "dense layer norm": (lambda: Dense(nn.SiLU, nn.LayerNorm), TABLE),
    "tied weights": (Tied, TABLE),
    "variational": (Variational, TABLE),
    "residual": (Residual, TABLE),
    "RMS norm": (RootMeanSquare, TABLE),
    "convolutional": (Convolutional, IMAGE),
    "convolutional instance norm": (lambda: Convolutional(nn.InstanceNorm2d), IMAGE),
    "convolutional skip": (lambda: Convolutional(skip=True), IMAGE),
    "pooled group norm": (Pooled, IMAGE),
    "flat images": (Flat, IMAGE),
    "LSTM repeat": (lambda: Recurrent(nn.LSTM, "repeat"), WINDOWS),
    "LSTM both ways": (lambda: Recurrent(nn.LSTM, "both ways"), WINDOWS),
    "GRU states": (lambda: Recurrent(nn.GRU, "states"), WINDOWS),
    "GRU backwards": (lambda: Recurrent(nn.GRU, "backwards"), WINDOWS),
    "LSTM stacked": (lambda: Recurrent(nn.LSTM, "stacked"), WINDOWS),
    "temporal convolutional": (Temporal, CHANNELS_FIRST),
    "transformer": (Attention, WINDOWS),
    "reversible instance norm": (Reversible, WINDOWS),
}
SCALINGS = ("standardised", "offset 100", "scaled outside")
ROWS, FEW_ROWS, ENOUGH = 256, 48, 1e-4


def rows_of(shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """(ROWS, ...), FEW_ROWS of images and windows, of three hidden causes and a little noise, standardised."""
    count = ROWS if len(shape) == 1 else FEW_ROWS
    random = np.random.default_rng(seed)
    patterns = random.normal(size=(3, *shape))
    for axis in (2, 3) if len(shape) == 3 else ():
        patterns = sum(np.roll(patterns, shift, axis) for shift in range(4)) / 2
    causes = random.normal(size=(count, 3)) @ patterns.reshape(3, -1)
    rows = np.tanh(causes / 6) + 1e-3 * random.normal(size=causes.shape)
    return ((rows - rows.mean(axis=0)) / rows.std(axis=0)).reshape(count, *shape)


def trained(family: str, seed: int, offset: float = 0.0) -> tuple[nn.Module, NDArray[np.float32], float]:
    """A module of a family, learnt well; its rows; its mean squared error.

    A while in training mode with Adam, for dropout and running statistics; then in eval mode with L-BFGS.
    """
    make, shape = FAMILIES[family]
    torch.manual_seed(seed)
    module, rows = make(), rows_of(shape, seed)
    x = torch.from_numpy(rows.astype(np.float32))

    def error() -> Tensor:
        found = module(x)
        y = found[0] if isinstance(found, tuple) else found
        return F.mse_loss(y.reshape(x.shape), x)

    adam = torch.optim.Adam(module.train().parameters(), 1e-2)
    for _ in range(100):
        adam.zero_grad()
        error().backward()
        adam.step()
    module.eval()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    exact = torch.optim.LBFGS(parameters, max_iter=40, history_size=50, line_search_fn="strong_wolfe")

    def closure() -> float:
        exact.zero_grad()
        loss = error()
        loss.backward()
        return loss.item()

    loss = float("inf")
    for _ in range(100):
        exact.step(closure)
        with torch.no_grad():
            loss = float(error())
        if loss < ENOUGH:
            break
    return Shifted(module, offset) if offset else module, (rows + offset).astype(np.float32), loss


class Shifted(nn.Module):
    """A module on rows far from zero, which subtracts and adds their offset itself."""

    def __init__(self, module: nn.Module, offset: float) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("offset", torch.tensor(offset))

    def forward(self, x: Tensor) -> Tensor:
        found = self.module(x - self.offset)
        y = found[0] if isinstance(found, tuple) else found
        return y.reshape(x.shape) + self.offset
