"""`aetool train --window`: the options of a log, and training on its windows."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from aetool.choices import ARCHITECTURES
from aetool.cli import _options as options
from aetool.cli._options import limits_in_force, needs, reading_in_force
from aetool.cli._output import Result, say, show_facts
from aetool.cli._progress import steps
from aetool.cli.show.training import epochs_line
from aetool.errors import InputError
from aetool.suggest import few

_SHOWN = 8


_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("--window", options.Count(), "Rows of one window; DATA is a log: a file, or a directory of files."),
    ("--stride", options.Count(), "Rows from one window to the next.  [default: an eighth of --window]"),
    ("--time", str, "Column of the time, which orders the rows and shows gaps."),
    ("--group", str, "Column that tells whose rows they are, such as a machine's name; else each file is one."),
    ("--every", options.Duration(), "Resample to rows at this distance, such as 1s: the mean of what was logged."),
    ("--gap", options.Duration(), "Longest time between rows of one window.  [default: 5 times the usual]"),
    (
        "--label-share",
        options.Share(),
        "Share of labelled rows that makes an anomaly of a window.  [default: any]",
    ),
    (
        "--architecture",
        click.Choice(ARCHITECTURES),
        "Layers: dense, convolutions over time, or a GRU each way.  [default: dense]",
    ),
)
NAMES = ("window", "stride", "time", "group", "every", "gap", "sort", "label_share")
"""Options of a log, which a table has not."""


def series_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a log."""
    command = click.option("--sort/--no-sort", default=None, help="Put rows in the order of --time, in memory.")(
        command
    )
    for name, kind, text in reversed(_OPTIONS):
        command = click.option(name, type=kind, help=text)(command)
    return command


def require_no_series(settings: Mapping[str, Any]) -> None:
    """Refuse options of a log without --window, which would do nothing."""
    given = [name for name in NAMES if settings[name] is not None]
    if settings["architecture"] not in (None, "dense"):
        given.append("architecture")
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise click.UsageError(f"{option} is for the windows of a log; give --window too, such as --window 64")


class LogOptions(NamedTuple):
    """Options of a log's columns."""

    label: str | None
    drop: tuple[str, ...]
    columns: tuple[str, ...] | None


def train_series(
    data: Path, output: Path, chosen: LogOptions, settings: Mapping[str, Any], overwrite: bool
) -> Result:
    """Train on the windows of a log, and save the checkpoint."""
    from aetool.bundle.manifest import Series

    window = settings["window"]
    series = Series(
        window,
        settings["stride"] or max(1, window // 8),
        settings["every"],
        settings["time"],
        settings["group"],
        settings["gap"],
    )
    for needing in ("every", "gap", "sort"):
        if settings[needing] and series.time is None:
            raise click.UsageError(f"--{needing} needs --time: the column of the time")
    if settings["label_share"] is not None and chosen.label is None:
        raise click.UsageError("--label-share needs --label: the column that marks anomalies")
    steps().step(f"reading {data.name}")
    with needs("tables", "reading logs"):
        from aetool.tables.windows import Log, with_gap
    log = Log(
        data,
        series,
        chosen.columns,
        label=chosen.label,
        drop=chosen.drop,
        sort=bool(settings["sort"]),
        pieces=True,
        reading=reading_in_force(),
        limits=limits_in_force(),
    )
    _require_named(log, chosen)
    head = log.head()
    log.series = with_gap(series, head.step)
    with needs("train", "training"):
        from aetool import model
        from aetool.model.prototypes import WIDEST_WINDOW
        from aetool.model.windows import for_windows, train_windows
    numbers = window * len(head.channels)
    if settings["score"] == "prototypes" and numbers > WIDEST_WINDOW:
        raise click.UsageError(
            f"--score prototypes is for windows of up to {WIDEST_WINDOW} numbers; {window:,} rows of "
            f"{len(head.channels):,} channels are {numbers:,}; leave it out, or give a shorter "
            "--window or fewer --columns"
        )
    say(f"{len(head.channels):,} channels: {few(head.channels, _SHOWN)}")
    for note in head.notes:
        say(note)
    if head.left_out:
        say("left out: " + ", ".join(f"{name} ({why})" for name, why in head.left_out.items()))
    given = {name: value for name, value in settings.items() if value is not None}
    training = model.TrainingConfig(
        **{name: value for name, value in given.items() if name in model.TrainingConfig.__dataclass_fields__}
    )
    fields = {*model.AutoencoderConfig.__dataclass_fields__} - {"window", "n_features", "architecture"}
    shape = {name: value for name, value in given.items() if name in fields}

    def architecture(count: int) -> Any:
        made = for_windows(window, len(head.channels), count, settings["architecture"] or "dense")
        return replace(made, **shape)

    def progress(epoch: Any) -> None:
        text = f"epoch {epoch.number:,} of at most {epoch.of:,}, loss {epoch.validation_loss:.4f}"
        steps().update(text, epoch.number / epoch.of)

    steps().step("training")
    trained = train_windows(
        log, training, architecture, label_share=settings["label_share"] or 0.0, progress=progress
    )
    for note in log.seen.notes(window):
        say(note)
    model.save_checkpoint(trained, output, overwrite=overwrite)
    return _result(trained, output)


def _require_named(log: Any, chosen: LogOptions) -> None:
    """Refuse a log with columns of text, or of dates, that nobody named: the message tells what they may be."""
    from aetool.tables import command_option
    from aetool.tables.hints import log_columns

    if chosen.columns is not None or (found := log_columns(log.files[0], log.reading, log.limits)) is None:
        return
    series = log.series
    named = {*chosen.drop, series.time, series.group, chosen.label}
    given = {"time": series.time, "group": series.group, "label": chosen.label}
    guess = found._replace(
        **{name: value for name, value in given.items() if value is not None},
        text=tuple(name for name in found.text if name not in chosen.drop),
    )
    if text := [name for name in found.text if name not in named]:
        raise InputError(
            f"{log.source}: not numbers: column{'s' * (len(text) > 1)} {', '.join(map(repr, text))}, as a "
            f"channel must be; by what the columns hold, try {guess.options()}"
        )
    if series.time is None and found.time is not None:
        if found.time not in chosen.drop:
            raise InputError(
                f"{log.source}: column {found.time!r} holds times, and nothing says that windows follow it; try "
                f"{guess.options()}, or {command_option('drop', [found.time])} if the order of rows is enough"
            )
        say(
            f"without --time {found.time}, windows cross gaps, and rows of several machines if there are any; "
            f"{guess.options()} keeps them apart"
        )


def _result(trained: Any, output: Path) -> Result:
    best = min(trained.history, key=lambda epoch: epoch["validation_loss"])
    facts, config, series = trained.provenance, trained.network.config, trained.series
    document = {
        "checkpoint": str(output),
        "features": list(trained.names),
        "series": {
            name: value for name, value in series._asdict().items() if name not in ("row_threshold", "unknown")
        },
        "architecture": asdict(config),
        "epochs": len(trained.history),
        "validation_loss": best["validation_loss"],
        **{
            name: facts[name]
            for name in (
                *("validation_loss_of_mean", "rows", "runs", "rows_trained", "rows_held_out"),
                *("windows_available", "rows_labelled_anomalous", "interrupted"),
            )
        },
    }

    def show(out: Console) -> None:
        trained_on, of = facts["rows_trained"], facts["windows_available"]
        sample = "" if trained_on == of else f" of {of:,}"
        pairs = [
            ("checkpoint", str(output)),
            ("log", f"{facts['rows']:,} rows in {facts['runs']:,} runs without a gap"),
            (
                "windows",
                f"{series.window} rows x {len(trained.names)} channels; scored: one every {series.stride} rows",
            ),
            ("shape", f"{config.architecture}, embedding {config.embedding_dim}"),
            (
                "trained on",
                f"{trained_on:,}{sample} windows, one from every row on; {facts['rows_held_out']:,} held out",
            ),
            ("epochs", epochs_line(trained.history, facts["validation_loss_of_mean"])),
        ]
        show_facts(out, pairs, f"aetool export {shlex.quote(str(output))}")

    return Result(document, show, exit_code=130 if facts["interrupted"] else 0)
