"""Stores: where versions and channels lie. A directory here; others are `_oci`, `_hub` and `_remote`."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from aetool.bundle.atomic import publish_file
from aetool.bundle.files import is_plain_relative, open_inside
from aetool.errors import OutputError


class Store(Protocol):
    """Named bytes. Names are relative paths; whatever goes wrong is an OSError."""

    where: str
    """Path or URI, for messages."""

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file to read parts of it; FileNotFoundError where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole or not at all; an older one is replaced.

        A file of a new version may appear as late as its manifest, which is written last.
        """

    def names(self, folder: str) -> list[str]:
        """Return the names in a directory; none where there is no such directory."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other writers away, where the store can."""


def read(store: Store, name: str, most: int) -> bytes:
    """Return the content of a small file.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
    """
    with store.open(name) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(f"more than {most:,} bytes, which are not read")
    return content


class DirectoryStore:
    """A directory of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        """Take the path; it need not exist yet."""
        self.path, self.where = path, str(path)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file; no link on the way is followed."""
        with open_inside(self.path, name) as stream:
            yield stream

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one step, flushed to the disk."""
        if not is_plain_relative(name):
            raise OutputError(f"{name!r}: not a relative path inside the store")
        self.path.mkdir(parents=True, exist_ok=True)
        publish_file(self.path / name, content, overwrite=True, beside=self.path)

    def names(self, folder: str) -> list[str]:
        """Return the names in a directory."""
        try:
            return sorted(os.listdir(self.path / folder))  # noqa: PTH208 - names
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock on the directory; where its file system has none, go on without."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def open_store(where: str | Path) -> Store:
    """Return the store at a path or URI.

    Raises:
        InputError: no file system for this URI.
        DependencyError: a package for it is not installed.
    """
    scheme, separator, _ = str(where).partition("://")
    if not separator:
        return DirectoryStore(Path(where))
    if scheme in ("oci", "oci+http"):
        from aetool.release._oci import OciStore  # here: what speaks HTTP is for who needs it

        return OciStore(str(where))
    if scheme == "hf":
        from aetool.release._hub import HubStore  # here: huggingface_hub is an optional package

        return HubStore(str(where))
    from aetool.release._remote import RemoteStore  # here: pyarrow is an optional package

    return RemoteStore(str(where))
