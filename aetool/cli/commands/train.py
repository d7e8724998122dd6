"""`aetool train`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, paths
from aetool.cli.config_file import config_option
from aetool.cli.options import limit, limits_in_force, needs
from aetool.cli.output import ProgressBar, Result, facts, reports, say

# Summary of a training in one line.


def epochs_line(history: Sequence[Mapping[str, float]], of_mean: float | None) -> str:
    """Return `118, best validation loss 0.0613 (the mean: 0.9801), 94% of the variance explained`.

    Args:
        history: one entry per epoch, with its `validation_loss`.
        of_mean: the loss of whoever expects the mean of the training rows; None where that is not known.
    """
    best = min(float(epoch["validation_loss"]) for epoch in history)
    line = f"{len(history)}, best validation loss {best:.4f}"
    if not of_mean:  # an older checkpoint, or rows that are all alike
        return line
    gain = f"{1 - best / of_mean:.0%} of the variance explained" if best < of_mean else "no better than the mean"
    return f"{line} (the mean: {of_mean:.4f}), {gain}"


# As in aetool.model.network, whose package imports torch; a test holds them together.
ACTIVATIONS = ("leaky_relu", "relu", "elu", "gelu", "silu", "tanh", "sigmoid")
DROPOUT_ON = ("embedding", "hidden", "both")
_MOST_CODES, _LEAST_ROWS_OF_A_CODE = 10, 0.01


@click.command()
@click.argument("data", type=options.PATH)
@config_option
@options.output(help="Checkpoint directory to write.  [default: NAME-checkpoint]")
@options.label
@options.drop
@options.columns
@options.categorical
@click.option("--impute", type=click.Choice(["mean", "median"]), help="Fill missing values, inside the model.")
@click.option("--hidden-dims", type=options.IntegerList(), help="Layers between features and embedding.")
@click.option("--embedding-dim", type=int, help="Width of the embedding.")
@click.option("--activation", type=click.Choice(ACTIVATIONS), help="After every layer but the last.")
@click.option("--dropout", type=float, help="Share of units dropped in training.")
@click.option("--dropout-on", type=click.Choice(DROPOUT_ON), help="Which layers' outputs lose units.")
@click.option("--batch-norm/--no-batch-norm", default=None, help="Batch normalisation after every layer.")
@click.option("--input-noise", type=float, help="Noise on the standardised features (denoising).")
@click.option("--epochs", type=int, help="Passes over the rows at most.")
@click.option("--batch-size", type=int, help="Rows per step.")
@click.option("--learning-rate", type=float, help="Peak of the schedule.")
@click.option("--weight-decay", type=float, help="L2 penalty.")
@click.option("--validation-fraction", type=float, help="Share of rows held out.")
@click.option("--patience", type=int, help="Epochs without improvement before stopping.")
@click.option("--seed", type=int, help="Same seed, same machine: same weights.")
@click.option("--resume", type=options.PATH, help="Continue this checkpoint on the same table.")
@limit()
@options.overwrite
@reports
def train(
    data: Path,
    output: Path | None,
    label: str | None,
    drop: tuple[tuple[str, ...], ...],
    columns: tuple[tuple[str, ...], ...],
    categorical: tuple[tuple[str, ...], ...],
    resume: Path | None,
    overwrite: bool,
    **settings: Any,
) -> Result:
    """Train an autoencoder on the rows of a table.

    DATA is a CSV, Parquet, NPY or NPZ file. With --label only the normal rows are learnt from. Architecture and
    epochs suit the table; options change them. Ctrl-C keeps the best epoch so far; the same command with --resume
    CHECKPOINT goes on from there.

    \b
    Example:
      aetool train machines.csv --label broken --drop serial -o checkpoint
      aetool train machines.csv --config aetool.toml --epochs 50 -o checkpoint
    """
    from aetool.tables import TableFile

    output = output or Path(f"{data.name.split('.')[0]}-checkpoint")
    chosen = {name: value for name, value in settings.items() if value is not None}
    if resume is not None:
        paths.require_checkpoint(resume)
        if fixed := sorted(set(chosen) - {"epochs", "patience"}):
            raise click.UsageError(
                f"--resume keeps what the checkpoint was trained with, it takes --epochs and --patience; "
                f"leave out --{fixed[0].replace('_', '-')}"
            )
    file = TableFile(
        data,
        label=label,
        drop=options.flat(drop),
        columns=options.flat(columns) or None,
        categorical=options.flat(categorical),
        limits=limits_in_force(),
    )
    paths.require_free(output, overwrite, paths.CHECKPOINT)
    with needs("train", "training"):
        from aetool import model
    table = file.read()
    if resume is None and model.is_first_process() and (codes := _like_codes(table)):
        option = f"--categorical {shlex.quote(','.join(codes))}"
        say(f"{', '.join(codes)}: few different whole numbers; if they are codes: {option}")
    previous = model.load_checkpoint(resume) if resume else None
    shape = {k: v for k, v in chosen.items() if k in _fields(model.AutoencoderConfig)}
    training = {k: v for k, v in chosen.items() if k in _fields(model.TrainingConfig)}
    if previous is not None:
        config, architecture = replace(previous.training, **training), previous.network.config
    else:
        config = model.TrainingConfig(**training)
        width = model.encoded_width(table.names, table.categories)
        architecture = replace(model.AutoencoderConfig.for_width(width), **shape)
    bar = ProgressBar(
        "validation loss {task.fields[loss]:.4f}",
        before="epoch {task.completed}/{task.total}",
        is_shown=model.is_first_process(),
        visible=False,  # until the first epoch is done
    )
    with bar:
        trained = model.train(
            table,
            config,
            architecture,
            progress=lambda epoch: bar.update(
                visible=True, total=epoch.of, completed=epoch.number, loss=epoch.validation_loss
            ),
            resume=previous,
        )
    if not model.is_first_process():  # of torchrun's; the first one writes and tells
        click.get_current_context().exit()
    model.save_checkpoint(trained, output, overwrite=overwrite)
    best = min(trained.history, key=lambda epoch: epoch["validation_loss"])
    document = {
        "checkpoint": str(output),
        "features": list(trained.names),
        "categories": trained.categories,
        "architecture": asdict(architecture),
        "epochs": len(trained.history),
        "validation_loss": best["validation_loss"],
        "validation_loss_of_mean": trained.provenance["validation_loss_of_mean"],
        **{key: trained.provenance[key] for key in ("rows_trained", "rows_held_out", "interrupted")},
    }

    def show(out: Console) -> None:
        widths = (architecture.n_features, *architecture.hidden_dims, architecture.embedding_dim)
        out.print(
            facts(
                [
                    ("checkpoint", str(output)),
                    ("shape", "-".join(map(str, widths + widths[-2::-1]))),
                    ("rows", f"{document['rows_trained']:,} trained, {document['rows_held_out']:,} held out"),
                    ("epochs", epochs_line(trained.history, trained.provenance["validation_loss_of_mean"])),
                    ("next", f"aetool export {shlex.quote(str(output))}"),
                ]
            )
        )

    if trained.provenance["interrupted"]:
        again = f"the same command with --resume {shlex.quote(str(output))} --overwrite goes on"
        say(f"Interrupted: the best of {len(trained.history)} epochs is kept; {again}")
    return Result(document, show, exit_code=130 if trained.provenance["interrupted"] else 0)


def _like_codes(table: Any) -> list[str]:
    """Return columns of numbers that may be codes.

    These are whole numbers without a gap, from 0 or 1 to _MOST_CODES at most, each of them in many rows, but not 0
    and 1 alone. A count mostly has a few large values, too.
    """
    import numpy as np

    found = []
    for name, column in zip(table.names, table.values.T, strict=True):
        known = column[np.isfinite(column)]
        if name in table.categories or not known.size or known.max() > _MOST_CODES or known.min() not in (0, 1):
            continue
        values, counts = np.unique(known, return_counts=True)
        in_a_row = np.array_equal(values, np.arange(values[0], values[0] + len(values)))
        if (
            in_a_row
            and len(values) > 1
            and values.tolist() != [0, 1]
            and counts.min() >= _LEAST_ROWS_OF_A_CODE * len(known)
        ):
            found.append(name)
    return found


def _fields(config: type[Any]) -> set[str]:
    return set(config.__dataclass_fields__)
