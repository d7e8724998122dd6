"""An interrupted training goes on as if nothing had happened."""

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_tensors

from aetool.errors import CheckpointError, InputError
from aetool.model import (
    Autoencoder,
    AutoencoderConfig,
    TrainedAutoencoder,
    TrainingConfig,
    load_checkpoint,
    save_checkpoint,
    train,
)

MakeTable = Callable[..., Any]
RNG = np.random.default_rng(2)
ROWS = RNG.normal(size=(100, 3)) @ RNG.normal(size=(3, 4))
TRAINING = TrainingConfig(epochs=12, batch_size=16, learning_rate=0.02, patience=20)
SHAPE = AutoencoderConfig(4, 5, (6,), dropout=0.3, dropout_on="both", batch_norm=True, input_noise=0.1)


def content(trained: TrainedAutoencoder) -> tuple[bytes, bytes, Any, bytes, bytes]:
    return (
        save_tensors(trained.network.state_dict()),
        save_tensors(dict(trained.state)),
        trained.history,
        trained.held_out.scores.tobytes(),
        trained.held_out.features.tobytes(),
    )


def interrupt_after(epoch: int) -> Callable[[Any], None]:
    def interrupt(done: Any) -> None:
        if done.number == epoch:
            raise KeyboardInterrupt

    return interrupt


@pytest.fixture(scope="module")
def whole(make_table: MakeTable) -> TrainedAutoencoder:
    return train(make_table(ROWS), TRAINING, SHAPE)


@pytest.mark.parametrize("epoch", [1, 5, 11])
def test_resumed_run_equals_a_whole_one(
    make_table: MakeTable, whole: TrainedAutoencoder, tmp_path: Path, epoch: int
) -> None:
    table = make_table(ROWS)
    part = train(table, TRAINING, SHAPE, progress=interrupt_after(epoch))
    assert part.provenance["interrupted"]
    assert len(part.history) == epoch
    save_checkpoint(part, tmp_path / "part")
    torch.manual_seed(99)  # the caller's random state has no part in it
    resumed = train(table, resume=load_checkpoint(tmp_path / "part"))
    assert not resumed.provenance["interrupted"]
    assert content(resumed) == content(whole)


@pytest.mark.parametrize("call", [3, 30, 47])
def test_interrupt_inside_an_epoch_keeps_the_epochs_before(
    make_table: MakeTable, whole: TrainedAutoencoder, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    table, calls = make_table(ROWS), 0
    forward = Autoencoder.forward

    def interrupted(self: Autoencoder, features: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6 + call:
            raise KeyboardInterrupt
        return forward(self, features)

    with monkeypatch.context() as patch:
        patch.setattr(Autoencoder, "forward", interrupted)
        part = train(table, TRAINING, SHAPE)
    assert 1 <= len(part.history) < TRAINING.epochs_for(0)
    assert part.history == whole.history[: len(part.history)]
    assert content(train(table, resume=part)) == content(whole)


def test_twice_interrupted_equals_a_whole_one(make_table: MakeTable, whole: TrainedAutoencoder) -> None:
    table = make_table(ROWS)
    part = train(table, TRAINING, SHAPE, progress=interrupt_after(3))
    part = train(table, resume=part, progress=interrupt_after(7))
    assert len(part.history) == 7
    assert content(train(table, resume=part)) == content(whole)


def test_interrupt_before_the_first_epoch_is_not_swallowed(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Autoencoder, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(make_table(ROWS), TRAINING, SHAPE)


def test_a_real_signal_keeps_the_best_so_far() -> None:
    program = """
import numpy as np
from aetool.model import TrainingConfig, train
from aetool.tables import table_from_columns
table = table_from_columns({"a": np.arange(500.0) % 7, "b": np.arange(500.0) % 5})
def progress(epoch):
    if epoch.number == 3:
        print("ready", flush=True)
trained = train(table, TrainingConfig(epochs=10**6, patience=10**6), progress=progress)
print(trained.provenance["interrupted"], len(trained.history) >= 3, len(trained.state) > 0)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == "True True True\n"


def test_another_table_is_refused(make_table: MakeTable) -> None:
    part = train(make_table(ROWS), TRAINING, SHAPE, progress=interrupt_after(2))
    changed = ROWS.copy()
    changed[0, 0] += 1e-9
    with pytest.raises(InputError, match="not the table that the checkpoint was trained on"):
        train(make_table(changed), resume=part)


def test_other_labels_are_another_table(make_table: MakeTable) -> None:
    labels = np.arange(len(ROWS)) % 10 == 0
    part = train(make_table(ROWS, labels), TRAINING, SHAPE, progress=interrupt_after(2))
    with pytest.raises(InputError, match="not the table"):
        train(make_table(ROWS, np.roll(labels, 1)), resume=part)
    train(make_table(ROWS, labels), resume=part)


def test_finished_run_is_refused(make_table: MakeTable, whole: TrainedAutoencoder) -> None:
    with pytest.raises(InputError, match=r"had finished after 12 epochs; raise --epochs or --patience"):
        train(make_table(ROWS), resume=whole)
    longer = train(make_table(ROWS), dataclasses.replace(TRAINING, epochs=14), resume=whole)
    assert len(longer.history) == 14


@pytest.mark.parametrize("change", [{"seed": 1}, {"validation_fraction": 0.4}, {"impute": "mean"}])
def test_what_decides_the_split_cannot_change(make_table: MakeTable, change: dict[str, Any]) -> None:
    part = train(make_table(ROWS), TRAINING, SHAPE, progress=interrupt_after(2))
    with pytest.raises(InputError, match=f"resume: {next(iter(change))} cannot change"):
        train(make_table(ROWS), dataclasses.replace(TRAINING, **change), resume=part)


def test_another_architecture_is_refused(make_table: MakeTable) -> None:
    part = train(make_table(ROWS), TRAINING, SHAPE, progress=interrupt_after(2))
    with pytest.raises(InputError, match="architecture cannot change"):
        train(make_table(ROWS), TRAINING, AutoencoderConfig(4, 7), resume=part)


@pytest.mark.parametrize("missing", ["random", "last.encoder.0.weight", "adam.0.exp_avg"])
def test_state_that_does_not_fit_is_a_checkpoint_error(make_table: MakeTable, missing: str) -> None:
    part = train(make_table(ROWS), TRAINING, SHAPE, progress=interrupt_after(2))
    state = {name: value for name, value in part.state.items() if name != missing}
    with pytest.raises(CheckpointError, match="resume: the state of the checkpoint does not fit"):
        train(make_table(ROWS), resume=dataclasses.replace(part, state=state))
