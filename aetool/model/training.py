"""Training: tensors in memory, Adam, early stopping on held-out rows, the best epoch kept."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aetool.errors import InputError
from aetool.model.autoencoder import Autoencoder
from aetool.model.checkpoint import HeldOut, TrainedAutoencoder
from aetool.model.config import AutoencoderConfig, TrainingConfig
from aetool.model.pipeline import Pipeline, evaluate_rows
from aetool.model.statistics import Statistics, learn_statistics
from aetool.tables import Table, fingerprint

MIN_ROWS = 10
GOLDEN_NORMAL = 192
GOLDEN_ANOMALIES = 64
WARM_UP = 0.1
"""Share of the steps in which the learning rate climbs."""
SMALL_LAYER = 128 * 1024
"""Weights below which a step is too short for a second thread to help."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a progress display is told after each epoch."""

    number: int
    """1 for the first."""
    of: int
    train_loss: float
    validation_loss: float
    best: bool


def train(
    table: Table,
    training: TrainingConfig | None = None,
    architecture: AutoencoderConfig | None = None,
    *,
    progress: Callable[[Epoch], None] | None = None,
    resume: TrainedAutoencoder | None = None,
) -> TrainedAutoencoder:
    """Train an autoencoder on the normal rows of `table`.

    Rows labelled as anomalies are left out of training; some of them become golden vectors.
    KeyboardInterrupt ends training early and keeps the best epoch so far (`provenance["interrupted"]`).

    Args:
        table: feature columns, and labels if there are any.
        training: how; `TrainingConfig()` by default, or that of `resume`.
        architecture: what; `AutoencoderConfig.for_width` by default, or that of `resume`.
        progress: called after every epoch.
        resume: continue this training on the same table: the outcome is that of a run never interrupted.

    Raises:
        InputError: too few rows, missing or infinite values, a table that does not fit, or divergence.
    """
    training = training or (resume.training if resume else TrainingConfig())
    architecture = architecture or (
        resume.network.config if resume else AutoencoderConfig.for_width(len(table.names))
    )
    normal = table if table.labels is None else table.select(~table.labels)
    _require_fit(table, normal, architecture, training, resume)
    statistics = learn_statistics(normal.values, table.names, training.impute)
    held_out_rows, training_rows = _split(len(normal), training)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    standardised = _standardise(normal.values, statistics).to(device)
    with _seeded(training.seed, architecture):
        loop = _Loop(
            Autoencoder(architecture).to(device),
            standardised[training_rows],
            standardised[held_out_rows],
            training,
        )
        if resume is not None:
            loop.restore(resume)
        interrupted = loop.run(progress)
    network = loop.best_network()
    return TrainedAutoencoder(
        network,
        statistics,
        table.names,
        training,
        tuple(loop.history),
        _held_out(network, statistics, normal.values[held_out_rows.numpy()], table),
        {
            "data": table.source.replace("\\", "/").rsplit("/", 1)[-1],
            "data_fingerprint": fingerprint(table),
            "rows_trained": len(training_rows),
            "rows_held_out": len(held_out_rows),
            "rows_labelled_anomalous": len(table) - len(normal),
            "interrupted": interrupted,
            "device": str(device),
            "torch": torch.__version__,
        },
        loop.state(),
    )


class _Loop:
    """The state of one training, and its steps."""

    def __init__(self, network: Autoencoder, rows: Tensor, held_out: Tensor, config: TrainingConfig) -> None:
        self.network, self.rows, self.held_out, self.config = network, rows, held_out, config
        self.epochs = config.epochs_for(len(rows))
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.history: list[dict[str, float]] = []
        self.best = {name: value.clone() for name, value in network.state_dict().items()}
        self.best_loss = math.inf
        self.waited = 0

    def run(self, progress: Callable[[Epoch], None] | None) -> bool:
        """Train to the end; True if a KeyboardInterrupt cut it short."""
        try:
            while len(self.history) < self.epochs and self.waited < self.config.patience:
                epoch = self._epoch()
                if progress:
                    progress(epoch)
        except KeyboardInterrupt:
            if not math.isfinite(self.best_loss):
                raise  # not one epoch done: nothing worth keeping
            return True
        return False

    def _epoch(self) -> Epoch:
        # All state changes together at the end, so that an interrupt within leaves the previous epoch.
        before = _snapshot(self)
        try:
            train_loss = self._train()
            validation_loss = self._validate()
        except KeyboardInterrupt:
            before.put_back(self)
            raise
        if not math.isfinite(validation_loss):
            raise InputError(
                f"training diverged in epoch {len(self.history) + 1} (validation loss {validation_loss}); lower "
                f"--learning-rate, it was {self.config.learning_rate}"
            )
        best = validation_loss < self.best_loss
        self.waited = 0 if best else self.waited + 1
        if best:
            self.best_loss = validation_loss
            self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.history.append({"train_loss": train_loss, "validation_loss": validation_loss})
        return Epoch(len(self.history), self.epochs, train_loss, validation_loss, best)

    def _train(self) -> float:
        self.network.train()
        order = torch.randperm(len(self.rows))
        shuffled = self.rows[order.to(self.rows.device)]
        total = torch.zeros((), device=self.rows.device)
        # A last batch of one row has no variance for batch norm: it joins the batch before.
        batches = list(torch.split(shuffled, self.config.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        step = len(self.history) * len(batches)
        for batch in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * _schedule(step / (self.epochs * len(batches)))
            _, reconstruction = self.network(batch)
            loss = torch.nn.functional.mse_loss(reconstruction, batch)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(batch)
            step += 1
        return float(total / len(self.rows))

    def _validate(self) -> float:
        self.network.eval()
        with torch.no_grad():
            _, reconstruction = self.network(self.held_out)
            return float(torch.nn.functional.mse_loss(reconstruction, self.held_out))

    def best_network(self) -> Autoencoder:
        network = Autoencoder(self.network.config)
        network.load_state_dict({name: value.cpu() for name, value in self.best.items()})
        return network.eval()

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs, as tensors."""
        tensors = {f"last.{name}": value.cpu().clone() for name, value in self.network.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{slot}": value.cpu().clone() for slot, value in slots.items()}
        tensors["random"] = torch.get_rng_state()
        return tensors

    def restore(self, previous: TrainedAutoencoder) -> None:
        state = previous.state
        self.network.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("last.")})
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("adam."):
                _, index, slot = name.split(".")
                slots.setdefault(int(index), {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        torch.set_rng_state(state["random"])
        self.history = [dict(epoch) for epoch in previous.history]
        losses = [epoch["validation_loss"] for epoch in self.history]
        self.best_loss = min(losses)
        self.waited = len(losses) - 1 - losses.index(self.best_loss)
        self.best = {k: v.to(self.rows.device) for k, v in previous.network.state_dict().items()}


class _snapshot:  # noqa: N801 - a verb: what it holds is put back or dropped
    """Weights, optimiser and random state at the start of an epoch."""

    def __init__(self, loop: _Loop) -> None:
        self.weights = {name: value.clone() for name, value in loop.network.state_dict().items()}
        state: dict[int, dict[str, Any]] = loop.optimizer.state_dict()["state"]
        self.slots = {i: {k: v.clone() for k, v in slots.items()} for i, slots in state.items()}
        self.random = torch.get_rng_state()

    def put_back(self, loop: _Loop) -> None:
        loop.network.load_state_dict(self.weights)
        groups = loop.optimizer.state_dict()["param_groups"]
        loop.optimizer.load_state_dict({"state": self.slots, "param_groups": groups})
        torch.set_rng_state(self.random)


def _schedule(progress: float) -> float:
    """Share of the peak learning rate at `progress` from 0 to 1: linear warm-up, then half a cosine.

    Cosine annealing: Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.
    """
    if progress < WARM_UP:
        return (progress + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _require_fit(
    table: Table,
    normal: Table,
    architecture: AutoencoderConfig,
    training: TrainingConfig,
    resume: TrainedAutoencoder | None,
) -> None:
    if not table.names:
        raise InputError(f"{table.source}: no feature columns are left; check --columns, --drop and --label")
    if len(normal) < MIN_ROWS:
        raise InputError(
            f"{table.source}: {MIN_ROWS} normal rows or more are needed to train, found {len(normal)} of "
            f"{len(table)}; give more rows, or check --label"
        )
    if architecture.n_features != len(table.names):
        raise InputError(
            f"{table.source}: the architecture expects {architecture.n_features} features, found "
            f"{len(table.names)}; adjust n_features or the columns"
        )
    if resume is None:
        return
    if resume.provenance.get("data_fingerprint") != fingerprint(table):
        raise InputError(
            f"{table.source}: not the table that the checkpoint was trained on; resume with that one, or "
            "train afresh"
        )
    if resume.network.config != architecture:
        raise InputError("resume: the architecture cannot change; drop those options, or train afresh")
    _, rows = _split(len(normal), training)
    losses = [epoch["validation_loss"] for epoch in resume.history]
    waited = len(losses) - 1 - losses.index(min(losses))
    if len(losses) >= training.epochs_for(len(rows)) or waited >= training.patience:
        raise InputError(
            f"resume: training had finished after {len(losses)} epochs; raise --epochs or --patience to go on"
        )


def _split(rows: int, training: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Indices of the held-out and of the training rows."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(training.seed))
    held_out = training.held_out_of(rows)
    return order[:held_out], order[held_out:]


def _standardise(values: NDArray[np.float64], statistics: Statistics) -> Tensor:
    rows = values.astype(np.float32).astype(np.float64)
    if statistics.fill is not None:
        rows = np.where(np.isnan(rows), statistics.fill, rows)
    return torch.from_numpy(((rows - statistics.mean) / statistics.scale).astype(np.float32))


def _held_out(network: Autoencoder, statistics: Statistics, rows: NDArray[np.float64], table: Table) -> HeldOut:
    reference = Pipeline(copy.deepcopy(network), statistics).double().eval()
    scores = evaluate_rows(reference, rows, torch.float64)["score"]
    order = np.argsort(scores)
    # Golden rows: the spread of held-out rows from the most normal to the oddest, and known anomalies.
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), GOLDEN_NORMAL)).round().astype(int))]
    sample = rows[chosen]
    if table.labels is not None:
        anomalies = table.values[table.labels]
        spread = np.linspace(0, len(anomalies) - 1, min(len(anomalies), GOLDEN_ANOMALIES)).round().astype(int)
        sample = np.concatenate([sample, anomalies[np.unique(spread)]])
    with np.errstate(over="ignore"):
        return HeldOut(sample.astype(np.float32), scores[order])


@contextmanager
def _seeded(seed: int, architecture: AutoencoderConfig) -> Iterator[None]:
    """Seed torch for a block, and give the caller's random state and thread count back after it."""
    widths = (architecture.n_features, *architecture.hidden_dims, architecture.embedding_dim)
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if max(a * b for a, b in pairwise(widths)) < SMALL_LAYER:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
