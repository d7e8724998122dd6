"""The autoencoder in PyTorch: its shape, its training, its checkpoint."""

from aetool.model.autoencoder import Autoencoder
from aetool.model.checkpoint import TrainedAutoencoder, load_checkpoint, save_checkpoint
from aetool.model.config import AutoencoderConfig, TrainingConfig
from aetool.model.one_hot import encoded_width
from aetool.model.processes import is_first_process
from aetool.model.pyod_detector import PyodAutoencoder, from_pyod
from aetool.model.training import train

__all__ = [
    "Autoencoder",
    "AutoencoderConfig",
    "PyodAutoencoder",
    "TrainedAutoencoder",
    "TrainingConfig",
    "encoded_width",
    "from_pyod",
    "is_first_process",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
