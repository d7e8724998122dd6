"""Bundles of windows (time, channels) of small untrained networks.

python tests/make_series_bundles.py     writes those that series_bundles.py names
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from series_bundles import CONVOLVED, WAVES, waves
from torch import nn

from aetool.bundle.files import sha256
from aetool.export import export_module


class Dense(nn.Module):
    def __init__(self, window, channels, hidden):
        super().__init__()
        width = window * channels
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 4))
        self.decoder = nn.Sequential(
            nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Unflatten(1, (window, channels))
        )

    def forward(self, features):
        return self.decoder(self.encoder(features))


class Convolved(nn.Module):
    """What the core lacks: onnxruntime computes it."""

    def __init__(self, window, channels, hidden):
        super().__init__()
        self.inner = nn.Conv1d(channels, hidden, 3, padding=1)
        self.outer = nn.Conv1d(hidden, channels, 3, padding=1)

    def forward(self, features):
        return self.outer(torch.relu(self.inner(features.transpose(1, 2)))).transpose(1, 2)


def series_bundle(path, window=8, channels=3, stride=2, *, network=Dense, hidden=8, **series):
    """Export a network and say in the manifest that its rows are windows."""
    torch.manual_seed(0)
    samples = waves(window * 40, channels)
    windows = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0)[::5].transpose(0, 2, 1)
    export_module(network(window, channels, hidden), path, rows=np.ascontiguousarray(windows))
    return as_series(Path(path), [f"c{i}" for i in range(channels)], stride, **series)


def as_series(path, names, stride, **series):
    manifest = json.loads((path / "manifest.json").read_text())
    for file in {name for variant in manifest["variants"].values() for name in variant["files"].values()}:
        model = onnx.load(path / file)
        for entry in model.metadata_props:
            if entry.key == "feature_names":
                entry.value = json.dumps(names)
        content = model.SerializeToString()
        (path / file).write_bytes(content)
        manifest["files"][file] = {"sha256": sha256(content), "size": len(content)}
    manifest["features"] = [{"name": name, "unit": ""} for name in names]
    manifest["series"] = {"window": manifest["input_shape"][0], "stride": stride} | series
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


if __name__ == "__main__":
    for path in (WAVES, CONVOLVED):
        shutil.rmtree(path, ignore_errors=True)
    series_bundle(WAVES, gap=5.0, time="time", group="machine")
    series_bundle(CONVOLVED, network=Convolved)
