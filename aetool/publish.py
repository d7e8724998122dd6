"""A bundle written: its files, their record in the manifest, and the directory that takes its name at the end."""

from collections.abc import Callable, Mapping
from pathlib import Path

from aetool.bundle import Bundle
from aetool.errors import OutputError
from aetool.limits import DEFAULT_LIMITS
from aetool.manifest import MANIFEST, FileRecord, Manifest
from aetool.reading import sha256
from aetool.storage import publish_directory


def publish(
    path: str | Path,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Bundle:
    """Write a bundle: `files` (name -> content) and `manifest`, in one step.

    Args:
        check: called with the directory that is about to take the name; what it raises keeps it from doing so.

    Raises:
        OutputError: `path` exists and `overwrite` is false, the disk refuses, or the manifest is too large.
    """
    path = Path(path)
    text, most = manifest.to_json().encode(), DEFAULT_LIMITS.manifest_bytes
    if len(text) > most:
        raise OutputError(
            f"{path}: its {MANIFEST} would have {len(text):,} bytes, {most:,} are read; use fewer categories"
        )
    publish_directory(path, {**files, MANIFEST: text}, overwrite=overwrite, check=check)
    return Bundle(path, manifest)


def record_files(files: Mapping[str, bytes]) -> dict[str, FileRecord]:
    """The manifest's `files` entry for these contents."""
    return {name: FileRecord(sha256(content), len(content)) for name, content in sorted(files.items())}
