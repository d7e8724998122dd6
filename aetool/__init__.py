"""Take an autoencoder from PyTorch to the places where it runs.

    import aetool
    model = aetool.load("exported/breast-cancer")
    model.score(rows)

This face needs numpy and onnxruntime only. Training lives in `aetool.model`, export in `aetool.export`.
"""

from aetool.bundle.files import Limits
from aetool.errors import (
    AetoolError,
    BenchmarkError,
    BudgetError,
    BundleError,
    CheckpointError,
    DependencyError,
    ExportError,
    InputError,
    OutputError,
    ProviderError,
    ReleaseError,
    VerificationError,
)
from aetool.runtime.following import follow
from aetool.runtime.session import AutoencoderSession, load
from aetool.version import __version__

__all__ = [
    "AetoolError",
    "AutoencoderSession",
    "BenchmarkError",
    "BudgetError",
    "BundleError",
    "CheckpointError",
    "DependencyError",
    "ExportError",
    "InputError",
    "Limits",
    "OutputError",
    "ProviderError",
    "ReleaseError",
    "VerificationError",
    "__version__",
    "follow",
    "load",
]
