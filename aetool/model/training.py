"""Training: rows prepared and split, the loop run, its outcome bound together."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aetool.baseline import features_of
from aetool.errors import InputError
from aetool.model.autoencoder import Autoencoder
from aetool.model.checkpoint import HeldOut, TrainedAutoencoder
from aetool.model.config import AutoencoderConfig, TrainingConfig
from aetool.model.loop import Epoch, Loop, finished, own_settings
from aetool.model.one_hot import OneHot, encoded_width, one_hot
from aetool.model.pipeline import Pipeline, evaluate_rows, missing_of
from aetool.model.processes import joined
from aetool.model.statistics import Statistics, learn_statistics, require_usable
from aetool.tables import Table, fingerprint

MIN_ROWS = 10
GOLDEN_NORMAL = 192
GOLDEN_ANOMALIES = 64
COMPARABLE = 1e30
"""Scores below can still be compared in float32 when the row is 100 times as far out."""


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
    Under torchrun the processes share each batch, and all of them return the same network.

    Args:
        table: feature columns, and labels if there are any.
        training: how; `TrainingConfig()` by default, or that of `resume`.
        architecture: what; `AutoencoderConfig.for_width` by default, or that of `resume`.
        progress: called after every epoch.
        resume: continue this training on the same table: the outcome is that of a run never interrupted.

    Raises:
        InputError: too few rows, missing or infinite values, a table that does not fit, or divergence.
    """
    if not table.names:
        raise InputError(f"{table.source}: no feature columns are left; check --columns, --drop and --label")
    training = training or (resume.training if resume else TrainingConfig())
    width = encoded_width(table.names, table.categories)
    architecture = architecture or (resume.network.config if resume else AutoencoderConfig.for_width(width))
    normal = table if table.labels is None else table.select(~table.labels)
    _require_fit(table, normal, architecture, training, resume)
    held_out_rows, training_rows = _split(len(normal), training)
    # From the training rows alone: statistics that knew the held-out rows would flatter them.
    encoding = one_hot(table.names, table.categories)
    numbers, numeric = _numbers(normal)
    statistics = learn_statistics(numbers[training_rows.numpy()], numeric, training.impute)
    if encoding is not None:
        statistics = encoding.widen(statistics)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with (
        joined(len(training_rows), training.batch_size) as processes,
        own_settings(training.seed + processes.rank, architecture),
    ):
        standardised = _standardise(normal.values, statistics, encoding).to(device)
        loop = Loop(
            Autoencoder(architecture).to(device),
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
    network = loop.best_network()
    return TrainedAutoencoder(
        network,
        statistics,
        table.names,
        training,
        loop.history,
        _held_out(Pipeline(network, statistics, encoding), normal.values[held_out_rows.numpy()], table),
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
        },
        loop.state,
        dict(table.categories),
        features_of(normal.values[training_rows.numpy()], table.names, table.categories),
    )


def _require_fit(
    table: Table,
    normal: Table,
    architecture: AutoencoderConfig,
    training: TrainingConfig,
    resume: TrainedAutoencoder | None,
) -> None:
    if len(normal) < MIN_ROWS:
        raise InputError(
            f"{table.source}: {MIN_ROWS} normal rows or more are needed to train, found {len(normal)} of "
            f"{len(table)}; give more rows, or check --label"
        )
    if architecture.n_features != (width := encoded_width(table.names, table.categories)):
        raise InputError(
            f"{table.source}: the architecture expects {architecture.n_features} features, found {width}"
            f"{', categories counted one by one' if table.categories else ''}; adjust n_features or the columns"
        )
    if architecture.batch_norm and training.batch_size == 1:
        raise InputError("batch_size: expected 2 or more with batch_norm, found 1; a single row has no variance")
    require_usable(*_numbers(normal), training.impute)
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
    found = {"data_fingerprint": fingerprint(table), "normal_rows_fingerprint": fingerprint(normal)}
    if any(resume.provenance.get(name) != value for name, value in found.items()):
        raise InputError(
            f"{table.source}: not the table that the checkpoint was trained on; resume with that one, or "
            "train afresh"
        )
    if resume.network.config != architecture:
        raise InputError("resume: the architecture cannot change; drop those options, or train afresh")
    for name in ("seed", "validation_fraction", "impute"):
        if getattr(resume.training, name) != getattr(training, name):
            raise InputError(
                f"resume: {name} cannot change from {getattr(resume.training, name)!r} to "
                f"{getattr(training, name)!r}, held-out rows would become training rows; train afresh"
            )
    _, rows = _split(len(normal), training)
    if finished(resume.history, training.epochs_for(len(rows)), training.patience):
        raise InputError(
            f"resume: training had finished after {len(resume.history)} epochs; raise --epochs or --patience to "
            "go on"
        )


def _numbers(table: Table) -> tuple[NDArray[np.float64], list[str]]:
    """The columns that hold no categories, and their names."""
    names = [name for name in table.names if name not in table.categories]
    return table.values[:, [name not in table.categories for name in table.names]], names


def _split(rows: int, training: TrainingConfig) -> tuple[Tensor, Tensor]:
    """Indices of the held-out and of the training rows."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(training.seed))
    held_out = training.held_out_of(rows)
    return order[:held_out], order[held_out:]


def _standardise(values: NDArray[np.float64], statistics: Statistics, encoding: OneHot | None) -> Tensor:
    """Rows as the network takes them, (rows, n_encoded), NaN where a value is missing that is left out."""
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
    """What the network is shown where a value is missing, (n_encoded,); None where none is."""
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
    sample = _spread(rows[order], GOLDEN_NORMAL)
    if table.labels is not None:
        anomalies = table.values[table.labels]
        # A row that scores beyond float32 has nothing to compare but its verdict.
        comparable = evaluate_rows(reference, anomalies, torch.float64)["score"] < COMPARABLE
        sample = np.concatenate([sample, _spread(anomalies[comparable], GOLDEN_ANOMALIES)])
    return HeldOut(sample.astype(np.float32), scores[order])


def _spread(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """`count` rows, evenly from the first to the last; all of them where they are fewer."""
    chosen: NDArray[np.float64] = rows[
        np.unique(np.linspace(0, len(rows) - 1, min(len(rows), count)).round().astype(int))
    ]
    return chosen
