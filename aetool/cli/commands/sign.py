"""`aetool keygen` and `aetool sign`."""

from pathlib import Path

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, facts, reports
from aetool.cli._progress import steps


@click.command()
@click.option(
    "-o", "--output", type=options.PATH, required=True, help="File of the private key; NAME.pub comes beside it."
)
@reports
def keygen(output: Path) -> Result:
    """Make a pair of keys to sign bundles with.

    The private one stays with you. Whoever loads your bundles gets the public one, on another way than them.

    \b
    Example:
      aetool keygen -o signing.pem
    """
    from aetool.bundle.signature import write_keys

    paths.require_new_file(output, overwrite=False)
    public = write_keys(output)
    pairs = [("private key", f"{output}, keep it to yourself"), ("public key", str(public))]
    document = {"private_key": str(output), "public_key": str(public)}
    return Result(document, lambda out: out.print(facts(pairs)))


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--private-key", type=options.PATH, required=True, help="Your key, as aetool keygen wrote it.")
@limit(table=False, bundle=True)
@reports
def sign(bundle: Path, private_key: Path) -> Result:
    """Sign a bundle, so that others know it is yours and unchanged.

    Every file is checked first. What is published over it, or added to it, later is not signed.

    \b
    Example:
      aetool sign exported/machines --private-key signing.pem
    """
    from aetool.bundle.write import sign_bundle

    paths.require_bundle(bundle)
    steps().step("checking every file's hash")
    signature = sign_bundle(bundle, private_key, limits=limits_in_force())
    document = {"bundle": str(bundle), "signature": str(signature)}
    return Result(document, lambda out: out.print(facts([("signature", str(signature))])))
