"""`Pipeline`: raw features in, all outputs out; the network between its scaling and its score."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aetool.model._one_hot import OneHot
from aetool.model.network import Autoencoder
from aetool.model.prototypes import Nearest, Prototypes
from aetool.model.statistics import Statistics

BLOCK_ROWS = 65_536


class Outputs(NamedTuple):
    """Outputs of a pipeline."""

    embedding: Tensor | None
    """(batch, embedding_dim); None where a module gives none"""
    reconstruction: Tensor
    """(batch, ...), raw units"""
    score: Tensor
    """(batch,)"""
    contribution: Tensor
    """(batch, ...), of each feature to the score: 0 or more, and the score is their sum"""
    alternative: Tensor | None = None
    """The reconstruction with the second category where two are so near that rounding decides; for parity."""


class Pipeline(nn.Module):
    """The definition of what a bundle computes; in float64 it is the reference for every other form.

    z = (x - mean) / scale             x: raw features, missing values replaced first, then categories one-hot
    embedding = encode(z)
    y = decode(embedding)
    reconstruction = y * scale + mean  of categories: the index of the largest
    score = mean((z - y)**2 + w (z - c)**2)  over encoded features, without those of missing values that were
                                       filled in; c: the prototype nearest to z, where there are prototypes, w:
                                       their weight
    contribution = (z - y)**2 + w (z - c)**2, over the count of the same, 0 for the missing; those of a column's
                                       categories summed

    A row without any value has no score: NaN, which is an anomaly.
    """

    mean: Tensor
    scale: Tensor
    fill: Tensor | None
    fillable: Tensor | None
    """Columns in which a missing value is filled; None: in all."""

    def __init__(
        self,
        network: Autoencoder,
        statistics: Statistics,
        encoding: OneHot | None = None,
        prototypes: Prototypes | None = None,
    ) -> None:
        """Put a network between its scaling and its score; without prototypes, that is the reconstruction's."""
        super().__init__()
        self.network = network
        self.encoding = encoding
        self.register_buffer("mean", torch.from_numpy(statistics.mean.copy()))
        self.register_buffer("scale", torch.from_numpy(statistics.scale.copy()))
        self.register_buffer("fill", None)
        self.register_buffer("fillable", None)
        if statistics.fill is not None:
            fill = torch.from_numpy(statistics.fill.copy())
            self.fill, fillable = torch.nan_to_num(fill), torch.logical_not(torch.isnan(fill))
            self.fillable = None if bool(fillable.all()) else fillable
        self.leaves_out = statistics.leaves_out
        self.nearest = None
        if prototypes is not None:
            centres = torch.from_numpy(prototypes.rows).double()
            self.nearest = Nearest(centres, prototypes.weight, leaves_out=self.leaves_out)

    def missing(self, features: Tensor) -> Tensor | None:
        """Return a mask of encoded features that are left out of the score, (batch, n_encoded); None if none
        ever is."""
        return missing_of(features, self.encoding) if self.leaves_out else None

    def standardise(self, features: Tensor) -> Tensor:
        """Return the network's input, (batch, n_encoded)."""
        features = filled(features, self.fill, self.fillable)
        if self.encoding is not None:
            features = self.encoding(features)
        return (features - self.mean) / self.scale

    def forward(self, features: Tensor) -> Outputs:
        """Map (batch, n_features) in raw units to all outputs."""
        missing = self.missing(features)
        standardised = self.standardise(features)
        embedding = self.network.encode(standardised)
        reconstructed = self.network.decode(embedding)
        residual = standardised - reconstructed
        near = None if self.nearest is None else self.nearest(standardised, missing)
        raw, (score, contribution) = reconstructed * self.scale + self.mean, scored(residual, missing, near)
        if self.encoding is None:
            return Outputs(embedding, raw, score, contribution)
        contribution = self.encoding.sum_categories(contribution)
        return Outputs(embedding, self.encoding.decode(raw), score, contribution, self.encoding.decode_second(raw))


def filled(features: Tensor, fill: Tensor | None, fillable: Tensor | None) -> Tensor:
    """Return features with `fill`, (n_features,), for missing values, in columns that are `fillable`."""
    if fill is None:
        return features
    missing = torch.isnan(features)
    return torch.where(missing if fillable is None else torch.logical_and(missing, fillable), fill, features)


def missing_of(features: Tensor, encoding: OneHot | None) -> Tensor:
    """Return a mask of encoded features that come from a missing value, (batch, n_encoded)."""
    missing = torch.isnan(features)
    return missing if encoding is None else torch.index_select(missing, 1, encoding.source)


def scored(
    residual: Tensor, missing: Tensor | None, near: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the score, (batch,), and its terms, (batch, n_encoded), without missing values.

    Args:
        residual: difference of row and reconstruction, (batch, n_encoded).
        missing: mask of the values that are left out; None: none is.
        near: what `Nearest` gives; None without prototypes.
    """
    known = residual if missing is None else torch.where(missing, 0.0, residual)
    squares = known * known
    if missing is None and near is None:
        return torch.mean(squares, dim=1), squares / squares.shape[1]
    total = torch.sum(squares, dim=1)
    if near is not None:
        total, squares = total + near[0], squares + near[1]
    if missing is None:
        return total / squares.shape[1], squares / squares.shape[1]
    count = torch.sum(torch.logical_not(missing).to(squares.dtype), dim=1)
    return total / count, squares / count[:, None]


def evaluate_rows(
    module: Callable[[Tensor], Outputs],
    rows: NDArray[np.generic],
    dtype: torch.dtype,
    rows_at_once: int = BLOCK_ROWS,
) -> dict[str, NDArray[np.float64]]:
    """Return outputs by name for (rows, ...), computed in blocks; `module` must be in eval mode."""
    blocks = []
    with torch.inference_mode():
        for start in range(0, max(len(rows), 1), rows_at_once):
            # The rows as a deployed model receives them: float32, whatever the arithmetic after.
            with np.errstate(over="ignore"):  # beyond float32 is infinite there, and scores so
                block = np.array(rows[start : start + rows_at_once], dtype=np.float32)
            outputs = module(torch.from_numpy(block).to(dtype))._asdict()
            blocks.append({name: part.double().numpy() for name, part in outputs.items() if part is not None})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
