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
    "-o", "--output", type=options.PATH, required=True, help="File of the private key; also writes NAME.pub."
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(["ed25519", "p256"]),
    default="ed25519",
    show_default=True,
    help="p256 signs in the format of OpenSSF Model Signing, which other tools check.",
)
@reports
def keygen(output: Path, kind: str) -> Result:
    """Make a pair of keys to sign bundles with.

    Keep the private key secret. Give the public key to those who load your bundles, separately from the bundles.

    \b
    Example:
      aetool keygen -o signing.pem
    """
    from aetool.bundle.keys import write_keys

    paths.require_new_file(output, overwrite=False)
    public = write_keys(output, kind)
    pairs = [("private key", f"{output}, keep it secret"), ("public key", str(public))]
    document = {"private_key": str(output), "public_key": str(public)}
    return Result(document, lambda out: out.print(facts(pairs)))


@click.command()
@click.argument("bundle", type=options.PATH)
@click.option("--private-key", type=options.PATH, required=True, help="Private key from aetool keygen.")
@limit(table=False, bundle=True)
@reports
def sign(bundle: Path, private_key: Path) -> Result:
    """Sign a bundle, so that others can check its origin.

    Every file is checked first. Changing the bundle later removes the signature. A key of elliptic curves (aetool
    keygen --type p256) makes model.sig, a signature of OpenSSF Model Signing: model_signing verify key checks it.
    A bundle may carry both kinds.

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
