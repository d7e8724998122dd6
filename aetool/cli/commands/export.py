"""`aetool export`."""

from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import needs
from aetool.cli._output import Result, reports, say
from aetool.cli._progress import steps
from aetool.cli._tables import NormalRows, check_normal_rows, normal_rows
from aetool.cli.show.bundle import published

# `aetool export --module`: somebody else's module, its weights and rows.


def _module_options(command: Any) -> Any:
    """Add the options of `aetool export --module` to `options.publishing`."""
    for decorate in (
        options.drop,
        options.columns,
        options.label,
        options.score,
        options.scaling,
        click.option(
            "--latent", type=click.Choice(["mean"]), help="Export a variational autoencoder by its mean."
        ),
        click.option("--decoder", metavar="ATTR", help="Attribute of the decoder.  [default: decoder]"),
        click.option("--encoder", metavar="ATTR", help="Attribute of the encoder.  [default: encoder]"),
        options.outputs,
        click.option("--input-shape", type=options.IntegerList(), help="Shape of a row, if there is no --data."),
        click.option(
            "--data",
            type=options.PATH,
            help="Rows for the comparison and the threshold: a table, or an NPY or NPZ array whose "
            "first axis is rows.",
        ),
        click.option(
            "--weights", type=options.PATH, help="Weights of the module: .safetensors, or a torch state dict."
        ),
        click.option(
            "--module",
            metavar="FILE.py:CALLABLE",
            help="Module to export, also as package.module:CALLABLE; the file runs as code.",
        ),
    ):
        command = decorate(command)
    return command


def _export_users_module(
    spec: str,
    output: Path | None,
    publishing: dict[str, Any],
    verbose: bool,
    *,
    weights: Path | None,
    data: Path | None,
    input_shape: tuple[int, ...] | None,
    label: str | None,
    columns: tuple[tuple[str, ...], ...],
    drop: tuple[tuple[str, ...], ...],
    **reading: Any,
) -> Result:
    """Load a module, export it; `reading` are fields of `ModuleOptions`, None where not given."""
    _require_rows(data, input_shape, {"label": label, "columns": columns, "drop": drop, **publishing})
    # The last name of FILE.py or of package.module.
    name = spec.rpartition(":")[0].removesuffix(".py").replace("\\", "/").rpartition("/")[2].rpartition(".")[2]
    output = output or Path("exported") / name
    if data is not None:
        check_normal_rows(data, label, columns, drop)
    paths.require_free(output, publishing["overwrite"], paths.BUNDLE)
    with needs("train", "exporting"):
        from aetool.export import ExportOptions, ModuleOptions, export_module
        from aetool.model.foreign.user_code import load_module
    steps().step("reading the rows")
    real = NormalRows(None, ()) if data is None else normal_rows(data, label, columns, drop)
    steps().step(f"loading {spec}")
    module = load_module(spec, weights, say)
    if weights is None:
        say(f"No --weights: {spec} is exported with its initial weights")
    exported = export_module(
        module,
        output,
        rows=real.rows,
        input_shape=input_shape,
        names=real.names,
        options=ExportOptions(**publishing, progress=steps().step),
        reading=ModuleOptions(**{name: value for name, value in reading.items() if value is not None}),
    )
    return published(exported, output, verbose)


def _require_rows(data: Path | None, input_shape: tuple[int, ...] | None, given: dict[str, Any]) -> None:
    if (data is None) == (input_shape is None):
        raise click.UsageError("--module needs either --data, real rows, or --input-shape, such as 3,32,32.")
    needing = [name for name in ("label", "columns", "drop", "contamination") if given[name] not in (None, ())]
    if data is None and needing:
        raise click.UsageError(f"--{needing[0]} needs --data.")


@click.command()
@click.argument("checkpoint", type=options.PATH, required=False)
@options.publishing
@_module_options
@reports
def export(
    checkpoint: Path | None, module: str | None, output: Path | None, verbose: bool, **given: Any
) -> Result:
    """Export a checkpoint or any module to ONNX, proven equal.

    Publishes a bundle: graphs, threshold, and golden vectors for verification. A bundle that fails the
    verification is not published.

    --module exports any PyTorch autoencoder. FILE.py runs as code, so give only files that you trust. CALLABLE is
    a module, a class of modules, or a function without arguments that returns a module.

    \b
    Example:
      aetool export checkpoint -o exported/machines --contamination 0.02
      aetool export --module net.py:Net --weights net.safetensors --data images.npy
    """
    chosen = {name: given.pop(name) for name in options.PUBLISHING}
    options.require_one_rule(chosen)
    if (checkpoint is None) == (module is None):
        raise click.UsageError("Give either a CHECKPOINT or --module FILE.py:CALLABLE.")
    if checkpoint is None:
        assert module is not None
        return _export_users_module(module, output, chosen, verbose, **given)
    if misplaced := [name for name, value in given.items() if value not in (None, ())]:
        raise click.UsageError(f"--{misplaced[0].replace('_', '-')} goes with --module, not with a CHECKPOINT.")
    paths.require_checkpoint(checkpoint)
    output = output or Path("exported") / checkpoint.resolve().name.removesuffix("-checkpoint")
    paths.require_free(output, chosen["overwrite"], paths.BUNDLE)
    with needs("train", "exporting"):
        from aetool.export import ExportOptions, export_checkpoint
    exported = export_checkpoint(checkpoint, output, ExportOptions(**chosen, progress=steps().step))
    return published(exported, output, verbose)
