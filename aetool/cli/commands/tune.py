"""`aetool tune`."""

import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from aetool.choices import CALLS
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, facts, reports, table, times_as_fast
from aetool.cli._progress import steps

_BETTER = "green"


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["latency", "throughput"]),
    required=True,
    help="Optimise for one row per call, or for many rows at once.",
)
@click.option("--data", type=options.PATH, help="Rows to measure speed and fidelity on.  [default: golden rows]")
@options.label
@click.option("--graph", type=click.Choice(list(CALLS)), help="What to optimise.  [default: score]")
@click.option("--rows", type=int, help="Rows per call.  [default: 1 for latency, 65536 for throughput]")
@options.budget
@click.option("--seconds", type=float, help="Approximate search time, in seconds.  [default: 60]")
@click.option("--seed", type=int, help="Seed of rows and order of turns.  [default: 0]")
@click.option("--dry-run", is_flag=True, help="Search, but write nothing.")
@options.overwrite
@limit(bundle=True)
@reports
def tune(
    bundle: Path, purpose: str, data: Path | None, label: str | None, dry_run: bool, overwrite: bool, **given: Any
) -> Result:
    """Find the fastest way to run a bundle on this machine.

    Tries providers, precisions, threads, chunk sizes and spinning. Each candidate runs in a process of its own,
    and they take turns. Candidates that exceed the budget are left out. The choice is written to
    BUNDLE.tuning.json, which aetool.load uses on this machine; the default changes only for something clearly
    faster. With --data, int8 is tried even if the bundle has none, and added if it wins.

    \b
    Example:
      aetool tune exported/machines --for throughput --data new.csv
      aetool tune exported/machines --for latency --max-flips 0.001 --dry-run
    """
    from aetool.bench.result import document_of
    from aetool.bundle.bundle import tuning_file
    from aetool.checks.fidelity import Budget
    from aetool.checks.first_run import require_first_run
    from aetool.tune import TuningPlan
    from aetool.tune import tune as search

    if label is not None and data is None:
        raise click.UsageError("--label names a column of --data; give both")
    paths.require_bundle(bundle)
    chosen = {name: value for name, value in given.items() if value is not None}
    budget = Budget(**{entry.name: chosen.pop(entry.name) for entry in fields(Budget) if entry.name in chosen})
    steps().step("running the bundle in a process of its own")
    require_first_run(bundle)
    measured: dict[str, Any] = {}
    if data is not None:
        from aetool.cli._tables import manifest_of, rows_for

        steps().step(f"reading {data.name}")
        table = rows_for(manifest_of(bundle), data, label=label)
        measured = {"rows": table.values, "labels": table.labels, "rows_name": f"rows of {data.name}"}
        measured["makers"] = {
            "int8": partial(
                _make_int8, rows=table.values, labels=table.labels, budget=budget, limits=limits_in_force()
            )
        }
    steps().step("finding what can run the bundle here")
    result = search(
        bundle,
        TuningPlan(purpose=purpose, budget=budget, **chosen),  # type: ignore[arg-type]  # a Choice of click
        **measured,
        dry_run=dry_run,
        overwrite=overwrite,
        limits=limits_in_force(),
        command=["aetool", *sys.argv[1:]],
        progress=lambda text, share: steps().update(text, share or None),
    )
    steps().done(f"{len(result.trials)} ways tried")
    file = None if dry_run else Path(tuning_file(bundle.absolute()))
    return Result(document_of(result), lambda out: _show(out, result, file))


def _make_int8(bundle: Path, copy: Path, **options: Any) -> object:
    """Make int8; without the packages for that, the error is the reason why int8 is left out."""
    with needs("train", "making int8"):
        from aetool.quantize import quantized_copy
    return quantized_copy(bundle, copy, precision="int8", **options)


def _than_default(speedup: float) -> str:
    return "as the default" if speedup == 1 else f"{times_as_fast(speedup)} than the default"


def _show(out: Console, result: Any, file: Path | None) -> None:
    lines: list[list[str | Text]] = []
    untried = [trial for trial in result.trials if not trial.races and trial.dropped.startswith("no time")]
    for trial in result.trials:
        if trial in untried:
            continue
        last = trial.races[-1] if trial.races else None
        chosen = not trial.dropped
        lines.append(
            [
                Text("->" if chosen else "", _BETTER),
                Text(trial.name, "bold" if chosen else ""),
                "" if last is None else times_as_fast(1 / last.ratio),
                "" if trial.fidelity is None else f"{trial.fidelity.flips:.2%}",
                result.reason if chosen else Text(trial.dropped, "dim"),
            ]
        )
    out.print(table(["", "tried", "speed", "flips", ""], lines, right=["speed", "flips"]))
    if untried:
        out.print(f"{len(untried):,} more were not tried, out of time; give more --seconds", style="dim")
    choice = result.choice
    rows = "one row" if result.rows == 1 else f"{result.rows:,} rows"
    pairs = [
        ("choice", f"{choice.precision} on {choice.provider}, {_than_default(result.speedup)}"),
        ("for", f"{result.purpose}: {result.graph}, {rows} a call; {result.data}"),
        ("written", "nothing, because of --dry-run" if file is None else str(file)),
    ]
    out.print()
    out.print(facts(pairs))
