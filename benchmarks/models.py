"""The two models that speed is measured on, each as a checkpoint and its bundle, with rows of its own."""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from mlperf_tiny import CONFIG, log_mel_rows
from numpy.typing import NDArray

from aetool import model
from aetool.export import export_checkpoint
from aetool.tables import table_from_columns

NAMES = {"reference": "256-128-256", "tiny": "640-128x4-8-128x4-640 (MLPerf Tiny)"}
HEAVY = model.AutoencoderConfig(n_features=1024, embedding_dim=256, hidden_dims=(4096, 1024))
"""Whose weights, 70 MB, fit no cache: one row takes as long as many."""


@dataclass(frozen=True)
class Model:
    name: str
    bundle: Path
    checkpoint: Path
    rows: NDArray[np.float32]

    @property
    def multiply_adds(self) -> dict[str, int]:
        """Of one row, by what is computed; the matrix products alone."""
        whole = sum(a * b for a, b in pairwise(self.widths))
        return {"encode": whole // 2, "reconstruct": whole, "score": whole}

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers, from the features to their reconstruction."""
        encoder = model.load_checkpoint(self.checkpoint).network.config.widths
        return (*encoder, *encoder[-2::-1])


def make(name: str, folder: Path) -> Model:
    """Train for a moment, which decides nothing about speed, and export."""
    config = {"tiny": CONFIG, "heavy": HEAVY}.get(name, model.AutoencoderConfig())
    rows = log_mel_rows(4096) if name == "tiny" else correlated_rows(4096, columns=config.n_features)
    table = table_from_columns({f"x_{i}": column for i, column in enumerate(rows.T)}, source="made")
    training = model.TrainingConfig(epochs=1 if name == "heavy" else 3)
    if name == "tiny":  # MLPerf Tiny scores by the reconstruction alone
        training = replace(training, score="reconstruction")
    trained = model.train(table, training, config)
    made = Model(name, folder / f"{name}-bundle", folder / f"{name}-checkpoint", rows)
    model.save_checkpoint(trained, made.checkpoint)
    export_checkpoint(trained, made.bundle)
    return made


def correlated_rows(count: int, seed: int = 0, columns: int = 256) -> NDArray[np.float32]:
    """(count, columns): 32 hidden causes, noise, and columns away from zero."""
    random = np.random.default_rng(seed)
    causes = random.normal(size=(count, 32)) @ random.normal(size=(32, columns))
    return (causes + random.normal(0, 0.3, (count, columns)) + random.normal(0, 5, columns)).astype(np.float32)
