"""Whatever was trained comes out equal: architectures and units of every kind."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetool.cli import main
from aetool.errors import VerificationError
from aetool.export import export_checkpoint
from aetool.export._checkpoint import DoublePipeline
from aetool.model import Autoencoder, AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train
from aetool.model.network import Activation, DropoutOn, Impute
from aetool.model.pipeline import evaluate_rows

MakeTable = Callable[..., Any]


def require_equal(trained: TrainedAutoencoder) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = export_checkpoint(trained, Path(folder) / "bundle").parity
    assert max(record.max_scaled for record in records) <= 1e-5
    assert sum(record.flipped or 0 for record in records) == 0
    assert {record.rows for record in records} >= {"golden", "out of range"}


@st.composite
def architectures(draw: st.DrawFn) -> AutoencoderConfig:
    hidden = tuple(draw(st.lists(st.integers(1, 24), max_size=3)))
    places = [place for place in get_args(DropoutOn) if hidden or place != "hidden"]
    return AutoencoderConfig(
        n_features=draw(st.integers(2, 12)),
        embedding_dim=draw(st.integers(1, 24)),
        hidden_dims=hidden,
        activation=draw(st.sampled_from(get_args(Activation))),
        dropout=draw(st.sampled_from([0.0, 0.2, 0.5])),
        dropout_on=draw(st.sampled_from(places)),
        batch_norm=draw(st.booleans()),
        input_noise=draw(st.sampled_from([0.0, 0.1])),
    )


@settings(
    max_examples=40 if os.environ.get("AETOOL_LONG") == "1" else 5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    architectures(),
    st.sampled_from([None, *get_args(Impute)]),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.floats(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_any_architecture_and_scaling_exports_equal(
    make_table: MakeTable,
    architecture: AutoencoderConfig,
    impute: Any,
    unit: float,
    other_unit: float,
    distance: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    width = architecture.n_features
    rows = rng.normal(size=(120, 3)) @ rng.normal(size=(3, width)) + 0.1 * rng.normal(size=(120, width))
    units = np.where(np.arange(width) % 2, 10.0**unit, 10.0**other_unit)
    # Means lie up to 1e4 spreads from zero.
    rows = (rows + rng.choice([-1, 0, 1], width) * 10.0**distance) * units
    if impute:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    require_equal(train(make_table(rows), TrainingConfig(epochs=3, batch_size=32, impute=impute), architecture))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(lambda rows: rows * 1e-30, id="tiny"),
        pytest.param(lambda rows: rows * 1e30, id="huge"),
        pytest.param(lambda rows: rows * np.array([1e-30, 1, 1e30, 1e-6, 1e6]), id="all units at once"),
        pytest.param(lambda rows: rows + 1e4, id="far from zero"),
        pytest.param(lambda rows: np.column_stack([rows, np.full(len(rows), 1e6)]), id="a constant column"),
        pytest.param(lambda rows: rows[:, :1], id="one column"),
        pytest.param(lambda rows: np.repeat(rows[:2], 30, axis=0), id="two distinct rows"),
        pytest.param(np.round, id="integers"),
        pytest.param(lambda rows: rows[:10], id="ten rows"),
        pytest.param(lambda rows: np.exp(3 * rows), id="heavy tails"),
    ],
)
def test_awkward_tables_export_equal(make_table: MakeTable, rows: Callable[[np.ndarray], np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    table = make_table(rows(rng.normal(size=(150, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(150, 5))))
    require_equal(train(table, TrainingConfig(epochs=5)))


def test_labelled_rows_beyond_float32_do_not_stand_in_the_way(make_table: MakeTable) -> None:
    rows = np.random.default_rng(4).normal(size=(100, 4))
    labels = np.arange(100) % 10 == 0
    rows[0, 0], rows[10, 1], rows[20, 2], rows[30, 3] = np.nan, np.inf, 1e30, 1e300
    require_equal(train(make_table(rows, labels), TrainingConfig(epochs=3)))


def nearly_perfect(trained: TrainedAutoencoder, activation: Any) -> TrainedAutoencoder:
    """A network that gives its input back but for a millionth: f(z) and f(-z) in, their difference out."""
    width = trained.network.config.n_features
    slope = {"leaky_relu": 1.01, "gelu": 1.0}[activation]
    network = Autoencoder(AutoencoderConfig(width, 2 * width, (), activation, 0.0)).eval()
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    with torch.no_grad():
        for layer, weight in ((network.encoder[0], both), (network.decoder[0], both.T / slope * (1 + 1e-6))):
            layer.weight.copy_(weight)
            layer.bias.zero_()
    exact = replace(trained, network=network, prototypes=None)
    scores = exact.evaluate(trained.held_out.features)["score"]
    return replace(exact, held_out=replace(trained.held_out, scores=np.sort(scores)))


def test_residual_that_float32_cannot_hold_is_computed_in_float64(
    trained: TrainedAutoencoder, tmp_path: Path
) -> None:
    exported = export_checkpoint(nearly_perfect(trained, "leaky_relu"), tmp_path / "bundle")
    assert exported.bundle.manifest.variants["fp32"].figures["form"] == "float64"
    assert "the graphs compute in float64" in " ".join(exported.notes)
    assert "float64 inside" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "float64 inside" in CliRunner().invoke(main, ["info", str(tmp_path / "bundle")]).stdout
    usual = [record for record in exported.parity if record.rows in ("golden", "normal golden", "out of range")]
    assert max(record.max_scaled for record in usual) <= 1e-5
    session = onnxruntime.InferenceSession(
        tmp_path / "bundle" / "detector.onnx", providers=["CPUExecutionProvider"]
    )
    assert [value.type for value in session.get_inputs()] == ["tensor(float)"]
    assert [value.type for value in session.get_outputs()] == ["tensor(float)", "tensor(bool)"]


def test_residual_that_no_form_can_hold_is_refused(trained: TrainedAutoencoder, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"float32 alone differs by .* scale the rows before training"):
        export_checkpoint(nearly_perfect(trained, "gelu"), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("activation", sorted(set(get_args(Activation)) - {"gelu"}))
@pytest.mark.parametrize("impute", [None, "mean"])
def test_float64_form_computes_what_the_pipeline_does(make_table: MakeTable, activation: Any, impute: Any) -> None:
    rows = np.random.default_rng(6).normal(size=(60, 4))
    if impute:
        rows[::7, 1] = np.nan
    shape = AutoencoderConfig(4, 3, (5,), activation, 0.1, batch_norm=True)
    trained = train(make_table(rows), TrainingConfig(epochs=2, impute=impute), shape)
    form = DoublePipeline(trained.pipeline(torch.float64))
    found = evaluate_rows(form, rows, torch.float32)
    for name, expected in trained.evaluate(rows).items():
        assert np.abs(found[name] - expected).max() <= 2e-7 * np.abs(expected).max(), name
