"""Training on a table: its rows prepared and split, the loop, the result."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aetool.bundle.baseline import features_of
from aetool.errors import InputError
from aetool.model._distributed import joined
from aetool.model._held_out import balanced, held_out
from aetool.model._loop import Epoch, Loop, finished, own_settings, without_inputs
from aetool.model._one_hot import OneHot, encoded_width, one_hot
from aetool.model.checkpoint import TrainedAutoencoder
from aetool.model.network import Autoencoder, AutoencoderConfig, TrainingConfig
from aetool.model.pipeline import Pipeline, missing_of
from aetool.model.prototypes import learn_prototypes
from aetool.model.statistics import Statistics, constant_columns, is_infinite, learn_statistics
from aetool.runtime.machine import available_memory
from aetool.tables import Table, Trains, fingerprint, require_trainable, table_from_columns


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
    network, rows = loop.best_network(), standardised[training_rows].cpu().numpy()
    aside = normal.values[held_out_rows.numpy()]
    prototypes = None
    if training.score == "prototypes":
        learnt = learn_prototypes(rows, training.seed)
        prototypes = balanced(Pipeline(network, statistics, encoding), learnt, aside)
    constant = constant_columns(normal.values[training_rows.numpy()], table.names)
    return TrainedAutoencoder(
        network,
        statistics,
        table.names,
        training,
        loop.history,
        held_out(
            Pipeline(network, statistics, encoding, prototypes),
            aside,
            table.values[:0] if table.labels is None else table.values[table.labels],
            normal.values[training_rows.numpy()],
            rows,
            training.seed,
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
