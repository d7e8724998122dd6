"""Training: repeatable, polite to its caller, blind to labels and to held-out rows."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from aetool.errors import InputError
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train
from aetool.model._adam import Adam

MakeTable = Callable[..., Any]
RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(120, 3)) @ RNG.normal(size=(3, 5)) + RNG.normal(size=5)
QUICK = TrainingConfig(epochs=4, batch_size=32)
SMALL = AutoencoderConfig(5, 6, (8,), dropout=0.2)


def weights(trained: TrainedAutoencoder) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trained.network.state_dict().values())


def held_out_and_training(rows: int, config: TrainingConfig) -> tuple[np.ndarray, np.ndarray]:
    """The split, found from outside: rows that change no weight are held out."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(config.seed)).numpy()
    return order[: config.held_out_of(rows)], order[config.held_out_of(rows) :]


def test_same_seed_same_weights_and_another_seed_others(make_table: MakeTable) -> None:
    table = make_table(ROWS)
    first, again = train(table, QUICK, SMALL), train(table, QUICK, SMALL)
    other = train(table, dataclasses.replace(QUICK, seed=1), SMALL)
    assert weights(first) == weights(again)
    assert first.history == again.history
    assert weights(first) != weights(other)


def test_caller_settings_neither_matter_nor_change(make_table: MakeTable) -> None:
    table = make_table(ROWS)
    plain = weights(train(table, QUICK, SMALL))
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            found = train(table, QUICK, SMALL)
            assert torch.is_inference_mode_enabled()
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), random)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert weights(found) == plain
    assert {value.dtype for value in found.network.state_dict().values()} == {torch.float32}


def test_settings_are_given_back_after_a_failure(make_table: MakeTable) -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()

    def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(make_table(ROWS), QUICK, SMALL, progress=fail)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_labelled_rows_are_not_learnt_from(make_table: MakeTable) -> None:
    labels = np.arange(len(ROWS)) % 10 == 3
    spoilt = ROWS.copy()
    spoilt[labels] = 1e6 * RNG.normal(size=(labels.sum(), 5))
    spoilt[3] = [np.nan, np.inf, -np.inf, 1e300, 1e30]  # an anomaly may hold anything
    found, wild = (train(make_table(rows, labels), QUICK, SMALL) for rows in (ROWS, spoilt))
    without = train(make_table(ROWS[~labels]), QUICK, SMALL)
    assert weights(found) == weights(wild) == weights(without)
    assert found.provenance["rows_labelled_anomalous"] == labels.sum()
    np.testing.assert_array_equal(found.statistics.mean, without.statistics.mean)


def test_statistics_know_nothing_of_held_out_rows(make_table: MakeTable) -> None:
    held_out, _ = held_out_and_training(len(ROWS), QUICK)
    moved = ROWS.copy()
    moved[held_out] += 50
    one_epoch = dataclasses.replace(QUICK, epochs=1)
    before, after = (train(make_table(rows), one_epoch, SMALL) for rows in (ROWS, moved))
    np.testing.assert_array_equal(before.statistics.mean, after.statistics.mean)
    np.testing.assert_array_equal(before.statistics.scale, after.statistics.scale)
    assert weights(before) == weights(after)  # nor do the weights of an epoch
    assert before.history[0]["validation_loss"] < after.history[0]["validation_loss"]


def test_missing_held_out_values_are_refused_too(make_table: MakeTable) -> None:
    held_out, _ = held_out_and_training(len(ROWS), QUICK)
    rows = ROWS.copy()
    rows[held_out[0], 2] = np.nan
    with pytest.raises(InputError, match=r"missing values in c2 \(1\)"):
        train(make_table(rows), QUICK, SMALL)


def test_imputed_training_rows_have_no_gaps(make_table: MakeTable) -> None:
    rows = ROWS.copy()
    rows[RNG.random(rows.shape) < 0.2] = np.nan
    found = train(make_table(rows), dataclasses.replace(QUICK, impute="median"), SMALL)
    assert np.isfinite([list(epoch.values()) for epoch in found.history]).all()
    assert np.isfinite(found.held_out.scores).all()


def test_the_best_epoch_is_kept(make_table: MakeTable) -> None:
    table = make_table(ROWS)
    config = TrainingConfig(epochs=60, batch_size=8, learning_rate=0.05, patience=5, score="reconstruction")
    losses: list[float] = []
    bests: list[bool] = []

    def note(epoch: Any) -> None:
        losses.append(epoch.validation_loss)
        bests.append(epoch.best)

    found = train(table, config, SMALL, progress=note)
    best = int(np.argmin(losses))
    assert best == len(losses) - 1 - config.patience, "this table and seed stop early"
    assert [i for i, is_best in enumerate(bests) if is_best][-1] == best
    # The weights kept give the best epoch's loss, not the last one's.
    held_out, _ = held_out_and_training(len(ROWS), config)
    loss = found.evaluate(ROWS[held_out])["score"].mean()
    assert loss == pytest.approx(losses[best], rel=1e-5)
    assert loss != pytest.approx(losses[-1], rel=1e-3)


def test_learning_rate_climbs_then_falls_to_nothing(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = Adam.step

    def note(self: Adam, learning_rate: float) -> None:
        rates.append(learning_rate)
        step(self, learning_rate)

    monkeypatch.setattr(Adam, "step", note)
    train(make_table(ROWS), TrainingConfig(epochs=20, batch_size=16, learning_rate=0.01, patience=99), SMALL)
    top = int(np.argmax(rates))
    assert max(rates) <= 0.01
    assert rates[0] < 0.001
    assert 0 < top < len(rates) / 4
    assert rates[-1] < 1e-4


def test_training_leaves_out_the_compiler_that_takes_a_second_to_import() -> None:
    code = (
        "import sys, numpy as np; from aetool.model import train, TrainingConfig; "
        "train(np.random.default_rng(0).random((50, 4)), TrainingConfig(epochs=1)); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_steps_are_those_of_pytorchs_own_class() -> None:
    weights = [[torch.randn(5, 3, requires_grad=True), torch.randn(3, requires_grad=True)] for _ in range(2)]
    for ours, theirs in zip(*weights, strict=True):
        theirs.data.copy_(ours.data)
    own, reference = Adam(weights[0], 0.01), torch.optim.Adam(weights[1], lr=0.1, weight_decay=0.01, fused=True)
    for step in range(5):
        for matrix, vector in weights:
            ((matrix.sum(dim=0) - vector).square().sum() * (step + 1)).backward()
        own.step(0.1)
        reference.step()
        reference.zero_grad()
    for ours, theirs in zip(*weights, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.column_stack([ROWS, np.full(len(ROWS), 3.3)]), id="a constant column"),
        pytest.param(ROWS * 1e-30, id="tiny"),
        pytest.param(ROWS * 1e30, id="huge"),
        pytest.param((ROWS * 100).astype(np.int64), id="integers"),
        pytest.param(ROWS > 0, id="booleans"),
        pytest.param(ROWS[:, :1], id="one column"),
        pytest.param(np.repeat(ROWS[:2], 20, axis=0), id="two distinct rows"),
        pytest.param(np.repeat(ROWS[:1], 20, axis=0), id="one distinct row"),
        pytest.param(ROWS[:10], id="ten rows"),
        pytest.param(np.eye(60)[:, :5], id="columns that vary in held-out rows alone"),
    ],
)
def test_awkward_tables_train(make_table: MakeTable, rows: np.ndarray) -> None:
    found = train(make_table(rows), TrainingConfig(epochs=2))
    assert np.isfinite(found.held_out.scores).all()
    assert np.isfinite(found.evaluate(rows)["reconstruction"]).all()


def test_nine_rows_are_too_few(make_table: MakeTable) -> None:
    with pytest.raises(InputError, match="10 normal rows or more are needed to train, found 9;"):
        train(make_table(ROWS[:12], np.arange(12) < 3))


def test_batch_norm_takes_a_last_batch_of_one_row(make_table: MakeTable) -> None:
    config = TrainingConfig(epochs=2, batch_size=10, validation_fraction=0.25)
    rows = ROWS[:28]
    assert (len(rows) - config.held_out_of(len(rows))) % 10 == 1
    train(make_table(rows), config, dataclasses.replace(SMALL, batch_norm=True))


def test_batch_norm_with_batches_of_one_is_refused(make_table: MakeTable) -> None:
    with pytest.raises(InputError, match="batch_size: expected 2 or more with batch_norm"):
        train(make_table(ROWS), TrainingConfig(batch_size=1), dataclasses.replace(SMALL, batch_norm=True))
    train(make_table(ROWS), TrainingConfig(batch_size=1, epochs=1), SMALL)


def test_architecture_of_another_width_is_refused(make_table: MakeTable) -> None:
    with pytest.raises(InputError, match="expects 4 features, found 5"):
        train(make_table(ROWS), QUICK, AutoencoderConfig(4, 3))


def test_divergence_is_an_error(make_table: MakeTable) -> None:
    with pytest.raises(InputError, match=r"diverged in epoch \d+ .*lower --learning-rate, it was 1e\+18"):
        train(make_table(ROWS), TrainingConfig(epochs=30, learning_rate=1e18), SMALL)


def test_table_without_columns_is_refused() -> None:
    from aetool.tables import Table

    with pytest.raises(InputError, match="no feature columns"):
        train(Table((), np.empty((20, 0)), source="t.csv"))


def test_golden_rows_are_held_out_rows_and_anomalies_that_float32_can_score(make_table: MakeTable) -> None:
    labels = np.arange(len(ROWS)) % 6 == 5
    rows = ROWS.copy()
    rows[5, 0], rows[11, 0] = 1e30, np.nan
    found = train(make_table(rows, labels), QUICK, SMALL)
    normal = rows[~labels].astype(np.float32)
    held_out, _ = held_out_and_training(len(normal), QUICK)
    golden = {row.tobytes() for row in found.held_out.features}
    known = {row.tobytes() for row in rows[labels].astype(np.float32)}
    assert golden - known == {row.tobytes() for row in normal[held_out]}
    assert len(golden & known) == labels.sum() - 2
    assert np.isfinite(found.held_out.features).all()
    assert (np.diff(found.held_out.scores) >= 0).all()
    assert len(found.held_out.scores) == len(held_out)


def test_the_loss_of_the_mean_is_that_of_the_training_rows_on_the_held_out_ones(
    make_table: MakeTable,
) -> None:
    held_out, training = held_out_and_training(len(ROWS), QUICK)
    mean, spread = ROWS[training].mean(axis=0), ROWS[training].std(axis=0)
    expected = np.mean(((ROWS[held_out] - mean) / spread) ** 2)
    found = train(make_table(ROWS), QUICK, SMALL).provenance["validation_loss_of_mean"]
    assert found == pytest.approx(expected, rel=1e-5) and 0.5 < found < 2
