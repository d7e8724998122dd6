"""A bundle signed: checked whole, then its signature put beside its manifest."""

from pathlib import Path

from aetool.bundle import Bundle
from aetool.errors import BundleError
from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.manifest import MANIFEST, SIGNATURE, Manifest
from aetool.reading import read_inside
from aetool.signature import sign
from aetool.storage import publish_file


def sign_bundle(path: str | Path, private_key: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Path:
    """Sign the bundle at `path`; an older signature is replaced. The signature's file.

    Raises:
        BundleError: it is not whole.
        InputError: no private Ed25519 key in that file.
        OutputError: the bundle cannot be written to.
        DependencyError: `cryptography` is not installed.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    text = read_inside(
        bundle.path,
        MANIFEST,
        limits.manifest_bytes,
        hard_links=limits.hard_links,
        symbolic_links=limits.symbolic_links,
    )
    if Manifest.from_json(text, str(bundle.path / MANIFEST)) != bundle.manifest:
        raise BundleError(f"{path}: was replaced by another bundle meanwhile; sign it again")
    place = bundle.path / SIGNATURE
    # What a crash leaves must not lie in the bundle, where it would be a foreign file.
    publish_file(place, sign(text, private_key).encode(), overwrite=True, beside=bundle.path.resolve().parent)
    return place
