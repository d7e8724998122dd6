"""`aetool train`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.choices import ACTIVATIONS, DROPOUT_ON
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._config_file import config_option
from aetool.cli._options import limit, limits_in_force, needs, reading_in_force
from aetool.cli._output import ProgressBar, Result, facts, reports, say
from aetool.cli._tables import tell_reading

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


@click.command()
@click.argument("data", type=options.PATH)
@config_option
@options.output(help="Checkpoint directory to write.  [default: NAME-checkpoint]")
@options.label
@options.drop
@options.columns
@options.categorical
@options.several(
    ("--impute", click.Choice(["mean", "median"]), "Fill missing values, inside the model."),
    ("--hidden-dims", options.IntegerList(), "Layers between features and embedding."),
    ("--embedding-dim", int, "Width of the embedding."),
    ("--activation", click.Choice(ACTIVATIONS), "After every layer but the last."),
    ("--dropout", float, "Share of units dropped in training."),
    ("--dropout-on", click.Choice(DROPOUT_ON), "Which layers' outputs lose units."),
)
@click.option("--batch-norm/--no-batch-norm", default=None, help="Batch normalisation after every layer.")
@options.several(
    ("--input-noise", float, "Noise on the standardised features (denoising)."),
    ("--epochs", int, "Passes over the rows at most."),
    ("--batch-size", int, "Rows per step."),
    ("--learning-rate", float, "Peak of the schedule."),
    ("--weight-decay", float, "L2 penalty."),
    ("--validation-fraction", float, "Share of rows held out."),
    ("--patience", int, "Epochs without improvement before stopping."),
    ("--seed", int, "Same seed, same machine: same weights."),
    ("--resume", options.PATH, "Continue this checkpoint on the same table."),
)
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
    from aetool.tables import TableFile, Trains
    from aetool.tables.hints import hints

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
        reading=reading_in_force(),
        trains=Trains(settings["impute"]),
        limits=limits_in_force(),
    )
    paths.require_free(output, overwrite, paths.CHECKPOINT)
    table = file.read()  # before torch, which takes its time
    with needs("train", "training"):
        from aetool import model
    if resume is None and model.is_first_process():
        tell_reading(table)
        for hint in hints(table):
            say(hint)
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


def _fields(config: type[Any]) -> set[str]:
    return set(config.__dataclass_fields__)
