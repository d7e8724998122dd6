"""Time of a whole `export_checkpoint` against one bare `torch.onnx.export` of the same model.

    python benchmarks/export_time.py

Both run in this process after the imports and one warm-up each, taking turns: export is dominated by torch's
tracing, which both share.
"""

import contextlib
import io
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from common import parser, save

from aetool import model
from aetool.export import export_checkpoint
from aetool.tables import table_from_columns

SHAPES = {
    "256-128-256": model.AutoencoderConfig(),
    "640-128x4-8-128x4-640": model.AutoencoderConfig(
        n_features=640, embedding_dim=8, hidden_dims=(128,) * 4, activation="relu", batch_norm=True, dropout=0
    ),
}


def bare(network: model.Autoencoder) -> float:
    sample = torch.randn(2, network.config.n_features)
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (sample,),
            dynamo=True,
            opset_version=18,
            dynamic_shapes={"features": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    return time.perf_counter() - begin


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    results = {}
    for name, config in SHAPES.items():
        rows = np.random.default_rng(0).normal(size=(400, config.n_features))
        table = table_from_columns({f"x_{i}": column for i, column in enumerate(rows.T)}, source="random")
        trained = model.train(table, model.TrainingConfig(epochs=2), config)
        taken: dict[str, list[float]] = {"bare": [], "aetool": []}
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(options.rounds + 1):
                seconds = bare(trained.network)
                begin = time.perf_counter()
                export_checkpoint(trained, Path(folder) / f"bundle-{turn}")
                if turn > 0:
                    taken["bare"].append(seconds)
                    taken["aetool"].append(time.perf_counter() - begin)
        medians = {key: statistics.median(values) for key, values in taken.items()}
        ratio = medians["aetool"] / medians["bare"]
        results[name] = {"medians": medians, "rounds": taken, "ratio": ratio}
        print(f"{name:24} bare {medians['bare']:.2f} s, aetool {medians['aetool']:.2f} s, ratio {ratio:.2f}")
    save("export_time", {"rounds": options.rounds}, results)


if __name__ == "__main__":
    main()
