"""A fitted PyOD detector with an autoencoder inside, as a module that can be exported."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aetool.errors import ExportError
from aetool.model.foreign.adapter import AdaptedModule
from aetool.model.foreign.scored_module import Scaling, ScoredModule

SUPPORTED = "AutoEncoder, VAE, AE1SVM"


@dataclass(frozen=True, slots=True)
class PyodAutoencoder:
    """The computation of a fitted detector."""

    scored: ScoredModule
    threshold: float
    scores: NDArray[np.float64]
    """Scores of the training rows, as the detector gave them."""
    contamination: float | None
    """Share of the training rows that it flags; None where PyThresh chose the threshold."""
    n_features: int
    kind: str
    """Name of the detector's class."""
    random: bool
    """True if the detector samples when it scores: then the bundle's scores vary less than its own."""


def from_pyod(detector: Any) -> PyodAutoencoder:
    """Read a fitted `AutoEncoder`, `VAE` (by the mean of its embedding) or `AE1SVM` (its autoencoder).

    Their score is the Euclidean distance between the standardised row and its reconstruction
    (pyod.utils.stat_models.pairwise_distances_no_broadcast); they standardise with (x - mean) / (std + 1e-8).
    AE1SVM's decision function is that distance too.

    Raises:
        ExportError: not one of these, or not fitted.
    """
    kind = type(detector).__name__
    if isinstance(getattr(detector, "net", None), nn.Module):  # DeepOD's name for it
        raise ExportError(
            f"{kind}: a PyOD detector is expected ({SUPPORTED}); where its network is an autoencoder, give it to "
            "aetool.export.export_module(detector.net, ...)"
        )
    if not isinstance(getattr(detector, "model", None), nn.Module) or not hasattr(detector, "threshold_"):
        raise ExportError(f"{kind}: a fitted PyOD detector is expected ({SUPPORTED}); call fit first")
    module: nn.Module = getattr(detector.model, "_orig_mod", detector.model)
    if hasattr(module, "reparameterize"):
        network: nn.Module = _MeanOfVae(module)
    elif hasattr(module, "autoencoder") or hasattr(module, "rff"):
        network = _Autoencoder1Svm(module)
    elif hasattr(module, "encoder") and hasattr(module, "decoder"):
        network = module
    else:
        raise ExportError(f"{kind}: contains no known autoencoder; supported are {SUPPORTED}")
    mean, std = _standardisation(detector)
    width = int(getattr(detector, "feature_size", None) or len(mean if mean is not None else _inputs(module)))
    sample = torch.zeros(2, width)
    return PyodAutoencoder(
        scored=ScoredModule(
            AdaptedModule(network, sample),
            "euclidean",
            None if mean is None or std is None else Scaling(mean, std + 1e-8),
        ),
        threshold=float(detector.threshold_),
        scores=np.sort(np.asarray(detector.decision_scores_, np.float64)),
        contamination=(float(detector.contamination) if isinstance(detector.contamination, int | float) else None),
        n_features=width,
        kind=kind,
        random=isinstance(network, _MeanOfVae),
    )


def _standardisation(detector: Any) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    if not getattr(detector, "preprocessing", False):
        return None, None
    mean = detector.X_mean if hasattr(detector, "X_mean") else detector.mean
    std = detector.X_std if hasattr(detector, "X_std") else detector.std
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    # A constant column, such as 7.7, is another constant in float32; divided by 1e-8, the difference would be all
    # there is in the score.
    constant = std <= np.spacing(np.abs(mean).astype(np.float32))
    return np.where(constant, mean.astype(np.float32), mean), std


def _inputs(module: nn.Module) -> range:
    first = next(part for part in module.modules() if isinstance(part, nn.Linear))
    return range(first.in_features)


class _MeanOfVae(nn.Module):
    """A variational autoencoder without its sampling."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.vae = module

    def encoder(self, features: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(features)[0]  # type: ignore[operator]
        return mean

    def decoder(self, embedding: Tensor) -> Tensor:
        reconstruction: Tensor = self.vae.decode(embedding)  # type: ignore[operator]
        return reconstruction

    def forward(self, features: Tensor) -> Tensor:
        return self.decoder(self.encoder(features))


class _Autoencoder1Svm(nn.Module):
    """The autoencoder of InnerAE1SVM, whose forward also gives random Fourier features."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module
        self.encoder, self.decoder = module.encoder, module.decoder

    def forward(self, features: Tensor) -> Tensor:
        reconstruction: Tensor = self.inner(features)[0]
        return reconstruction
