"""`aetool compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, table
from aetool.cli._progress import steps
from aetool.cli._tables import check_rows, manifest_of, rows_for
from aetool.cli.main import UNMET
from aetool.errors import InputError
from aetool.runtime.providers import ProviderName

_SHOWN = 5
"""Changed rows that are named."""


@click.command()
@click.argument("old", type=options.PATH)
@click.argument("new", type=options.PATH)
@click.option("--data", type=options.PATH, required=True, help="Rows: a table, or an NPY or NPZ array.")
@options.label
@options.keep
@click.option("--require", metavar="CONDITIONS", help="Conditions on the new model; exit code 3 if not met.")
@options.provider
@options.precision
@options.output("Page to write.")
@options.overwrite
@limit(bundle=True)
@reports
def compare(
    old: Path,
    new: Path,
    data: Path,
    label: str | None,
    keep: tuple[tuple[str, ...], ...],
    require: str | None,
    provider: ProviderName,
    precision: str,
    output: Path | None,
    overwrite: bool,
) -> Result:
    """Compare a new model with the old one before it replaces it.

    Scores the same rows with both bundles, of which neither was trained, and says which decisions change. With
    --label the new model is better or worse if the 95 % interval of the difference of AUROC leaves 0 out. Kinds of
    similar rows are drawn anew for it, so that another seed seldom counts as better. With -o it writes a page.

    Conditions are FIGURE, a sign and a value, or `old` and a change: auroc, recall, false_alarms,
    false_alarms_at_recall (at the recall of the old model), changed (share of decisions), rank_correlation,
    one_row (in microseconds), rows_per_s, bytes.

    \b
    Example:
      aetool compare exported/v1 exported/v2 --data test.csv --label broken -o v2.html
      aetool compare exported/v1 exported/v2 --data test.csv --label broken --require "auroc>=old-0.002"
      aetool compare exported/v1 exported/v2 --data test.csv --require "changed<=1%, rank_correlation>=0.99"
    """
    from aetool.decisions import compare as compare_bundles
    from aetool.decisions import requirements

    for path in (old, new):
        paths.require_bundle(path)
    conditions = [] if require is None else requirements(require)
    if output is not None:
        _require_page(output, overwrite)
    kept = options.flat(keep)
    manifest = manifest_of(old)
    check_rows(manifest, data, label=label, keep=kept)
    steps().step(f"reading {data.name}")
    rows = rows_for(manifest, data, label=label, keep=kept)
    steps().step(f"scoring {len(rows):,} rows with both")
    found = compare_bundles(
        old, new, rows.values, rows.labels, provider=provider, precision=precision, limits=limits_in_force()
    )
    unmet = [reason for each in conditions if (reason := each.unmet(found)) is not None]
    if output is not None:
        from aetool.bundle.atomic import publish_file
        from aetool.report import comparison_page

        content = comparison_page(found, data.name, rows.kept).encode()
        publish_file(output, content, overwrite=overwrite)
    document: dict[str, Any] = {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "rows": found.rows,
        "old": {"bundle": str(old), **asdict(found.old)},
        "new": {"bundle": str(new), **asdict(found.new)},
        "rank_correlation": found.rank_correlation,
        "changed": found.changed,
        "now_flagged": (found.now_flagged + 1).tolist(),
        "no_longer_flagged": (found.no_longer_flagged + 1).tolist(),
        "auroc_change": found.auroc_change,
        "auroc_interval": found.auroc_interval,
        "unmet": unmet,
        **({"page": str(output)} if output is not None else {}),
    }
    return Result(document, lambda out: _show(out, found, unmet, output), exit_code=UNMET if unmet else 0)


def _require_page(output: Path, overwrite: bool) -> None:
    from aetool.bundle.atomic import require_new

    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output}: the page is HTML; choose a name that ends in .html")
    require_new(output, overwrite)


def _show(out: Console, found: Any, unmet: list[str], output: Path | None) -> None:
    style = {"better": "bold green", "worse": "bold red", "no difference": "bold green"}.get(found.verdict, "bold")
    out.print(found.sentence, style=style)
    out.print()
    lines = [
        _line("AUROC", found, "auroc", "{:.4f}"),
        _line("recall", found, "recall", "{:.2%}"),
        _line("false alarms", found, "false_alarms", "{:.2%}"),
        _line("false alarms at the old recall", found, "false_alarms_at_recall", "{:.2%}"),
        _line("threshold", found, "threshold", "{:.6g}"),
        _line("rows flagged", found, "flagged", "{:,}"),
        ["one row", *(f"{side.one_row_s * 1e6:.1f} µs" for side in (found.old, found.new))],
        ["rows per second", *(f"{side.rows_per_s:,.0f}" for side in (found.old, found.new))],
        ["size of the graphs", *(f"{side.bytes / 1024:,.0f} KiB" for side in (found.old, found.new))],
    ]
    out.print(table(["", "old", "new"], [line for line in lines if line], right=["old", "new"]))
    out.print()
    pairs = [
        ("rank correlation", f"{found.rank_correlation:.4f}"),
        ("now flagged", _places(found.now_flagged)),
        ("no longer flagged", _places(found.no_longer_flagged)),
        *(("not met", reason) for reason in unmet),
        *([("page", str(output))] if output is not None else []),
    ]
    out.print(facts(pairs))


def _line(name: str, found: Any, key: str, form: str) -> list[str]:
    values = [getattr(side, key) for side in (found.old, found.new)]
    return [] if values[0] is None else [name, *(form.format(value) for value in values)]


def _places(places: Any) -> str:
    if not len(places):
        return "none"
    shown = ", ".join(f"{place + 1:,}" for place in places[:_SHOWN].tolist())
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return f"{len(places):,}: row{'s' * (len(places) > 1)} {shown}{more}"
