"""`aetool feedback`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._goals import goal_of, goals, outcome_pairs, tell_published
from aetool.cli._options import limit, limits_in_force, reading_in_force
from aetool.cli._output import Result, facts, reports, say, table
from aetool.cli._progress import steps
from aetool.cli._tables import is_log, manifest_of, rows_for
from aetool.errors import InputError

_SHOWN = 10
"""False alarms that are shown; -o writes all."""
_REASONS = 3


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("labels", type=options.PATH)
@click.option("--label", metavar="COLUMN", required=True, help="Column of LABELS that marks anomalies.")
@options.reading(labels=True)
@click.option("--data", type=options.PATH, help="Table with the rows, if LABELS has ids only.")
@click.option("--id", "key", metavar="COLUMN", help="Column of both tables that identifies a row.")
@options.keep
@goals
@click.option("--to", "new", type=options.PATH, help="Bundle to write.  [default: BUNDLE, replaced in one step]")
@options.output("File for the false alarms: CSV, Parquet, NPY or NPZ.")
@options.overwrite
@limit(bundle=True)
@reports
def feedback(
    bundle: Path,
    labels: Path,
    label: str,
    data: Path | None,
    key: str | None,
    keep: tuple[tuple[str, ...], ...],
    new: Path | None,
    output: Path | None,
    overwrite: bool,
    **given: Any,
) -> Result:
    """Learn from what flagged rows turned out to be.

    LABELS has rows and a column with what they turned out to be; or ids and that column, and --data has the rows.
    Reports false alarms and missed anomalies, lists the false alarms with their main reasons, and says which
    thresholds the labels imply. With a goal it sets the threshold and publishes the bundle; p-values stay.

    Rows that were false alarms belong into the training rows, if their kind occurs again.

    \b
    Example:
      aetool feedback exported/machines checked.csv --label broken --keep serial
      aetool feedback exported/machines tickets.csv --label broken --data scored.csv --id serial --fdr 10%
    """
    from aetool.decisions import feedback as learn

    manifest = manifest_of(bundle)
    if (data is None) != (key is None):
        raise click.UsageError("--data and --id go together: LABELS has ids, --data the rows")
    if data is not None and is_log(manifest, data):
        raise click.UsageError(
            "--id is for tables: a window has many rows; give the log with its labels as LABELS"
        )
    goal = goal_of(given) if any(value is not None for value in given.values()) else None
    if new is not None and goal is None:
        raise click.UsageError("--to writes a bundle with another threshold; give a goal such as --fdr")
    if output is not None:
        paths.require_free_file(output, overwrite)
    steps().step(f"reading {labels.name}")
    kept = options.flat(keep)
    if data is None or key is None:
        rows = rows_for(manifest, labels, label=label, keep=kept)
        values, truth, beside = rows.values, rows.labels, rows.kept
    else:
        values, truth, beside = _joined(manifest, labels, label, data, key, kept)
    steps().step(f"scoring {len(values):,} rows")
    found = learn(
        bundle,
        values,
        truth,
        goal=goal,
        output=new,
        overwrite=overwrite,
        source=labels.name,
        limits=limits_in_force(),
    )
    columns = _false_alarms(bundle, found, values, beside)
    if output is not None:
        from aetool.tables import write_table

        output.parent.mkdir(parents=True, exist_ok=True)
        write_table(output, columns, overwrite=overwrite)
    if found.only_flagged:
        say(
            "All of these rows were flagged: they tell which alarms were false, not how often normal rows raise "
            "one. The threshold can be raised by them, not lowered."
        )
    if found.published is not None:
        tell_published(found.published, bundle if new is None else None)
    proposals = [
        {"goal": each.goal.text, "threshold": each.threshold, **asdict(each.outcome)} for each in found.proposals
    ]
    made = None if found.published is None else found.published.bundle
    document: dict[str, Any] = {
        "rows": found.rows,
        "anomalies": found.anomalies,
        "threshold": found.threshold,
        "only_flagged": found.only_flagged,
        **asdict(found.outcome),
        "false_alarm_rows": columns,
        "missed": (found.missed + 1).tolist(),
        "causes": found.causes,
        "proposals": proposals,
        "bundle": None if made is None else made.where,
        "new_threshold": None if made is None else made.manifest.variants["fp32"].threshold,
    }
    return Result(document, lambda out: _show(out, found, columns, output))


def _joined(manifest: Any, labels: Path, label: str, data: Path, key: str, kept: tuple[str, ...]) -> Any:
    """Return rows of `data`, their labels by id, and the columns that are kept, the id among them."""
    import numpy as np

    from aetool.tables import read_table

    told = read_table(
        labels, label=label, keep=[key], only=(), reading=reading_in_force(), limits=limits_in_force()
    )
    rows = rows_for(manifest, data, keep=tuple(dict.fromkeys((key, *kept))))
    place = {str(value): index for index, value in enumerate(rows.kept[key].tolist())}
    if len(place) < len(rows):
        raise InputError(
            f"{data}: column {key!r} does not identify rows: some values stand twice; give another --id"
        )
    ids = list(map(str, told.kept[key].tolist()))
    known = [index for index, name in enumerate(ids) if name in place]
    if not known:
        raise InputError(f"no {key!r} of {labels} is in {data}; give the table that holds these rows")
    if missing := len(ids) - len(known):
        say(f"{missing:,} of {len(ids):,} ids of {labels.name} are not in {data.name}; they are left out")
    chosen = np.array([place[ids[index]] for index in known])
    picked = rows.select(chosen)
    assert told.labels is not None
    return picked.values, told.labels[known], picked.kept


def _false_alarms(bundle: Path, found: Any, values: Any, beside: Any) -> dict[str, Any]:
    """Return the false alarms as columns: row, those kept, score, and the features that contribute most."""
    from aetool import load
    from aetool.runtime.explain import why_columns

    places = found.false_alarms
    columns = {
        "row": places + 1,
        **{name: column[places] for name, column in beside.items()},
        "score": found.scores[places],
    }
    with load(bundle, provider="cpu", precision="fp32", limits=limits_in_force()) as model:
        if len(places) and "explainer" in model.graphs:
            columns |= why_columns(model, values[places], min(_REASONS, model.n_features), {})
    return columns


def _show(out: Console, found: Any, columns: Any, output: Path | None) -> None:
    out.print(
        facts([("rows", f"{found.rows:,}, {found.anomalies:,} anomalies"), *outcome_pairs(found.outcome, None)])
    )
    count = len(found.false_alarms)
    if count:
        out.print()
        shown = [name for name in columns if not name.startswith("why_")]
        lines = []
        for place in range(min(count, _SHOWN)):
            cells = {name: columns[name][place] for name in shown}
            texts = [f"{cell:.4g}" if name == "score" else str(cell) for name, cell in cells.items()]
            lines.append([*texts, _reason(columns, place)])
        out.print(table([*shown, "main reasons"], lines, right=["row", "score"]))
        if count > _SHOWN:
            out.print(f"{count - _SHOWN:,} more; -o FILE.csv writes every false alarm", style="dim")
        causes = ", ".join(f"{name} ({times:,})" for name, times in list(found.causes.items())[:5])
        out.print(facts([("most often because of", causes)] if causes else []))
    out.print()
    lines = []
    for each in found.proposals:
        parts = each.outcome.flagged_normal, each.outcome.recall
        shares = ["" if part is None else f"{part.share:.1%}" for part in parts]
        lines.append([each.goal.text, f"{each.threshold:.6g}", *shares])
    if lines:
        names = ["threshold for", "threshold", "normal among flagged", "recall"]
        out.print(table(names, lines, right=names[1:]))
    pairs = [("false alarms", str(output))] if output is not None else []
    if found.published is not None:
        manifest = found.published.bundle.manifest
        threshold = manifest.variants["fp32"].threshold
        pairs.append(("threshold", f"{threshold:.6g} (before: {found.threshold:.6g})"))
        pairs.append(("bundle", f"{found.published.bundle.where}, id {manifest.id[:12]}"))
    if pairs:
        out.print()
        out.print(facts(pairs))


def _reason(columns: Any, place: int) -> str:
    found = [
        f"{columns[f'why_{rank}'][place]} {columns[f'why_{rank}_share'][place]:.0%}"
        for rank in range(1, _REASONS + 1)
        if f"why_{rank}" in columns
    ]
    return ", ".join(found)
