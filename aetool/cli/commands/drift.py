"""`aetool drift`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import _options as options
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say, table
from aetool.cli._progress import steps
from aetool.cli._tables import manifest_of, rows_for
from aetool.cli.main import DRIFTED
from aetool.runtime.providers import ProviderName

_CHANGED = ("drift", "moderate")
"""Verdicts on columns that are shown without --all."""
_REASONS = 4
"""Most reasons to show before the columns."""
COLOURS = {"stable": "green", "unclear": "dim", "moderate": "yellow", "drift": "bold red"}


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--data", type=options.PATH, required=True, help="New rows: a table, or an NPY or NPZ array.")
@click.option("--label", metavar="COLUMN", help="Column that marks anomalies; these rows are left out.")
@options.reading(labels=True)
@click.option("--all", "every", is_flag=True, help="Show every column, unchanged ones too.")
@options.provider
@options.precision
@limit(bundle=True)
@reports
def drift(
    bundle: Path, data: Path, label: str | None, every: bool, provider: ProviderName, precision: str
) -> Result:
    """Check whether new rows still look like the training rows.

    Drift is any of these: the distribution of a column has changed (population stability index above 0.25 and
    beyond chance); more than 5 % of a column's values are outside the range or categories of the training rows;
    more rows are flagged than expected; the scores are higher than before (one-sided Kolmogorov-Smirnov distance
    of 0.1 or more, and beyond chance).

    The exit code is 3 for drift and 0 for none. It is 1 when fewer than 30 rows show no drift: they are too few to
    be sure.

    PSI from 0.1 on is moderate, from 0.25 on large. Unseen is the share of values outside the range or categories
    of the training rows. Typical is the median.

    \b
    Example:
      aetool drift exported/machines --data this-week.csv
    """
    from aetool.checks.drift import measure_drift

    steps().step(f"reading {data.name}")
    manifest = manifest_of(bundle)
    rows = rows_for(manifest, data, label=label)
    values = rows.values if rows.labels is None else rows.values[~rows.labels]
    steps().step(f"comparing {len(values):,} rows with the training rows")
    result = measure_drift(bundle, values, provider=provider, precision=precision, limits=limits_in_force())
    if not result.has_baseline:
        say(
            "The bundle has no baseline of its training rows; comparing with its golden rows. Train and export "
            "again for a baseline."
        )
    if result.drifted and manifest.calibration:
        say(
            "The bundle's rates of false alarms and p-values do not hold for these rows; calibrate it on such "
            f"rows: aetool calibrate {bundle} --data NORMAL.csv --false-alarms 1%"
        )

    def show(out: Console) -> None:
        _show(out, result, every)

    document = {"bundle": str(bundle), "drifted": result.drifted, **asdict(result)}
    exit_code = DRIFTED if result.drifted else 1 if result.too_few_rows else 0
    return Result(document, show, exit_code=exit_code)


def _show(out: Console, result: Any, every: bool) -> None:
    """Print the verdict and its reasons, then the columns that changed, or every one, then the figures."""
    from aetool.checks.drift import FEWEST_ROWS

    if result.drifted:
        out.print("drift", style="bold red")
    elif result.too_few_rows:
        out.print(f"too few rows to decide: {result.rows}, at least {FEWEST_ROWS} are needed", style="bold yellow")
    else:
        out.print("no drift", style="bold green")
    for reason in result.reasons[:_REASONS]:
        out.print(f"  {reason}")
    if (more := len(result.reasons) - _REASONS) > 0:
        out.print(f"  and {more} more reason{'s' * (more > 1)}, see below")
    out.print()
    shown = [feature for feature in result.features if every or feature.verdict in _CHANGED]
    gaps = any(feature.missing or feature.missing_before for feature in shown)
    columns = ["", "column", "PSI", "unseen", *(["missing", "before"] if gaps else []), "what has changed"]
    lines: list[list[str | Text]] = []
    for feature in shown:
        shares = (feature.outside, feature.missing, feature.missing_before)[: 3 if gaps else 1]
        change = feature.change if feature.verdict in _CHANGED else ""
        verdict = Text(feature.verdict, COLOURS[feature.verdict])
        lines.append([verdict, feature.name, f"{feature.psi:.3f}", *(f"{share:.1%}" for share in shares), change])
    if lines:
        out.print(table(columns, lines, right=columns[2:-1]))
    if rest := len(result.features) - len(shown):
        words = "column has" if rest == 1 else "columns have"
        out.print(f"{rest:,} {words} not changed clearly (--all shows every column)", style="dim")
    out.print()
    expected = "no expected share to compare with"
    if result.promised is not None and result.promised_interval is not None:
        low, high = result.promised_interval
        expected = f"{result.promised:.2%} expected (95 %: {low:.2%} to {high:.2%})"
    low, high = result.flagged_interval
    pairs = [
        ("rows", f"{result.rows:,}, compared with {result.compared_with}"),
        ("flagged", f"{result.flagged:.2%} (95 %: {low:.2%} to {high:.2%}); {expected}"),
        ("scores", f"distance {result.score_distance:.3f}, p = {result.score_chance:.2g}"),
    ]
    out.print(facts(pairs))
