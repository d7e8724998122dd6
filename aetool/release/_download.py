"""Download of a version into a staging folder: resumed where it stopped, every file checked by its hash."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from aetool.bundle.atomic import sync_directory, write_file
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import Limits, is_plain_relative, sha256
from aetool.bundle.manifest import MANIFEST, FileRecord, Manifest
from aetool.bundle.signature import SIGNATURES
from aetool.errors import AetoolError, ReleaseError, reason_of
from aetool.release._channel import Channel, made_at, version_of
from aetool.release._store import Store, read

_CHUNK = 1 << 20
_PARTS = ".parts"
"""Ending of the directory of files that are not whole yet, each named by its hash."""


def download(
    store: Store, channel: Channel, staging: Path, known: Iterable[Path], limits: Limits, most_bytes: int
) -> Path:
    """Fetch the version that `channel` names, and return its directory below `staging`.

    Every file is flushed to the disk before it gets its name. A file that is whole already, there or in a bundle
    of `known`, is not fetched.

    Args:
        store: where from.
        channel: its file, read and checked.
        staging: where to; a download that was interrupted is continued there.
        known: bundles on this machine, whose files are copied.
        limits: bounds on the manifest and on each file.
        most_bytes: largest size of all files together.

    Raises:
        ReleaseError: the version is not what the channel says, damaged, too large, or cannot be read.
    """
    where = f"{store.where}/versions/{channel.version}"
    text = _fetched(store, f"versions/{channel.version}/{MANIFEST}", limits.manifest_bytes)
    if sha256(text) != channel.manifest_sha256:
        raise ReleaseError(
            f"{where}/{MANIFEST}: sha256 {channel.manifest_sha256[:9]}... expected, found {sha256(text)[:9]}...; "
            "it was changed or truncated, push its bundle again"
        )
    try:
        manifest = Manifest.from_json(text, f"{where}/{MANIFEST}")
    except AetoolError as error:
        raise ReleaseError(str(error)) from error
    if (version_of(manifest, text), made_at(manifest)) != (channel.version, channel.made):
        raise ReleaseError(f"{where}: is another version than {channel.file} says; do not use it, push again")
    folder, parts = staging / channel.version, staging / f"{channel.version}{_PARTS}"
    _require_room(manifest, where, folder, parts, limits, most_bytes)
    copies = _copies(known, limits)
    try:
        parts.mkdir(parents=True, exist_ok=True)
        for name, record in manifest.files.items():
            if not _is_whole(folder / name, record):
                part = parts / record.sha256
                if not _is_whole(part, record) and not _copied(copies.get(record.sha256), part, record):
                    _fetch(store, f"versions/{channel.version}/{name}", part, record)
                _take_name(part, folder, name)
        for name, most in SIGNATURES.items():
            signature = _signature(store, f"versions/{channel.version}/{name}", most)
            if signature is None:
                (folder / name).unlink(missing_ok=True)
            else:
                write_file(folder / name, signature)
        write_file(folder / MANIFEST, text)
        sync_directory(folder)
        shutil.rmtree(parts, ignore_errors=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def clear_staging(staging: Path, version: str | None = None) -> None:
    """Delete what is in the staging folder, but for the files of `version`."""
    kept = () if version is None else (version, f"{version}{_PARTS}")
    for entry in staging.iterdir():
        if entry.name not in kept:
            shutil.rmtree(entry, ignore_errors=True)


def _require_room(
    manifest: Manifest, where: str, folder: Path, parts: Path, limits: Limits, most_bytes: int
) -> None:
    total = sum(record.size for record in manifest.files.values())
    if total > most_bytes:
        raise ReleaseError(
            f"{where}: has {total:,} bytes, more than the {most_bytes:,} allowed; if you trust it, allow more "
            "with --max-bytes"
        )
    for name, record in manifest.files.items():
        if record.size > limits.file_bytes:
            raise ReleaseError(f"{where}/{name}: {limits.excess('file_bytes', f'{record.size:,} bytes')}")
        if any(name.startswith(f"{other}/") for other in manifest.files):
            raise ReleaseError(f"{where}: {name!r:.80} lies below another file; do not use it")
    there = sum(path.stat().st_size for each in (folder, parts) for path in each.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder.parent).free
    if total - there > free:
        raise ReleaseError(
            f"{folder.parent}: {total - there:,} bytes are needed, {free:,} are free; free some space"
        )


def _copies(known: Iterable[Path], limits: Limits) -> dict[str, tuple[Bundle, str]]:
    """Return the files of bundles on this machine, by hash."""
    found = {}
    for path in known:
        try:
            bundle = Bundle.open(path, limits=limits)
        except AetoolError:
            continue
        found.update({record.sha256: (bundle, name) for name, record in bundle.manifest.files.items()})
    return found


def _copied(source: tuple[Bundle, str] | None, part: Path, record: FileRecord) -> bool:
    """Copy a file from another version that is here, if that is whole."""
    if source is None:
        return False
    try:
        write_file(part, source[0].read(source[1]))
    except AetoolError:
        return False
    return _is_whole(part, record)


def _fetch(store: Store, name: str, part: Path, record: FileRecord) -> None:
    """Fetch what is missing of a file into `part`, and check it."""
    where = f"{store.where}/{name}"
    if part.exists() and part.stat().st_size > record.size:
        part.unlink()
    with part.open("ab") as stream:
        try:
            _append(store, name, stream, record.size - part.stat().st_size)
        finally:
            stream.flush()
            os.fsync(stream.fileno())
    found = part.stat().st_size
    if found < record.size:
        raise ReleaseError(
            f"{where}: {record.size:,} bytes expected, found {found:,}; it is truncated, push its bundle again"
        )
    if not _is_whole(part, record):
        part.unlink()  # what was appended to may be of another file: from the start next time
        raise ReleaseError(
            f"{where}: sha256 {record.sha256[:12]}... expected, found another; it was changed, or longer than "
            f"{record.size:,} bytes: push its bundle again"
        )


def _append(store: Store, name: str, stream: BinaryIO, missing: int) -> None:
    for chunk in _chunks(store, name, stream.tell(), missing):
        stream.write(chunk)


def _chunks(store: Store, name: str, start: int, missing: int) -> Iterator[bytes]:
    """Yield what is missing of a file, and a byte more if it is longer than that."""
    try:
        with store.open(name) as source:
            source.seek(start)
            while missing > 0 and (chunk := source.read(min(_CHUNK, missing))):
                missing -= len(chunk)
                yield chunk
            if missing == 0 and (more := source.read(1)):
                yield more
    except OSError as error:
        raise _unreadable(store, name, error) from error


def _is_whole(path: Path, record: FileRecord) -> bool:
    try:
        if path.stat().st_size != record.size:
            return False
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == record.sha256
    except OSError:
        return False


def _take_name(part: Path, folder: Path, name: str) -> None:
    if not is_plain_relative(name):
        raise OSError(errno.EINVAL, "not a relative path inside the directory", name)
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    below = target.parent
    sync_directory(below)
    while below != folder:
        below = below.parent
        sync_directory(below)


def _signature(store: Store, name: str, most: int) -> bytes | None:
    try:
        return read(store, name, most)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(store, name, error) from error


def _fetched(store: Store, name: str, most: int) -> bytes:
    try:
        return read(store, name, most)
    except OSError as error:
        raise _unreadable(store, name, error) from error


def _unreadable(store: Store, name: str, error: OSError) -> ReleaseError:
    reason = error.strerror or reason_of(error)
    return ReleaseError(
        f"{store.where}/{name}: cannot be read: {reason}; check the store and the connection to it"
    )


def _unwritable(folder: Path, error: OSError) -> ReleaseError:
    return ReleaseError(
        f"{folder}: cannot be written: {error.strerror or error}; check its permissions and the free space"
    )
