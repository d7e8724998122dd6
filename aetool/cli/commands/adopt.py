"""`aetool adopt`."""

from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import needs
from aetool.cli._output import Result, reports
from aetool.cli._progress import steps
from aetool.cli._tables import check_normal_rows, normal_rows
from aetool.cli.show.bundle import published


@click.command()
@click.argument("model", type=options.PATH)
@click.option(
    "--data",
    type=options.PATH,
    required=True,
    help="Rows for the comparison and the threshold: a table, or an NPY or NPZ array whose first axis is rows.",
)
@options.publishing
@options.scaling
@click.option("--decoder", type=options.PATH, metavar="FILE.onnx", help="Decoder, if MODEL is an encoder.")
@options.outputs
@options.score
@options.label
@options.columns
@options.drop
@reports
def adopt(
    model: Path,
    data: Path,
    output: Path | None,
    label: str | None,
    columns: tuple[tuple[str, ...], ...],
    drop: tuple[tuple[str, ...], ...],
    verbose: bool,
    **given: Any,
) -> Result:
    """Make a bundle of an ONNX file.

    MODEL is an .onnx file; its external data must be beside it. The bundle is compared with the file, run one row
    at a time. Threshold, mean and scale are also read from the file's metadata.

    \b
    Example:
      aetool adopt net.onnx --data machines.csv --label broken -o exported/machines
    """
    chosen = {name: given.pop(name) for name in options.PUBLISHING}
    options.require_one_rule(chosen)
    output = output or Path("exported") / model.stem
    check_normal_rows(data, label, columns, drop)
    paths.require_free(output, chosen["overwrite"], paths.BUNDLE)
    with needs("train", "adopting"):
        from aetool.export import AdoptOptions, ExportOptions
        from aetool.export import adopt as adopt_file
    steps().step(f"reading {data.name}")
    real = normal_rows(data, label, columns, drop)
    reading = {name: value for name, value in given.items() if value is not None}
    exported = adopt_file(
        model,
        output,
        real.rows,
        names=real.names,
        options=ExportOptions(**chosen, progress=steps().step),
        reading=AdoptOptions(**reading),
    )
    return published(exported, output, verbose)
