"""`aetool export`."""

from pathlib import Path
from typing import Any

import click

from aetool.cli import options, places
from aetool.cli.export_module import export_users_module, module_options
from aetool.cli.extras import needs
from aetool.cli.output import Result, progress_shown, reports
from aetool.cli.parity import published


@click.command()
@click.argument("checkpoint", type=options.PATH, required=False)
@options.publishing
@module_options
@reports
def export(
    checkpoint: Path | None, module: str | None, output: Path | None, verbose: bool, **given: Any
) -> Result:
    """Export a checkpoint or any module to ONNX, proven equal.

    Publishes a bundle: the graphs, their threshold, and golden vectors to verify them with. One that fails its
    verification is not published.

    With --module any autoencoder in PyTorch is exported. FILE.py runs as code: give a file that you trust.
    CALLABLE is a class of modules, a function that gives one, called without arguments, or a module.

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
        return export_users_module(module, output, chosen, verbose, **given)
    if misplaced := [name for name, value in given.items() if value not in (None, ())]:
        raise click.UsageError(f"--{misplaced[0].replace('_', '-')} goes with --module, not with a CHECKPOINT.")
    places.require_checkpoint(checkpoint)
    output = output or Path("exported") / checkpoint.resolve().name.removesuffix("-checkpoint")
    places.require_free(output, chosen["overwrite"], places.BUNDLE)
    with needs("train", "exporting"):
        from aetool.export import ExportOptions, export_checkpoint
    with progress_shown() as progress:
        exported = export_checkpoint(checkpoint, output, ExportOptions(**chosen, progress=progress))
    return published(exported, output, verbose)
