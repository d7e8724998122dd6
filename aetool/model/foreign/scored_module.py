"""An adapted module between its scaling and its score."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aetool.choices import Score
from aetool.model.foreign.adapter import AdaptedModule
from aetool.model.pipeline import Outputs

DEFINITIONS: dict[Score, str] = {
    "mse": "mean of the squared difference between the input and its reconstruction",
    "mae": "mean of the absolute difference between the input and its reconstruction",
    "euclidean": "Euclidean distance between the input and its reconstruction",
}


SMALLEST = float(np.finfo(np.float32).tiny)
"""Distances below have no contributions: nothing to divide them by."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """z = (x - mean) / scale, per column, float64."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


class InDouble(nn.Module):
    """A scored module that computes in float64 between float32 ends: for where float32 rounds too much."""

    def __init__(self, scored: "ScoredModule") -> None:
        """Copy a scored module in float64."""
        super().__init__()
        self.scored = copy.deepcopy(scored).double().eval()
        self.scored.network.in_double = True

    def forward(self, features: Tensor) -> Outputs:
        """Map (batch, ...) in raw units to all outputs."""
        outputs: Outputs = self.scored(features.double())
        embedding = None if outputs.embedding is None else outputs.embedding.float()
        return Outputs(
            embedding, outputs.reconstruction.float(), outputs.score.float(), outputs.contribution.float()
        )


class ScoredModule(nn.Module):
    """Raw input in; embedding, reconstruction in raw units and score out.

    z = (x - mean) / scale                  where there is a scaling
    embedding, y = module(z)
    reconstruction = y * scale + mean
    score = mean((z - y)**2)                "mse"; all axes but the batch's
          | mean(|z - y|)                   "mae"
          | sqrt(sum((z - y)**2))           "euclidean"
    contribution = the terms of that mean; (z - y)**2 / score for "euclidean": they add up to the score
    """

    mean: Tensor
    mean_rest: Tensor
    scale: Tensor

    def __init__(self, network: AdaptedModule, score: Score = "mse", scaling: Scaling | None = None) -> None:
        """Put a network between its scaling and its score."""
        super().__init__()
        self.network = network
        self.score = score
        self.scaled = scaling is not None
        if scaling is not None:
            mean = torch.from_numpy(np.asarray(scaling.mean, np.float64))
            self.register_buffer("mean", mean.float().double())
            # A float32 cannot hold the mean: what it leaves out is subtracted after it, where it still counts.
            self.register_buffer("mean_rest", mean - self.mean)
            self.register_buffer("scale", torch.from_numpy(np.asarray(scaling.scale, np.float64)))

    def forward(self, features: Tensor) -> Outputs:
        """Map (batch, ...) in raw units to all outputs."""
        z = (features - self.mean - self.mean_rest) / self.scale if self.scaled else features
        embedding, y = self.network(z)
        residual = z - y
        distance = torch.abs(residual) if self.score == "mae" else residual * residual
        flat = distance.flatten(1) if z.ndim > 2 else distance
        if self.score == "euclidean":
            score = torch.sqrt(torch.sum(flat, dim=1))
            contribution = distance / torch.clamp(score, min=SMALLEST).reshape(-1, *[1] * (z.ndim - 1))
        else:
            score = torch.mean(flat, dim=1)
            contribution = distance / flat.shape[1]
        if self.scaled:
            y = y * self.scale + (self.mean + self.mean_rest)
        return Outputs(embedding, y, score, contribution)

    def in_float32(self) -> "ScoredModule":
        """Return a copy to export, in eval mode."""
        return copy.deepcopy(self).float().eval()

    def as_reference(self, dtype: torch.dtype) -> "ScoredModule":
        """Return a copy that is the reference, in eval mode: the reconstruction comes from forward."""
        reference = copy.deepcopy(self).to(dtype).eval()
        reference.network.as_reference = True
        return reference
