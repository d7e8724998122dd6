"""`aetool drift`."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import _options as options
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, say, table
from aetool.cli._tables import manifest_of, rows_for
from aetool.cli.main import DRIFTED
from aetool.runtime.providers import ProviderName

SHOWN = 12  # columns; --json has them all
COLOURS = {"stable": "green", "unclear": "dim", "moderate": "yellow", "drift": "bold red"}


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--data", type=options.PATH, required=True, help="New rows: a table, or an NPY or NPZ array.")
@click.option("--label", metavar="COLUMN", help="Column that marks anomalies: these rows are left out.")
@options.reading(labels=True)
@options.provider
@options.precision
@limit(bundle=True)
@reports
def drift(bundle: Path, data: Path, label: str | None, provider: ProviderName, precision: str) -> Result:
    """Check whether new rows are still what the model was made for.

    It is drift, and the exit code 3, when a column is distributed otherwise (its population stability index is
    above 0.25 and beyond chance), when more than 5 % of a column lie outside the range or the categories of the
    training rows, when more rows are flagged than was promised, or when the scores are higher than they were
    (one-sided Kolmogorov-Smirnov distance of 0.1 or more, and beyond chance). Else the exit code is 0; of fewer
    than 30 rows it is 1, since they are too few to tell that nothing has changed.

    PSI: 0.1 and more is moderate, 0.25 and more is much. Unseen: the share of values outside the range or the
    categories of the training rows. Typical: the median.

    \b
    Example:
      aetool drift exported/machines --data this-week.csv
    """
    from aetool.checks.drift import FEWEST_ROWS, measure_drift

    rows = rows_for(manifest_of(bundle), data, label=label)
    values = rows.values if rows.labels is None else rows.values[~rows.labels]
    result = measure_drift(bundle, values, provider=provider, precision=precision, limits=limits_in_force())
    if not result.has_baseline:
        say(
            "the bundle keeps no baseline of its training rows, its golden rows stand in for them; train and "
            "export again"
        )

    def show(out: Console) -> None:
        columns = ["", "column", "PSI", "unseen", "missing", "missing before", "what has changed"]
        lines: list[list[str | Text]] = [
            [
                Text(feature.verdict, COLOURS[feature.verdict]),
                feature.name,
                f"{feature.psi:.3f}",
                *(f"{share:.1%}" for share in (feature.outside, feature.missing, feature.missing_before)),
                feature.change if feature.verdict in ("drift", "moderate") else "",
            ]
            for feature in result.features[:SHOWN]
        ]
        if lines:
            out.print(table(columns, lines, right=columns[2:6]))
        if (more := len(result.features) - SHOWN) > 0:
            out.print(f"and {more} columns that have changed less")
        promised = "no promise to hold them to"
        if result.promised is not None and result.promised_interval is not None:
            low, high = result.promised_interval
            promised = f"{result.promised:.2%} promised (95 %: {low:.2%} to {high:.2%})"
        low, high = result.flagged_interval
        pairs = [
            ("rows", f"{result.rows:,}, compared with {result.compared_with}"),
            ("flagged", f"{result.flagged:.2%} (95 %: {low:.2%} to {high:.2%}); {promised}"),
            (
                "scores",
                f"distance {result.score_distance:.3f}, by chance in {result.score_chance:.2g} of all cases",
            ),
        ]
        out.print(facts(pairs))
        out.print()
        if result.too_few_rows and not result.drifted:
            out.print(
                f"too few rows to tell: {result.rows}, {FEWEST_ROWS} or more are needed", style="bold yellow"
            )
        elif not result.drifted:
            out.print("no drift", style="bold green")
        for reason in result.reasons:
            out.print(Text.assemble(("drift  ", "bold red"), reason))

    document = {"bundle": str(bundle), "drifted": result.drifted, **asdict(result)}
    exit_code = DRIFTED if result.drifted else 1 if result.too_few_rows else 0
    return Result(document, show, exit_code=exit_code)
