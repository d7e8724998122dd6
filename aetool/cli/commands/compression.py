"""`aetool compression`."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import _options as options
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports, table
from aetool.cli._progress import steps
from aetool.cli._tables import check_rows, manifest_of, rows_for
from aetool.runtime.providers import ProviderName


@click.command()
@click.argument("bundle", type=options.PATH)
@click.argument("data", type=options.PATH)
@options.label
@options.provider
@options.precision
@limit(bundle=True)
@reports
def compression(bundle: Path, data: Path, label: str | None, provider: ProviderName, precision: str) -> Result:
    """Measure the size and the error of rounded embeddings.

    Embeddings are rounded to fp16 and int8 and decoded again. The table shows the bytes saved on the way from an
    encoding machine to a decoding one, and the loss in the reconstructions.

    \b
    Example:
      aetool compression exported/machines test.csv
    """
    from aetool import load
    from aetool.checks.compression import compression as measure

    check_rows(manifest_of(bundle), data, label=label)
    with load(bundle, provider=provider, precision=precision, limits=limits_in_force()) as session:
        steps().step(f"reading {data.name}")
        rows = rows_for(session.manifest, data, label=label).values
        steps().step(f"encoding and decoding {len(rows):,} rows")
        result = measure(session, rows)

    def show(out: Console) -> None:
        columns = ["sent", "bytes a row", "features / sent", "error", "added by rounding"]
        lines: list[list[str | Text]] = [["features", f"{result.features_bytes_per_row:,}", "1.0", "0", ""]]
        lines += [
            [
                f"embedding, {form.format}",
                f"{form.bytes_per_row:,}",
                f"{form.ratio:.1f}",
                f"{form.error:.4f}",
                f"{form.added:.2g}",
            ]
            for form in result.formats
        ]
        out.print(table(columns, lines, right=columns[1:]))
        out.print()
        out.print(
            facts(
                [
                    ("rows", f"{result.rows:,}"),
                    ("error", "root mean square, each column by its standard deviation: 1 is its mean's"),
                    ("int8", f"{len(result.scale)} scales besides, one a dimension, from these rows (--json)"),
                ]
            )
        )

    return Result({"bundle": str(bundle), **asdict(result)}, show)
