"""`verify_against`: a bundle held against a checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aetool.errors import InputError
from aetool.export import export_checkpoint, verify_against
from aetool.model import AutoencoderConfig, TrainedAutoencoder, TrainingConfig, train


def test_own_checkpoint_passes_on_every_graph(
    bundle: Path, trained: TrainedAutoencoder, every_output: list[tuple[str, str]]
) -> None:
    records = verify_against(bundle, trained)
    assert all(record.passed for record in records)
    assert {(record.graph, record.output) for record in records} == set(every_output)
    assert {record.rows for record in records} == {"given", "out of range"}
    assert max(record.max_scaled for record in records) <= 1e-5
    assert sum(record.flipped or 0 for record in records) == 0


def test_whole_table_passes(bundle: Path, trained: TrainedAutoencoder, cancer: Any) -> None:
    assert all(record.passed for record in verify_against(bundle, trained, cancer.values))


def test_verdicts_on_rows_that_are_no_numbers_pass(bundle: Path, trained: TrainedAutoencoder, cancer: Any) -> None:
    rows = cancer.values[:20].copy()
    rows[3, 0], rows[7, 5], rows[9, 29], rows[11] = np.nan, np.inf, 1e300, 1e25
    records = [record for record in verify_against(bundle, trained, rows) if record.graph == "detector"]
    assert [record for record in records if not record.passed] == []


def test_another_checkpoint_fails(bundle: Path, trained: TrainedAutoencoder, cancer: Any) -> None:
    other = train(cancer, dataclasses.replace(trained.training, seed=1), trained.network.config)
    records = verify_against(bundle, other)
    failed = {record.graph for record in records if not record.passed}
    assert failed == {"encoder", "decoder", "autoencoder", "detector", "explainer"}
    assert all("range-scaled difference" in record.reason for record in records if record.output == "score")


def test_one_epoch_more_is_another_checkpoint(
    bundle: Path, trained: TrainedAutoencoder, cancer: Any, tmp_path: Path
) -> None:
    config = dataclasses.replace(trained.training, epochs=9)
    longer = train(cancer, config, trained.network.config, resume=trained)
    assert not all(record.passed for record in verify_against(bundle, longer))
    export_checkpoint(longer, tmp_path / "longer")
    assert all(record.passed for record in verify_against(tmp_path / "longer", longer))


def test_checkpoint_of_other_columns_is_refused(bundle: Path, make_table: Any) -> None:
    other = train(make_table(np.eye(30, 4)), TrainingConfig(epochs=1), AutoencoderConfig(4, 2))
    with pytest.raises(InputError, match="give the checkpoint of the bundle"):
        verify_against(bundle, other)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((0, 30)), "no rows to compare"),
        (np.zeros((3, 29)), r"shape \(rows, 30\) expected"),
        (np.zeros(30), r"shape \(rows, 30\) expected"),
        (np.full((3, 30), "x"), r"shape \(rows, 30\) expected, found <U1"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    bundle: Path, trained: TrainedAutoencoder, rows: Any, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        verify_against(bundle, trained, rows)
