"""The autoencoder in PyTorch: its network, its training, its checkpoint.

Read in this order: `network` (layers and configuration), `_one_hot` (categories to columns), `statistics`
(scaling and missing values), `prototypes` (typical rows), `pipeline` (raw rows to all outputs, which exports
refer to), `_training` (from a table to the result) with `_loop`, `_adam`, `_distributed` (several processes) and
`_held_out` (scores for a threshold), `checkpoint` (the result, in memory and on disk).
`foreign` reads other people's modules.
"""

from aetool.model._distributed import is_first_process
from aetool.model._one_hot import encoded_width
from aetool.model._training import train
from aetool.model.checkpoint import TrainedAutoencoder, load_checkpoint, save_checkpoint
from aetool.model.foreign.pyod import PyodAutoencoder, from_pyod
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig

__all__ = [
    "Autoencoder",
    "AutoencoderConfig",
    "PyodAutoencoder",
    "TrainedAutoencoder",
    "TrainingConfig",
    "checkpoint",
    "encoded_width",
    "from_pyod",
    "is_first_process",
    "load_checkpoint",
    "network",
    "pipeline",
    "prototypes",
    "save_checkpoint",
    "statistics",
    "train",
    "windows",
]
