"""What a precision saves in bytes."""

import numpy as np
import pytest

from aetool.bundle.bundle import Bundle
from aetool.quantize import quantize

TINY = (640, (128, 128, 128, 128), 8)
"""The anomaly detector of MLPerf Tiny."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, make_table):
    from aetool.export import export_checkpoint
    from aetool.model import AutoencoderConfig, TrainingConfig, train

    width, hidden, dim = TINY
    random = np.random.default_rng(0)
    rows = (random.normal(size=(600, 5)) @ random.normal(size=(5, width))).astype(np.float32)
    trained = train(
        make_table(rows),
        TrainingConfig(epochs=1, score="reconstruction"),
        AutoencoderConfig(width, dim, hidden_dims=hidden),
    )
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    export_checkpoint(trained, path)
    return path, rows


@pytest.mark.parametrize(("precision", "most"), [("int8", 0.30), ("int8-dynamic", 0.30), ("bf16", 0.53)])
def test_every_graph_of_a_wide_model_is_as_small_as_its_numbers(tiny, precision, most, quick, loose):
    path, rows = tiny
    quantize(path, rows, precision=precision, options=quick, budget=loose)
    files = Bundle.open(path).manifest.files
    for graph in ("encoder", "decoder", "autoencoder", "detector"):
        assert files[f"{precision}/{graph}.onnx"].size <= most * files[f"{graph}.onnx"].size, graph
