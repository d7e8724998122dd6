"""The training loop: Adam, early stopping on held-out rows, the best epoch kept; an interrupt loses nothing."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from aetool.errors import CheckpointError, InputError
from aetool.model._adam import Adam
from aetool.model._distributed import ALONE, Processes
from aetool.model.checkpoint import TrainedAutoencoder, network_from
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig

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


def without_inputs(network: Autoencoder, constant: Tensor) -> Autoencoder:
    """Let the network ignore inputs that never change: nothing is learnt of them, a change would blur the rest."""
    first = network.encoder[0]
    assert isinstance(first, torch.nn.Linear)
    with torch.no_grad():
        first.weight[:, constant] = 0
    return network


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def _schedule(progress: float) -> float:
    """Share of the peak learning rate at `progress` from 0 to 1: linear warm-up, then half a cosine.

    Cosine annealing: Loshchilov and Hutter, SGDR, arXiv 1608.03983, equation 5.
    """
    if progress < _WARM_UP:
        return (progress + 1e-3) / (_WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
