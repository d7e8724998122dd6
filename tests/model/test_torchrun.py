"""The same command under torchrun: processes share the batches, the quality stays, the first one writes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aetool.checks.evaluation import ranking
from aetool.errors import InputError
from aetool.model import AutoencoderConfig, TrainingConfig, load_checkpoint, train
from aetool.model._distributed import ALONE, Processes, joined
from aetool.tables import write_table

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_learn_what_one_learns(cancer: Any, tmp_path: Path) -> None:
    columns = dict(zip(cancer.names, cancer.values.T, strict=True))
    write_table(tmp_path / "table.parquet", {**columns, "broken": cancer.labels})
    command = ("aetool", "train", "table.parquet", "--label", "broken", "-o", "two", "--json")
    options = ("--hidden-dims", "20", "--epochs", "25", "--batch-size", "32")
    done = subprocess.run(
        [sys.executable, *TWO, "-m", *command, *options],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # of the first process alone
    shape = replace(AutoencoderConfig.for_width(30), hidden_dims=(20,))
    one, two = train(cancer, TrainingConfig(epochs=25, batch_size=32), shape), load_checkpoint(tmp_path / "two")
    assert two.provenance["processes"] == 2 and two.network.config == shape
    assert two.provenance["rows_trained"] == one.provenance["rows_trained"]
    losses = [min(epoch["validation_loss"] for epoch in trained.history) for trained in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    found = [ranking(trained.score(cancer.values), cancer.labels)["auroc"] for trained in (one, two)]
    assert found[1] == pytest.approx(found[0], abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [10, 11, 64])
def test_the_parts_of_a_batch_are_the_batch(count: int, rows: int) -> None:
    batch = torch.arange(rows)
    parts = [Processes(rank, count).part(batch) for rank in range(count)]
    assert sorted(torch.cat(parts).tolist()) == batch.tolist()
    assert min(map(len, parts)) >= rows // count


def test_alone_nothing_changes() -> None:
    value = torch.tensor(np.pi)
    assert ALONE.agreed(value) is value and ALONE.summed(value) is value and ALONE.first
    network = torch.nn.Linear(2, 2)
    assert ALONE.wrap(network) is network


def test_batches_too_small_for_the_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "0"), ("WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="16 rows or more in a batch, found 10"), joined(10, 256):
        pass
