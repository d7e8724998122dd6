"""`aetool train`."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.choices import ACTIVATIONS, CONSTANT, DROPOUT_ON, SCORES_BY
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._config_file import config_option
from aetool.cli._options import limit, limits_in_force, needs, reading_in_force
from aetool.cli._output import Result, reports, say, show_facts
from aetool.cli._progress import steps
from aetool.cli._tables import tell_reading
from aetool.cli.commands._train_series import LogOptions, require_no_series, series_options, train_series
from aetool.cli.show.training import epochs_line
from aetool.errors import InputError
from aetool.suggest import few

_SHOWN = 8  # names of features in a message


@click.command()
@click.argument("data", type=options.PATH)
@config_option
@options.output(help="Checkpoint directory to write.  [default: NAME-checkpoint]")
@options.label
@options.drop
@options.columns
@options.categorical
@series_options
@options.several(
    (
        "--impute",
        click.Choice(["mean", "median", "last"]),
        "Fill missing values inside the model.",
    ),
    ("--constant", click.Choice(CONSTANT), "Score or ignore changes in columns that are constant in training."),
    (
        "--score",
        click.Choice(SCORES_BY),
        "Score rows by typical rows and reconstruction, or reconstruction alone.",
    ),
    ("--hidden-dims", options.IntegerList(), "Widths of the layers between features and embedding."),
    ("--embedding-dim", int, "Width of the embedding."),
    ("--activation", click.Choice(ACTIVATIONS), "Activation after every layer but the last."),
    ("--dropout", float, "Share of units dropped in training."),
    ("--dropout-on", click.Choice(DROPOUT_ON), "Layers that dropout applies to."),
)
@click.option("--batch-norm/--no-batch-norm", default=None, help="Batch normalisation after every layer.")
@options.several(
    ("--input-noise", float, "Standard deviation of noise on the standardised features (denoising)."),
    ("--epochs", int, "Maximum passes over the rows."),
    ("--batch-size", int, "Rows per step."),
    ("--learning-rate", float, "Peak learning rate of the schedule."),
    ("--weight-decay", float, "L2 penalty."),
    ("--validation-fraction", float, "Share of rows held out for validation."),
    ("--patience", int, "Epochs without improvement before stopping."),
    ("--seed", int, "Seed; on one machine it determines the weights."),
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

    DATA is a CSV, Parquet, NPY or NPZ file. With --label, only normal rows are used for training. Architecture
    and epochs are chosen for the table; options change them. Ctrl-C keeps the best epoch so far, and --resume
    CHECKPOINT continues from there.

    With --window, DATA is a log, a file or a directory of files, and the model is one of windows: so many rows of
    the log after one another, of one --group, without a gap in --time.

    \b
    Example:
      aetool train machines.csv --label broken --drop serial -o checkpoint
      aetool train log.csv --window 64 --time t --group machine -o checkpoint
      aetool train machines.csv --config aetool.toml --epochs 50 -o checkpoint
    """
    from aetool.tables import TableFile, Trains
    from aetool.tables.hints import hints

    output = output or Path(f"{data.name.split('.')[0]}-checkpoint")
    if settings["window"] is not None:
        if resume is not None:
            raise click.UsageError("--resume continues tables; train on the windows of a log from scratch")
        if categorical:
            raise click.UsageError(
                "--categorical is for tables; channels of a log are numbers: leave text out with --drop, or write "
                "states as numbers, such as run 1 and idle 0"
            )
        paths.require_free(output, overwrite, paths.CHECKPOINT)
        chosen_columns = LogOptions(label, options.flat(drop), options.flat(columns) or None)
        return train_series(data, output, chosen_columns, settings, overwrite)
    require_no_series(settings)
    if settings["impute"] == "last":
        raise click.UsageError("--impute last is for the windows of a log; give --window too, or mean or median")
    chosen = {name: value for name, value in settings.items() if value is not None}
    if resume is not None:
        paths.require_checkpoint(resume)
        if fixed := sorted(set(chosen) - {"epochs", "patience"}):
            raise click.UsageError(
                f"--resume keeps the options of the checkpoint except --epochs and --patience; "
                f"leave out --{fixed[0].replace('_', '-')}"
            )
    steps().step(f"reading {data.name}")
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
    table = _read(file, data)  # before torch, which takes its time
    with needs("train", "training"):
        from aetool import model
    if resume is None and model.is_first_process():
        say(f"{len(table.names):,} features: {few(table.names, _SHOWN)}")
        tell_reading(table)
        for hint in [*hints(table), *_like_a_log(data)]:
            say(hint)
    previous = model.load_checkpoint(resume) if resume else None
    shape = {k: v for k, v in chosen.items() if k in _fields(model.AutoencoderConfig)}
    training = {k: v for k, v in chosen.items() if k in _fields(model.TrainingConfig)}
    if previous is not None:
        config, architecture = replace(previous.training, **training), previous.network.config
    else:
        config = model.TrainingConfig(**training)
        width = model.encoded_width(table.names, table.categories)
        architecture = replace(model.AutoencoderConfig.for_width(width, _normal_rows(table)), **shape)
    steps().step("training")
    last: Any = None

    def progress(epoch: Any) -> None:
        nonlocal last
        last = epoch
        text = f"epoch {epoch.number:,} of at most {epoch.of:,}, loss {epoch.validation_loss:.4f}"
        steps().update(text, epoch.number / epoch.of)

    trained = model.train(table, config, architecture, progress=progress, resume=previous)
    steps().done(_ending(last, config.patience, trained.provenance["interrupted"]))
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
        pairs = [
            ("checkpoint", str(output)),
            ("shape", "-".join(map(str, widths + widths[-2::-1]))),
            ("rows", f"{document['rows_trained']:,} trained, {document['rows_held_out']:,} held out"),
            ("epochs", epochs_line(trained.history, trained.provenance["validation_loss_of_mean"])),
        ]
        show_facts(out, pairs, f"aetool export {shlex.quote(str(output))}")

    if trained.provenance["interrupted"]:
        again = f"the same command with --resume {shlex.quote(str(output))} --overwrite continues"
        say(f"Interrupted: the best of {len(trained.history)} epochs is kept; {again}")
    return Result(document, show, exit_code=130 if trained.provenance["interrupted"] else 0)


def _ending(last: Any, patience: int, interrupted: bool) -> str:
    """Return why training ended, in words; `last` is an `aetool.model.Epoch`, None before the first one."""
    if last is None:
        return "interrupted"
    why = "interrupted" if interrupted else f"no better for {patience} epochs"
    ended = f"epoch {last.number:,} of {last.of:,}"
    return f"trained to {ended}" if last.number == last.of else f"stopped at {ended}: {why}"


def _read(file: Any, data: Path) -> Any:
    """Read a table; if it cannot be, and looks like a log, the error says so."""
    try:
        return file.read()
    except InputError as error:
        if log := _like_a_log(data):
            raise InputError(f"{error}\n{log[0]}") from error
        raise


def _like_a_log(data: Path) -> list[str]:
    """Return a hint if the rows follow one another in time, at equal steps."""
    from aetool.tables.hints import log_columns

    found = log_columns(data, reading_in_force(), limits_in_force())
    if found is None or found.time is None or not found.is_regular:
        return []
    return [f"this looks like a log; a model of how its rows follow one another: --window 32 {found.options()}"]


def _normal_rows(table: Any) -> int:
    return len(table) if table.labels is None else int((~table.labels).sum())


def _fields(config: type[Any]) -> set[str]:
    return set(config.__dataclass_fields__)
