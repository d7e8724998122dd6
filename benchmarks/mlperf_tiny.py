"""Parity of the MLPerf Tiny anomaly-detection reference autoencoder: its trained weights, through aetool.

    python benchmarks/mlperf_tiny.py WEIGHTS.npz

The reference (mlcommons/tiny, Apache-2.0) is a Keras model: Dense + BatchNorm (epsilon 1e-3) + ReLU,
640-128x4-8-128x4-640, last layer Dense alone; kernels are stored as (in, out). Its input is five frames of
128 log-mel energies in dB; the rows here imitate them: smooth over frequency, seeded.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from common import parser, save
from numpy.typing import NDArray
from torch import nn

from aetool import model
from aetool.export import export_checkpoint, verify_against
from aetool.model.checkpoint import HeldOut, TrainedAutoencoder
from aetool.model.statistics import Statistics

CONFIG = model.AutoencoderConfig(
    n_features=640, embedding_dim=8, hidden_dims=(128,) * 4, activation="relu", batch_norm=True, dropout=0.0
)


def network_from(path: Path) -> model.Autoencoder:
    """The torch module with the published weights, in eval mode."""
    network = model.Autoencoder(CONFIG)
    with np.load(path, allow_pickle=False) as archive:
        weights = {name: torch.from_numpy(archive[name]) for name in archive.files}
    layers = [*network.encoder, *network.decoder]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm1d)]
    with torch.no_grad():
        for i, layer in enumerate(linear):
            prefix = "dense" if i == 0 else f"dense_{i}"
            layer.weight.copy_(weights[f"{prefix}__kernel"].T)
            layer.bias.copy_(weights[f"{prefix}__bias"])
        for i, norm in enumerate(norms):
            prefix = "batch_normalization" if i == 0 else f"batch_normalization_{i}"
            norm.eps = 1e-3
            norm.weight.copy_(weights[f"{prefix}__gamma"])
            norm.bias.copy_(weights[f"{prefix}__beta"])
            norm.running_mean.copy_(weights[f"{prefix}__moving_mean"])
            norm.running_var.copy_(weights[f"{prefix}__moving_variance"])
    return network.eval()


def log_mel_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """(count, 640) in dB: a falling spectrum with a few resonances, nearly steady over the five frames."""
    random = np.random.default_rng(seed)
    band = np.linspace(0, 1, 128)
    spectrum = -10 - 25 * band + random.normal(0, 3, (count, 1))
    for _ in range(4):
        centre, height = random.uniform(0, 1, (count, 1)), random.uniform(0, 12, (count, 1))
        spectrum = spectrum + height * np.exp(-(((band - centre) / 0.05) ** 2))
    frames = spectrum[:, None, :] + random.normal(0, 1.5, (count, 5, 128))
    return frames.reshape(count, 640).astype(np.float32)


def trained_from(path: Path, rows: NDArray[np.float32]) -> TrainedAutoencoder:
    """The published weights as a training result without scaling; its threshold comes from `rows`."""
    unscaled = Statistics(np.zeros(640, np.float32), np.ones(640, np.float32))
    names = tuple(f"x_{i}" for i in range(640))
    bare = TrainedAutoencoder(
        network_from(path),
        unscaled,
        names,
        model.TrainingConfig(),
        ({"train_loss": 0.0, "validation_loss": 0.0},),
        HeldOut(rows[:256], np.zeros(0)),
        {"data": "mlcommons/tiny reference weights"},
    )
    scores = np.sort(bare.evaluate(rows)["score"])
    return TrainedAutoencoder(
        bare.network,
        unscaled,
        names,
        bare.training,
        bare.history,
        HeldOut(rows[:256], scores),
        bare.provenance,
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("weights", type=Path)
    options = arguments.parse_args()
    trained = trained_from(options.weights, log_mel_rows(4096))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlperf-tiny"
        export_checkpoint(trained, path)
        records = verify_against(path, trained, log_mel_rows(4096, seed=1), provider="cpu")
    for record in records:
        flipped = "" if record.flipped is None else f"  flipped {record.flipped}"
        print(
            f"{record.graph:12} {record.output:15} {record.rows:13} absolute {record.max_absolute:.1e}  "
            f"scaled {record.max_scaled:.1e}{flipped}"
        )
    save(
        "mlperf_tiny_parity",
        {"weights": options.weights.name, "rows": 4096},
        {
            "max_scaled_difference": max(record.max_scaled for record in records),
            "flipped": sum(record.flipped or 0 for record in records),
            "passed": all(record.passed for record in records),
        },
    )


if __name__ == "__main__":
    main()
