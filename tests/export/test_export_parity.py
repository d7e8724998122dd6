"""Whatever was trained comes out equal: architectures and units of every kind."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetool.export import export_checkpoint
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train
from aetool.model.config import Activation, DropoutOn, Impute

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


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
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
        pytest.param(lambda rows: np.round(rows), id="integers"),
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
