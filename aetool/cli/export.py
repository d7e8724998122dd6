"""`aetool export` and `aetool verify`."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import options, places
from aetool.cli.extras import needs
from aetool.cli.output import Result, facts, fail, file_sizes, reports, table
from aetool.parity import OutputParity


@click.command()
@click.argument("checkpoint", type=options.PATH)
@options.output(help="Bundle directory to write.  [default: exported/NAME]")
@click.option("--name", help="Name of the model.  [default: that of the directory]")
@click.option("--contamination", type=float, help="Share of normal rows to flag.  [default: 0.01]")
@click.option("--threshold", type=float, help="A fixed threshold instead.")
@click.option("--opset", type=int, default=18, show_default=True, help="ONNX operator set.")
@options.overwrite
@reports
def export(
    checkpoint: Path,
    output: Path | None,
    name: str | None,
    contamination: float | None,
    threshold: float | None,
    opset: int,
    overwrite: bool,
) -> Result:
    """Export a checkpoint to ONNX, proven equal to PyTorch.

    Publishes a bundle: the graphs, their threshold, and golden vectors to verify them with. One that fails its
    verification is not published.

    \b
    Example:
      aetool export checkpoint -o exported/machines --contamination 0.02
    """
    if contamination is not None and threshold is not None:
        raise click.UsageError("--contamination and --threshold both set the threshold; give one of them")
    places.require_checkpoint(checkpoint)
    output = output or Path("exported") / checkpoint.resolve().name.removesuffix("-checkpoint")
    places.require_free(output, overwrite, places.BUNDLE)
    with needs("train", "exporting"):
        from aetool.export import ExportOptions, export_checkpoint
    exported = export_checkpoint(
        checkpoint,
        output,
        ExportOptions(
            name=name, contamination=contamination, threshold=threshold, opset=opset, overwrite=overwrite
        ),
    )
    manifest = exported.bundle.manifest
    document: dict[str, Any] = {
        "bundle": str(output),
        "threshold": manifest.threshold,
        "files": {file: record.size for file, record in manifest.files.items()},
        "parity": [_record(record) for record in exported.parity],
    }

    def show(out: Console) -> None:
        show_parity(out, exported.parity)
        out.print()
        out.print(
            facts(
                [
                    ("bundle", str(output)),
                    ("files", file_sizes(document["files"])),
                    ("threshold", f"{manifest.threshold['value']:.6g} ({manifest.threshold['method']})"),
                    ("next", f"aetool score {shlex.quote(str(output))} DATA"),
                ]
            )
        )

    return Result(document, show)


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--against", type=options.PATH, help="Compare with this checkpoint in PyTorch, float64.")
@click.option("--data", type=options.PATH, help="Rows to compare on, besides the golden ones.")
@options.provider
@reports
def verify(bundle: Path, against: Path | None, data: Path | None, provider: str) -> Result:
    """Prove that a bundle computes here what was trained.

    Checks the hash of every file and runs the golden vectors through this machine's runtime. With --data,
    many rows at once must equal one row at a time; with --against, everything must equal PyTorch.

    \b
    Example:
      aetool verify exported/machines --against checkpoint --data new.csv
    """
    from aetool.bundle import Bundle
    from aetool.selftest import verify_bundle, verify_rows

    places.require_bundle(bundle)
    if against is not None:
        places.require_checkpoint(against)
    records = verify_bundle(bundle, provider=provider)
    manifest = Bundle.open(bundle).manifest
    rows: Any = None
    if data is not None:
        from aetool.tables import read_table

        table = read_table(data, only=manifest.feature_names, categories=manifest.categories)
        rows = table.values.astype("float32")
        records += verify_rows(bundle, rows, provider=provider)
    if against is not None:
        with needs("train", "comparing with PyTorch"):
            from aetool.export import verify_against
            from aetool.model import load_checkpoint
        records += verify_against(bundle, load_checkpoint(against), rows, provider=provider)
    passed = all(record.passed for record in records)
    document = {
        "bundle": str(bundle),
        "passed": passed,
        "files_checked": len(manifest.files),
        "parity": [_record(record) for record in records],
    }

    def show(out: Console) -> None:
        show_parity(out, records)
        verdict = Text("passed", "bold green") if passed else Text("FAILED", "bold red")
        counts = f": {len(manifest.files)} files unchanged, {len(records)} outputs compared"
        out.print("\n", verdict, counts, sep="")

    if not passed:
        worse = sum(not record.passed for record in records)
        fail(f"{bundle}: {worse} of {len(records)} outputs differ; do not use it here, export it again")
    return Result(document, show, exit_code=0 if passed else 1)


def show_parity(out: Console, records: Sequence[OutputParity]) -> None:
    """One line per graph and output, below the rows they were compared on; then why those failed that did."""
    columns = ["graph", "output", "shape", "absolute", "relative", "scaled", "", ""]
    lines: list[Sequence[str | Text]] = []
    for rows, group in groupby(records, key=lambda record: record.rows):
        if lines:
            lines.append([""] * len(columns))
        lines.append([Text(rows, "italic"), *[""] * (len(columns) - 1)])
        lines += [_parity_line(record) for record in group]
    out.print(table(columns, lines, right=("absolute", "relative", "scaled")))
    for record in records:
        if not record.passed:
            out.print(f"{record.graph} {record.output}, {record.rows}: {record.reason}", style="red")


def _parity_line(record: OutputParity) -> list[str | Text]:
    numbers = [f"{number:.1e}" for number in (record.max_absolute, record.max_relative, record.max_scaled)]
    agreement = "" if record.rank_correlation is None else f"rank {record.rank_correlation:.6f}"
    if record.flipped is not None:
        numbers, agreement = ["", "", ""], f"{record.flipped} flipped"
    verdict = Text("ok", "green") if record.passed else Text("bad", "bold red")
    return [record.graph, record.output, "x".join(map(str, record.shape)), *numbers, agreement, verdict]


def _record(record: OutputParity) -> dict[str, Any]:
    return {**asdict(record), "passed": record.passed}
