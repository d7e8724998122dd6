"""File systems: this machine's, or any store that pyarrow or fsspec supports."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, LocalFileSystem

from aetool.bundle.files import folder_inside
from aetool.errors import InputError, reason_of


def is_remote(path: str) -> bool:
    """Decide whether `path` is a URI, such as s3://bucket/name."""
    return "://" in path


def locate(path: str) -> tuple[Any, str]:
    """Return the file system of a path or URI, and the path in it; local paths become absolute.

    Raises:
        InputError: nobody here knows such a URI.
    """
    if not is_remote(path):
        return LocalFileSystem(), os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
    reasons = []
    for uri in (path, f"fsspec+{path}"):  # pyarrow's own, then those of fsspec, which may not be installed
        try:
            system, inside = FileSystem.from_uri(uri)
            return system, inside.rstrip("/") or "/"
        except (ArrowException, ImportError, ValueError, OSError) as error:
            reasons.append(reason_of(error, 200))
    raise InputError(f"{path}: no file system for this URI ({'; '.join(reasons)}); check it, or install fsspec")


def is_below(path: str, folder: str) -> bool:
    """Decide whether a source's path lies in the directory `folder`."""
    whole = folder if is_remote(folder) else os.path.abspath(folder)  # noqa: PTH100
    return path.startswith(f"{whole.rstrip('/')}/")


def uri_of(given: str, path: str, other: str) -> str:
    """Return the URI of `other`, a path in the file system where the URI `given` has `path`."""
    before, _, after = given.partition(path)
    return before + other + (after if after.startswith("?") else "")


def listed(system: Any, folder: str, *, recursive: bool) -> list[Any]:
    """Return the files below a directory, as `pyarrow.fs.FileInfo`; none where there is no such directory."""
    selector = FileSelector(folder, recursive=recursive, allow_not_found=True)
    return [info for info in system.get_file_info(selector) if info.is_file]


def as_pattern(glob: str) -> re.Pattern[str]:
    """Convert a shell's pattern: `*` and `?` stay inside one directory, `**` does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)  # every second one is a wildcard
    texts = [
        parts.get(piece, piece.replace("[!", "[^")) if place % 2 else re.escape(piece)
        for place, piece in enumerate(pieces)
    ]
    return re.compile("".join(texts), re.DOTALL)


def make_folder(system: Any, directory: str, name: str) -> None:
    """Make the directory of the file `name` below `directory`; on this machine no link on the way is followed.

    Raises:
        OSError: it cannot be made, or something on the way is a link.
    """
    if isinstance(system, LocalFileSystem):
        with folder_inside(directory, name, make=True):
            return
    system.create_dir(f"{directory}/{name}".rpartition("/")[0], recursive=True)


def delete_file(system: Any, directory: str, name: str) -> None:
    """Delete the file `name` below `directory`, if it is there; on this machine no link is followed.

    Raises:
        OSError: it cannot be deleted, or something on the way is a link.
    """
    with suppress(FileNotFoundError):
        if not isinstance(system, LocalFileSystem):
            system.delete_file(f"{directory}/{name}")
            return
        with folder_inside(directory, name) as (folder, last):
            os.unlink(last, dir_fd=folder)


@contextmanager
def appearing(system: Any, path: str, temporary: str) -> Iterator[Any]:
    """Open a stream whose bytes are at `path` once the block has ended without an error, and nowhere otherwise."""
    try:
        with system.open_output_stream(temporary) as stream:
            yield stream
        if isinstance(system, LocalFileSystem):
            _sync(temporary)
        system.move(temporary, path)
        if isinstance(system, LocalFileSystem):
            _sync(os.path.dirname(path))  # noqa: PTH120 - paths of pyarrow are texts
    except BaseException:
        if system.get_file_info(temporary).is_file:
            system.delete_file(temporary)
        raise


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
