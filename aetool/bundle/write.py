"""Publishing and signing of bundles: files, their records in the manifest, the directory written in one step."""

from collections.abc import Callable, Mapping
from pathlib import Path

from aetool.bundle.atomic import publish_directory, publish_file
from aetool.bundle.bom import BOM, ml_bom
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, Limits, read_inside, sha256
from aetool.bundle.manifest import MANIFEST, FileRecord, Manifest
from aetool.bundle.signature import signature_of
from aetool.errors import BundleError, OutputError


def publish(
    path: str | Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Bundle:
    """Write a bundle: `files` (name -> content), their bill of materials and `manifest`, in one step.

    Args:
        path: the bundle's directory.
        manifest: its manifest; the list of files is made here, keys of a later version in it stay.
        files: name -> content.
        overwrite: replace an older bundle at `path`.
        check: called with the new directory before it is published; an exception stops the publishing.

    Raises:
        OutputError: `path` exists and `overwrite` is false, the disk refuses, or the manifest is too large.
    """
    path, old = Path(path), manifest.files

    def recorded(files: Mapping[str, bytes]) -> Manifest:
        records = {
            name: FileRecord(sha256(content), len(content), old[name].unknown if name in old else {})
            for name, content in sorted(files.items())
        }
        return manifest._replace(files=records)

    files = {**files, BOM: ml_bom(recorded(files)).encode()}
    manifest = recorded(files)
    text, most = manifest.to_json().encode(), DEFAULT_LIMITS.manifest_bytes
    if len(text) > most:
        raise OutputError(
            f"{path}: its {MANIFEST} would have {len(text):,} bytes, {most:,} are read; use fewer categories"
        )
    publish_directory(path, {**files, MANIFEST: text}, overwrite=overwrite, check=check)
    return Bundle(path, manifest)


# A bundle signed: checked whole, then its signature put beside its manifest.


def sign_bundle(path: str | Path, private_key: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Path:
    """Sign the bundle at `path`, replacing an older signature of that kind, and return the signature's file.

    Raises:
        BundleError: it is not whole.
        InputError: no private key in that file.
        OutputError: the bundle cannot be written to.
        DependencyError: `cryptography` is not installed.
    """
    bundle = Bundle.open_whole(path, limits=limits)
    text = read_inside(bundle.path, MANIFEST, limits.manifest_bytes, limits)
    if Manifest.from_json(text, str(bundle.path / MANIFEST)) != bundle.manifest:
        raise BundleError(f"{path}: was replaced by another bundle in the meantime; sign it again")
    name, content = signature_of(text, bundle.manifest, private_key)
    signature = bundle.path / name
    # What a crash leaves must not lie in the bundle, where it would be a foreign file.
    publish_file(signature, content.encode(), overwrite=True, beside=bundle.path.resolve().parent)
    return signature
