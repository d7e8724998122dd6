"""Training on windows: which are trained on, which are held out, and what comes back from disk."""

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from aetool.bundle.manifest import Series
from aetool.errors import InputError
from aetool.model import AutoencoderConfig, TrainingConfig, load_checkpoint, save_checkpoint
from aetool.model import windows as training_windows
from aetool.model._windowed import Windowed, held
from aetool.model.pipeline import Outputs
from aetool.model.windows import for_windows, sample_windows, train_windows
from aetool.tables import _cutting
from aetool.tables.windows import Log

FEW = TrainingConfig(epochs=2, batch_size=64)


def log_of(path, runs, *, window=8, odd=()):
    """A log in which channel `row` has each row's own number, in runs of so many rows; `odd` rows are labelled."""
    lines, row = ["t,machine,state,row,wave"], 0
    for run, rows in enumerate(runs):
        for t in range(rows):
            lines.append(f"{t},m{run},{'worn' if row in odd else 'ok'},{row},{math.sin(row / 3):.5f}")
            row += 1
    path.write_text("\n".join(lines) + "\n")
    log = Log(path, Series(window, 4, time="t", group="machine", gap=2.0), label="state" if odd else None)
    if not odd:
        log.drop = ("state",)
    log.head()
    return log


def rows_in(part):
    return set(np.unique(part[:, :, 0]).astype(int).tolist())


@pytest.mark.parametrize("runs", [(300,), (200, 150, 90), (14,) * 20, (300, *[12] * 6)])
def test_no_row_is_both_trained_on_and_held_out(tmp_path, runs):
    sample = sample_windows(log_of(tmp_path / "log.csv", runs), FEW, 0.0)
    training, held_out = rows_in(sample.training), rows_in(sample.held_out)
    assert training and held_out and not training & held_out
    for part in (sample.training, sample.held_out):
        assert (np.diff(part[:, :, 0], axis=1) == 1).all()  # rows of one run, one after another


def test_a_window_lies_between_what_is_trained_on_and_what_is_held_out(tmp_path):
    sample = sample_windows(log_of(tmp_path / "log.csv", (300,)), FEW, 0.0)
    assert min(rows_in(sample.held_out)) - max(rows_in(sample.training)) > 8


def test_windows_with_a_labelled_row_are_not_trained_on(tmp_path):
    sample = sample_windows(log_of(tmp_path / "log.csv", (300,), odd=(50, 51, 280)), FEW, 0.0)
    normal = rows_in(sample.training) | rows_in(sample.held_out)
    assert not normal & {50, 51, 280}
    assert sample.n_anomalies == 9 + 8
    assert all({50, 51, 280} & set(window[:, 0].astype(int)) for window in sample.anomalies)


def test_held_out_stretches_are_windows_a_stride_apart_of_normal_rows_alone(tmp_path):
    log = log_of(tmp_path / "log.csv", (400, 300), odd=(370, 680))
    sample = sample_windows(log, FEW, 0.0)
    rows = [part[:, :, 0].astype(int) for part in sample.stretches]
    assert len(rows) == 4  # two runs, whose labelled rows break them
    assert all((np.diff(part[:, 0]) == 4).all() and (np.diff(part, axis=1) == 1).all() for part in rows)
    found = {row for part in rows for row in part.ravel().tolist()}
    assert found < rows_in(sample.held_out) and len(found) > 0.8 * len(rows_in(sample.held_out))


def test_of_long_held_out_stretches_parts_are_taken_whole_and_in_the_order_of_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(training_windows, "_STRETCHED", 80)
    monkeypatch.setattr(training_windows, "_WHOLE", 20)
    monkeypatch.setattr(training_windows, "_KEPT_BYTES", 100)
    monkeypatch.setattr(_cutting, "PIECE_ROWS", 50)
    rows = np.arange(4000)
    machines = {"t": np.repeat(rows, 2), "machine": np.tile(["p", "q"], 4000), "row": np.arange(8000.0)}
    pq.write_table(pa.table(machines), tmp_path / "log.parquet", row_group_size=64)
    log = Log(tmp_path / "log.parquet", Series(8, 4, time="t", group="machine", gap=2.0), ["row"])
    whole = sample_windows(log, FEW, 0.0).stretches
    log.pieces = True  # those of both machines in turn
    in_pieces = sample_windows(log, FEW, 0.0).stretches
    assert max(map(len, log.runs())) < 100
    lengths = [len(part) for part in whole]
    assert 60 < sum(lengths) <= 80 and len(lengths) <= 4
    assert all((np.diff(part[:, 0, 0]) == 8).all() for part in whole)
    assert all(np.array_equal(one, two) for one, two in zip(whole, in_pieces, strict=True))


def test_a_share_of_labelled_rows_may_be_asked_for(tmp_path):
    sample = sample_windows(log_of(tmp_path / "log.csv", (300,), odd=(50, 51)), FEW, 0.25)
    assert sample.n_anomalies == 7
    assert 50 in rows_in(sample.training)


def test_a_long_log_gives_a_sample_spread_over_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(training_windows, "NUMBERS", 20 * 8 * 2)
    monkeypatch.setattr(training_windows, "_KEPT_BYTES", 100)
    log = log_of(tmp_path / "log.csv", (1000,))
    first, second = (sample_windows(log, FEW, 0.0) for _ in range(2))
    assert len(first.training) == 20 and first.available > 800
    assert np.array_equal(first.training, second.training)
    starts = first.training[:, 0, 0]
    assert np.all(np.diff(starts) > 0) and starts[0] < 60 and starts[-1] > 800


def test_too_few_windows_are_refused(tmp_path):
    with pytest.raises(InputError, match="10 and 2 or more are needed; give a shorter --window"):
        sample_windows(log_of(tmp_path / "log.csv", (20,)), FEW, 0.0)


@pytest.mark.parametrize("kind", ["dense", "conv", "gru"])
def test_a_checkpoint_of_windows_comes_back_as_it_was(tmp_path, kind):
    log = log_of(tmp_path / "log.csv", (200, 200))
    trained = train_windows(log, FEW, lambda count: for_windows(8, 2, count, kind))
    save_checkpoint(trained, tmp_path / "checkpoint")
    loaded = load_checkpoint(tmp_path / "checkpoint")
    windows = trained.held_out.features
    assert loaded.series == log.series and windows.shape[1:] == (8, 2)
    assert loaded.network.config == AutoencoderConfig(
        **{name: getattr(trained.network.config, name) for name in AutoencoderConfig.__dataclass_fields__}
    )
    again, once = loaded.evaluate(windows), trained.evaluate(windows)
    assert all(np.array_equal(again[name], once[name]) for name in once)
    kept = loaded.held_out.row_scores
    assert len(kept) > 20 and (np.diff(kept) >= 0).all() and np.array_equal(kept, trained.held_out.row_scores)
    # The score is the mean of the squared residuals, standardised by channel, and of those to a prototype.
    z = (windows.astype(np.float64) - trained.statistics.mean) / trained.statistics.scale
    y = (once["reconstruction"] - trained.statistics.mean) / trained.statistics.scale
    apart = np.square(z.reshape(len(z), 1, -1) - trained.prototypes.rows).mean(axis=2).min(axis=1)
    expected = ((z - y) ** 2).mean(axis=(1, 2)) + trained.prototypes.weight * apart
    np.testing.assert_allclose(once["score"], expected, rtol=1e-9)
    np.testing.assert_allclose(once["contribution"].sum(axis=(1, 2)), once["score"], rtol=1e-9)


def test_scores_of_held_out_rows_are_those_of_rows_that_have_all_their_windows_if_these_are_enough(
    tmp_path, monkeypatch
):
    log = log_of(tmp_path / "log.csv", (200, 200))
    stretches = sample_windows(log, FEW, 0.0).stretches
    few = train_windows(log, FEW)
    assert len(few.held_out.row_scores) == sum(4 * len(stretch) + 4 for stretch in stretches)
    monkeypatch.setattr(training_windows, "_ENOUGH_ROWS", 20)
    trained, expected = train_windows(log, FEW), []
    for stretch in stretches:
        contribution = trained.evaluate(stretch)["contribution"]
        scores, own = contribution.sum(axis=(1, 2)), contribution.sum(axis=2)
        # Windows of 8, 4 apart: rows from the second half of the first to the first half of the last have two.
        for i in range(len(stretch) - 1):
            mean, mine = scores[i : i + 2].mean(), 8 * (own[i, 4:] + own[i + 1, :4]) / 2
            expected += np.sqrt(mean * mine).tolist()
    np.testing.assert_allclose(trained.held_out.row_scores, np.sort(expected), rtol=1e-6)


@pytest.mark.parametrize(("kind", "window"), [("conv", 7), ("conv", 8), ("conv", 1), ("gru", 5)])
def test_every_window_length_is_reconstructed_whole(kind, window):
    from aetool.model import Autoencoder

    network = Autoencoder(for_windows(window, 3, 100, kind)).eval()
    flat = torch.randn(4, window * 3)
    embedding, reconstruction = network(flat)
    assert reconstruction.shape == flat.shape and embedding.shape == (4, network.config.embedding_dim)
    assert torch.allclose(network(flat[:1])[1], reconstruction[:1], atol=1e-6)


@pytest.mark.parametrize("window", [1, 2, 7, 8, 9])
def test_the_last_value_before_a_missing_one_stands_for_it(window):
    random = np.random.default_rng(window)
    rows = random.normal(size=(50, window, 2)).astype(np.float32)
    rows[random.random(rows.shape) < 0.6] = np.nan
    expected = rows.copy()
    for t in range(1, window):
        expected[:, t] = np.where(np.isnan(expected[:, t]), expected[:, t - 1], expected[:, t])
    np.testing.assert_array_equal(held(rows), expected)

    class Same(torch.nn.Module):
        def forward(self, flat):
            return Outputs(None, flat, flat.sum(dim=1), flat)

    found = Windowed(Same(), window, 2, holds=True)(torch.from_numpy(rows))
    np.testing.assert_array_equal(found.reconstruction.numpy(), expected)


def test_missing_values_are_refused_without_impute(tmp_path):
    log = log_of(tmp_path / "log.csv", (300,))
    text = (tmp_path / "log.csv").read_text().splitlines()
    text[60] = text[60].rpartition(",")[0] + ","
    (tmp_path / "log.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(InputError, match="missing or infinite values in wave; fill them with --impute last"):
        train_windows(log, FEW)
    trained = train_windows(log, TrainingConfig(epochs=2, impute="last"))
    windows = trained.held_out.features[:1].copy()
    windows[0, 3:, 1] = np.nan
    flat = windows.copy()
    flat[0, 3:, 1] = flat[0, 2, 1]
    assert trained.score(windows) == pytest.approx(trained.score(flat))


def test_narrow_windows_have_prototypes_and_wide_ones_the_reconstruction_alone(tmp_path):
    narrow = train_windows(log_of(tmp_path / "log.csv", (500,)), FEW)
    assert narrow.prototypes.rows.shape[1] == 8 * 2 and len(narrow.prototypes.rows) > 100
    save_checkpoint(narrow, tmp_path / "c")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "c").prototypes.rows, narrow.prototypes.rows)
    wide = train_windows(log_of(tmp_path / "log.csv", (900,), window=144), FEW)
    assert wide.prototypes is None and wide.training.score == "reconstruction"


def test_the_reconstruction_alone_may_be_asked_for(tmp_path):
    found = train_windows(log_of(tmp_path / "log.csv", (300,)), replace(FEW, score="reconstruction"))
    assert found.prototypes is None
