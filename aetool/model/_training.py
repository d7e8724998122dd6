"""Training: preparing and splitting rows, the loop with early stopping, the result."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aetool.bundle.baseline import features_of
from aetool.bundle.golden import evenly
from aetool.errors import CheckpointError, InputError
from aetool.model._adam import Adam
from aetool.model._distributed import ALONE, Processes, joined
from aetool.model._one_hot import OneHot, encoded_width, one_hot
from aetool.model.checkpoint import HeldOut, TrainedAutoencoder, network_from
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig
from aetool.model.pipeline import Pipeline, evaluate_rows, missing_of
from aetool.model.prototypes import learn_prototypes
from aetool.model.statistics import Statistics, constant_columns, is_infinite, learn_statistics
from aetool.runtime.machine import available_memory
from aetool.tables import Table, Trains, fingerprint, require_trainable, table_from_columns

# The training loop: Adam, early stopping on held-out rows, the best epoch kept.

_WARM_UP = 0.1
"""Share of the steps in which the learning rate climbs."""
_SMALL_LAYER = 128 * 1024
"""Weights below which a step is too short for a second thread to help."""
_HIDDEN = 0.2
"""Share of the values that training hides where others are missing."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """State of the training after an epoch, for a progress display."""

    number: int
    """1 for the first."""
    of: int
    train_loss: float
    validation_loss: float
    best: bool


class Loop:
    """One training: the state changes after an epoch, all at once, so that an interrupt leaves it consistent."""

    def __init__(
        self,
        network: Autoencoder,
        rows: Tensor,
        held_out: Tensor,
        config: TrainingConfig,
        processes: Processes = ALONE,
        fill: Tensor | None = None,
    ) -> None:
        """Prepare training from the network's present weights.

        Args:
            network: trained in place.
            rows: standardised training rows, (rows, n_encoded); NaN where a value is missing.
            held_out: standardised validation rows, likewise.
            config: configuration of the training.
            processes: processes that train together.
            fill: the network's input for a missing value, (n_encoded,), standardised; its reconstruction counts
                in no loss. None where none is missing.
        """
        self.fill = fill
        self.network, self.rows, self.held_out, self.config = network, rows, held_out, config
        self.processes, self.learner = processes, processes.wrap(network)
        self.epochs = config.epochs_for(len(rows))
        self.optimizer = Adam(network.parameters(), config.weight_decay)
        self.history: tuple[dict[str, float], ...] = ()
        self.best: dict[str, Tensor] = {}
        self.state: dict[str, Tensor] = {}
        """Everything that `restore` needs to go on after the last whole epoch."""

    def run(self, progress: Callable[[Epoch], None] | None) -> bool:
        """Train to the end; True if a KeyboardInterrupt cut it short."""
        try:
            while not finished(self.history, self.epochs, self.config.patience):
                epoch = self._epoch()
                if progress:
                    progress(epoch)
        except KeyboardInterrupt:
            if not self.history:
                raise  # not one epoch done: nothing worth keeping
            return True
        return False

    def loss_of_mean(self) -> float:
        """Return the validation loss of predicting the mean of the training rows for every row: a yardstick."""
        mean = self.rows.double().nanmean(dim=0)
        return float(self.processes.agreed((self.held_out.double() - mean).square().nanmean()))

    def best_network(self) -> Autoencoder:
        """Return the network of the best epoch, in eval mode, on the CPU."""
        return network_from(self.network.config, self.best)

    def restore(self, previous: TrainedAutoencoder) -> None:
        """Continue where `previous` stopped.

        Raises:
            CheckpointError: its state is not that of this network and optimiser.
        """
        state = previous.state
        found = {name: (v.shape, v.dtype) for name, v in state.items() if name != "random_cuda"}
        odd = sorted(name for name, _ in self._expected().items() ^ found.items())
        if odd:
            raise CheckpointError(
                f"resume: the state of the checkpoint does not fit its network ({odd[0]}); train from scratch"
            )
        self.network.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("last.")})
        self.optimizer.restore({k[5:]: v for k, v in state.items() if k.startswith("adam.")})
        # The first process saved it; the others go on with masks of their own.
        if self.processes.first:
            torch.set_rng_state(state["random"])
        if self.processes.first and self.rows.is_cuda and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"], self.rows.device)
        self.history = tuple(dict(epoch) for epoch in previous.history)
        self.best = dict(previous.network.state_dict())
        self.state = dict(state)

    def _expected(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Return shape and type of what `restore` needs."""
        found = {name: (value.shape, value.dtype) for name, value in self._state().items()}
        found.pop("random_cuda", None)
        return found

    def _epoch(self) -> Epoch:
        train_loss = self._train()
        validation_loss = self._validate()
        number = len(self.history) + 1
        if not (math.isfinite(validation_loss) and math.isfinite(train_loss)):
            raise InputError(
                f"training diverged in epoch {number} (training loss {train_loss}, validation loss "
                f"{validation_loss}); lower --learning-rate, it was {self.config.learning_rate}"
            )
        is_best = all(validation_loss < epoch["validation_loss"] for epoch in self.history)
        best = _copies(self.network.state_dict()) if is_best else self.best
        history = (*self.history, {"train_loss": train_loss, "validation_loss": validation_loss})
        state = self._state()
        # No call between these: Python delivers an interrupt at calls only, so it finds all or none changed.
        self.best, self.history, self.state = best, history, state
        return Epoch(number, self.epochs, train_loss, validation_loss, is_best)

    def _train(self) -> float:
        self.network.train()
        order = self.processes.agreed(torch.randperm(len(self.rows)).to(self.rows.device))
        shuffled = self.rows[order]
        total = torch.zeros((), device=self.rows.device)
        # A single row has no variance for batch norm: a last batch so small joins the batch before.
        batches = list(torch.split(shuffled, self.config.batch_size))
        if len(batches) > 1 and len(batches[-1]) < 2 * self.processes.count:
            batches[-2:] = [torch.cat(batches[-2:])]
        step = len(self.history) * len(batches)
        for batch in batches:
            part = self.processes.part(batch)
            _, reconstruction = self.learner(self._hidden(part))
            loss = self._loss(reconstruction, part)
            # Gradients are averaged over the processes: weighed so that every row of the batch counts alike.
            (loss * (len(part) * self.processes.count / len(batch))).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step(self.config.learning_rate * _schedule(step / (self.epochs * len(batches))))
            total += loss.detach() * len(part)
            step += 1
        return float(self.processes.summed(total) / len(self.rows))

    def _validate(self) -> float:
        self.network.eval()
        with torch.no_grad():
            _, reconstruction = self.network(self._shown(self.held_out))
            # float64: a held-out row may lie so far out that its square leaves float32.
            loss = self._loss(reconstruction.double(), self.held_out.double())
            # One verdict for all: batch norm's averages differ a little from process to process.
            return float(self.processes.agreed(loss))

    def _shown(self, rows: Tensor) -> Tensor:
        """Return the network's input for the rows."""
        return rows if self.fill is None else torch.where(torch.isnan(rows), self.fill, rows)

    def _hidden(self, rows: Tensor) -> Tensor:
        """Return the same with a share of the values masked as missing, so that the network learns to do
        without.

        A denoising autoencoder with masking noise: Vincent et al., Extracting and Composing Robust Features with
        Denoising Autoencoders, ICML 2008.
        """
        if self.fill is None:
            return rows
        hidden = torch.rand(rows.shape, device=rows.device) < _HIDDEN
        return torch.where(torch.isnan(rows) | hidden, self.fill, rows)

    def _loss(self, reconstruction: Tensor, rows: Tensor) -> Tensor:
        """Return the mean squared error of the present values."""
        if self.fill is None:
            return torch.nn.functional.mse_loss(reconstruction, rows)
        missing = torch.isnan(rows)
        squares = torch.where(missing, reconstruction.detach(), rows).sub(reconstruction).square()
        return squares.sum() / torch.logical_not(missing).sum().clamp(min=1)

    def _state(self) -> dict[str, Tensor]:
        tensors = {f"last.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"adam.{name}": value for name, value in self.optimizer.state().items()}
        tensors["random"] = torch.get_rng_state()
        if self.rows.is_cuda:
            tensors["random_cuda"] = torch.cuda.get_rng_state(self.rows.device)
        return _copies(tensors)


def finished(history: Sequence[Mapping[str, float]], epochs: int, patience: int) -> bool:
    """Return True if all epochs are done, or the last `patience` of them brought no improvement."""
    losses = [epoch["validation_loss"] for epoch in history]
    return len(losses) >= epochs or (bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience)


@contextmanager
def own_settings(seed: int, architecture: AutoencoderConfig) -> Iterator[None]:
    """Seed torch and set what training relies on; restore the caller's settings after the block."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        small = max(a * b for a, b in pairwise(architecture.widths)) < _SMALL_LAYER
        if small and architecture.architecture == "dense":
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def _schedule(progress: float) -> float:
    """Share of the peak learning rate at `progress` from 0 to 1: linear warm-up, then half a cosine.

    Cosine annealing: Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.
    """
    if progress < _WARM_UP:
        return (progress + 1e-3) / (_WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


_GOLDEN_NORMAL = 192
_GOLDEN_ANOMALIES = 64
_COMPARABLE = 1e30
"""Scores below can still be compared in float32 when the row is 100 times as far out."""


def train(
    table: Any,
    training: TrainingConfig | None = None,
    architecture: AutoencoderConfig | None = None,
    *,
    label: str | None = None,
    progress: Callable[[Epoch], None] | None = None,
    resume: TrainedAutoencoder | None = None,
) -> TrainedAutoencoder:
    """Train an autoencoder on the normal rows of a table.

    Rows labelled as anomalies are left out of training; some of them become golden vectors.
    KeyboardInterrupt ends training early and keeps the best epoch so far (`provenance["interrupted"]`).
    Under torchrun the processes share each batch, and all of them return the same network.

    Args:
        table: a `Table`; or rows that `table_from_columns` takes, such as a DataFrame or an array.
        training: options of the training; `TrainingConfig()` by default, or those of `resume`.
        architecture: `AutoencoderConfig.for_width` by default, or that of `resume`.
        label: the column of labels, if the rows are not a `Table`.
        progress: called after every epoch.
        resume: continue this training on the same table, as if it had never been interrupted.

    Raises:
        InputError: too few rows, missing or infinite values, a table that does not fit, or divergence.
    """
    training = training or (resume.training if resume else TrainingConfig())
    if not isinstance(table, Table):
        table = table_from_columns(table, label=label, trains=Trains(training.impute))
    if not table.names:
        raise InputError(f"{table.source}: no feature columns are left; check --columns, --drop and --label")
    if training.impute is not None:  # infinite values count as missing where those are filled
        table = replace(table, values=np.where(is_infinite(table.values), np.nan, table.values))
    width = encoded_width(table.names, table.categories)
    normal = table if table.labels is None else table.select(~table.labels)
    if architecture is None:
        architecture = resume.network.config if resume else AutoencoderConfig.for_width(width, len(normal))
    _require_fit(table, normal, architecture, training, resume)
    _require_memory(architecture, table)
    held_out_rows, training_rows = _split(len(normal), training)
    # From the training rows alone: statistics that knew the held-out rows would flatter them.
    encoding = one_hot(table.names, table.categories)
    numbers, numeric = _numbers(normal)
    statistics = learn_statistics(numbers[training_rows.numpy()], numeric, training.impute, training.constant)
    if encoding is not None:
        statistics = encoding.widen(statistics)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with (
        joined(len(training_rows), training.batch_size) as processes,
        own_settings(training.seed + processes.rank, architecture),
    ):
        standardised = _standardise(normal.values, statistics, encoding).to(device)
        unchanged = standardised[training_rows].eq(0).all(dim=0).cpu()
        loop = Loop(
            without_inputs(Autoencoder(architecture), unchanged).to(device),
            standardised[training_rows],
            standardised[held_out_rows],
            training,
            processes,
            _fill(statistics, encoding, standardised),
        )
        if resume is not None:
            loop.restore(resume)
        interrupted = loop.run(progress)
        loss_of_mean = loop.loss_of_mean()
    network, prototypes = loop.best_network(), None
    if training.score == "prototypes":
        prototypes = learn_prototypes(standardised[training_rows].cpu().numpy(), training.seed)
    constant = constant_columns(normal.values[training_rows.numpy()], table.names)
    return TrainedAutoencoder(
        network,
        statistics,
        table.names,
        training,
        loop.history,
        _held_out(
            Pipeline(network, statistics, encoding, prototypes), normal.values[held_out_rows.numpy()], table
        ),
        {
            "data": table.source.replace("\\", "/").rsplit("/", 1)[-1],
            "data_fingerprint": fingerprint(table),
            "normal_rows_fingerprint": fingerprint(normal),
            "rows_trained": len(training_rows),
            "rows_held_out": len(held_out_rows),
            "rows_labelled_anomalous": len(table) - len(normal),
            "validation_loss_of_mean": loss_of_mean,
            "interrupted": interrupted,
            "device": str(device),
            **({"processes": processes.count} if processes.count > 1 else {}),
            "torch": torch.__version__,
            **({"constant_features": constant} if constant else {}),
            **({"reading": reading} if (reading := table.reading.to_dict()) else {}),
        },
        loop.state,
        dict(table.categories),
        features_of(normal.values[training_rows.numpy()], table.names, table.categories),
        prototypes=prototypes,
    )


def without_inputs(network: Autoencoder, constant: Tensor) -> Autoencoder:
    """Let the network ignore inputs that never change: nothing is learnt of them, a change would blur the rest."""
    first = network.encoder[0]
    assert isinstance(first, torch.nn.Linear)
    with torch.no_grad():
        first.weight[:, constant] = 0
    return network


def _require_memory(architecture: AutoencoderConfig, table: Table) -> None:
    """Refuse what will not fit in memory before any of it is taken.

    Raises:
        InputError: naming what it takes and what there is.
    """
    needed, free = architecture.training_bytes(len(table)), available_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{table.source}: training needs about {needed / 1e9:.1f} GB, a network of "
            f"{architecture.n_weights:,} weights, and {free / 1e9:.1f} GB are free; give a smaller "
            "--embedding-dim, or fewer --columns"
        )


def _require_fit(
    table: Table,
    normal: Table,
    architecture: AutoencoderConfig,
    training: TrainingConfig,
    resume: TrainedAutoencoder | None,
) -> None:
    require_trainable(*_numbers(normal), training.impute, table.source)
    if architecture.n_features != (width := encoded_width(table.names, table.categories)):
        raise InputError(
            f"{table.source}: the architecture expects {architecture.n_features} features, found {width}"
            f"{', categories counted one by one' if table.categories else ''}; adjust n_features or the columns"
        )
    if architecture.batch_norm and training.batch_size == 1:
        raise InputError("batch_size: expected 2 or more with batch_norm, found 1; a single row has no variance")
    if resume is not None:
        _require_resumable(resume, table, normal, architecture, training)


def _require_resumable(
    resume: TrainedAutoencoder,
    table: Table,
    normal: Table,
    architecture: AutoencoderConfig,
    training: TrainingConfig,
) -> None:
    # Both: the fingerprint of a table leaves its labels out.
    fingerprints = {"data_fingerprint": fingerprint(table), "normal_rows_fingerprint": fingerprint(normal)}
    if any(resume.provenance.get(name) != value for name, value in fingerprints.items()):
        raise InputError(
            f"{table.source}: not the table that the checkpoint was trained on; resume with that one, or "
            "train from scratch"
        )
    if resume.network.config != architecture:
        raise InputError("resume: the architecture cannot change; drop those options, or train from scratch")
    for name in ("seed", "validation_fraction", "impute"):
        if getattr(resume.training, name) != getattr(training, name):
            raise InputError(
                f"resume: {name} cannot change from {getattr(resume.training, name)!r} to "
                f"{getattr(training, name)!r}, held-out rows would become training rows; train from scratch"
            )
    _, rows = _split(len(normal), training)
    if finished(resume.history, training.epochs_for(len(rows)), training.patience):
        raise InputError(
            f"resume: training had finished after {len(resume.history)} epochs; raise --epochs or --patience to "
            "go on"
        )


def _numbers(table: Table) -> tuple[NDArray[np.float64], list[str]]:
    """Return the columns that hold no categories, and their names."""
    names = [name for name in table.names if name not in table.categories]
    return table.values[:, [name not in table.categories for name in table.names]], names


def _split(rows: int, training: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Return the indices of the held-out and of the training rows."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(training.seed))
    held_out = training.held_out_of(rows)
    return order[:held_out], order[held_out:]


def _standardise(values: NDArray[np.float64], statistics: Statistics, encoding: OneHot | None) -> Tensor:
    """Return rows as the network takes them, (rows, n_encoded), NaN for missing values that are left out."""
    rows = torch.from_numpy(values.astype(np.float32).astype(np.float64))
    filled = rows
    if statistics.fill is not None:
        filled = torch.where(torch.isnan(rows), torch.from_numpy(statistics.fill).double(), rows)
    encoded = (filled if encoding is None else encoding(filled)).numpy()
    standardised = torch.from_numpy(((encoded - statistics.mean) / statistics.scale).astype(np.float32))
    if statistics.leaves_out:
        standardised[missing_of(rows, encoding)] = torch.nan
    return standardised


def _fill(statistics: Statistics, encoding: OneHot | None, standardised: Tensor) -> Tensor | None:
    """Return the network's input for a missing value, (n_encoded,); None if none is missing."""
    if statistics.fill is None or not bool(torch.isnan(standardised).any()):
        return None
    row = _standardise(statistics.fill[None].astype(np.float64), statistics, encoding)
    return row[0].to(standardised.device)


def _held_out(pipeline: Pipeline, rows: NDArray[np.float64], table: Table) -> HeldOut:
    reference = copy.deepcopy(pipeline).double().eval()
    scores = evaluate_rows(reference, rows, torch.float64)["score"]
    rows, scores = rows[~np.isnan(scores)], scores[~np.isnan(scores)]  # rows without any value have none
    order = np.argsort(scores)
    # Golden rows: the spread of held-out rows from the most normal to the oddest, and known anomalies.
    sample = rows[order][evenly(len(rows), _GOLDEN_NORMAL)]
    if table.labels is not None:
        anomalies = table.values[table.labels]
        # A row that scores beyond float32 has nothing to compare but its verdict.
        anomalies = anomalies[evaluate_rows(reference, anomalies, torch.float64)["score"] < _COMPARABLE]
        sample = np.concatenate([sample, anomalies[evenly(len(anomalies), _GOLDEN_ANOMALIES)]])
    return HeldOut(sample.astype(np.float32), scores[order])
