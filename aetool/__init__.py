"""Take an autoencoder from PyTorch to the places where it runs.

    import aetool
    model = aetool.load("exported/breast-cancer")
    model.score(rows)

This face needs numpy and onnxruntime only. Training lives in `aetool.model`, export in `aetool.export`.
"""

from aetool.errors import (
    AetoolError,
    BenchmarkError,
    BundleError,
    CheckpointError,
    DependencyError,
    ExportError,
    InputError,
    OutputError,
    ProviderError,
    VerificationError,
)
from aetool.limits import Limits
from aetool.runtime.autoencoder import AutoencoderSession, load

__version__ = "0.1.0"

__all__ = [
    "AetoolError",
    "AutoencoderSession",
    "BenchmarkError",
    "BundleError",
    "CheckpointError",
    "DependencyError",
    "ExportError",
    "InputError",
    "Limits",
    "OutputError",
    "ProviderError",
    "VerificationError",
    "__version__",
    "load",
]
