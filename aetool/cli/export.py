"""`aetool export` and `aetool verify`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options
from aetool.cli.extras import needs
from aetool.cli.output import Result, facts, reports, table
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
    """Export a checkpoint to ONNX, prove it equal to PyTorch, and publish it as a bundle.

    A bundle that fails its verification is not published.

    \b
    Example:
      aetool export checkpoint -o exported/machines --contamination 0.02
    """
    with needs("train", "exporting"):
        from aetool.export import ExportOptions, export_checkpoint

    output = output or Path("exported") / checkpoint.name.removesuffix("-checkpoint")
    exported = export_checkpoint(
        checkpoint,
        output,
        ExportOptions(
            name=name, contamination=contamination, threshold=threshold, opset=opset, overwrite=overwrite
        ),
    )
    manifest = exported.bundle.manifest
    document = {
        "bundle": str(output),
        "threshold": manifest.threshold,
        "files": {file: record.size for file, record in manifest.files.items()},
        "parity": [_record(record) for record in exported.parity],
    }

    def show(out: Console) -> None:
        out.print(parity_table(exported.parity))
        out.print()
        sizes = ", ".join(f"{file} {record.size:,} B" for file, record in manifest.files.items())
        out.print(
            facts(
                [
                    ("bundle", str(output)),
                    ("files", sizes),
                    ("threshold", f"{manifest.threshold['value']:.6g} ({manifest.threshold['method']})"),
                    ("next", f"aetool score {output} DATA"),
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
    """Prove that a bundle computes here what it computed when it was made.

    Checks the hash of every file and runs the golden vectors through this machine's runtime. With --data,
    many rows at once must equal one row at a time; with --against, everything must equal PyTorch.

    \b
    Example:
      aetool verify exported/machines --against checkpoint --data new.csv
    """
    from aetool.bundle import Bundle
    from aetool.selftest import verify_bundle, verify_rows

    records = verify_bundle(bundle, provider=provider)
    manifest = Bundle.open(bundle).manifest
    rows: Any = None
    if data is not None:
        from aetool.tables import read_table

        rows = read_table(data, only=manifest.feature_names).values.astype("float32")
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
        out.print(parity_table(records))
        out.print()
        verdict = "[bold green]passed[/]" if passed else "[bold red]FAILED[/]"
        out.print(f"{verdict}: {len(manifest.files)} files unchanged, {len(records)} outputs compared")

    return Result(document, show, exit_code=0 if passed else 1)


def parity_table(records: Sequence[OutputParity]) -> Any:
    """One line per graph and output."""
    return table(
        ["graph", "output", "rows", "shape", "absolute", "relative", "scaled", "rank", "flipped", "verdict"],
        [
            [
                record.graph,
                record.output,
                record.rows,
                "x".join(map(str, record.shape)),
                *(
                    [f"{x:.1e}" for x in (record.max_absolute, record.max_relative, record.max_scaled)]
                    if record.flipped is None
                    else ["", "", ""]
                ),
                "" if record.rank_correlation is None else f"{record.rank_correlation:.6f}",
                "" if record.flipped is None else str(record.flipped),
                "[green]ok[/]" if record.passed else f"[red]{record.reason}[/]",
            ]
            for record in records
        ],
        right=(4, 5, 6, 7, 8),
    )


def _record(record: OutputParity) -> dict[str, Any]:
    return {**asdict(record), "passed": record.passed}
