"""Safe reads of files: no link leads elsewhere, and hashes identify the content.

Paths are text here, as in all that opens a bundle: pathlib takes longer to import than a bundle to open.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from aetool.errors import InputError

AnyPath = str | os.PathLike[str]
_FEW_BYTES = 64 << 20
"""Unpacked size up to which the ratio is not checked: tables of zeros compress that well."""


# How much is read, and how large graphs may be: what a file whose author nobody knows may cost.


class Limits(NamedTuple):
    """Bounds that are checked before memory is taken; the defaults are generous."""

    manifest_bytes: int = 8 << 20
    """Size of manifest.json, which takes up to 35 times as much memory while it is read."""
    file_bytes: int = 2 << 30
    """Size of every other file; 2 GiB is protobuf's own limit for one message."""
    nodes: int = 20_000
    """Nodes in one graph, those of its inner graphs included."""
    depth: int = 8
    """Depth of graphs within graphs."""
    numbers_per_row: int = 48 << 20
    """Numbers that the values between a graph's nodes hold at one time for one row, in whatever order the nodes
    run, with the workspace of their operators: 192 MiB in float32. For n rows, n times as many."""
    hard_links: bool = False
    """True: files may have other names, outside of the bundle: some package managers install by such links."""
    symbolic_links: bool = False
    """True: files may be symbolic links that stay inside the bundle's directory, as in a mounted ConfigMap, or
    lead from `snapshots/` to `blobs/` of one model cache."""
    golden_bytes: int = 1 << 30
    """Size of golden.npz, unpacked."""
    json_bytes: int = 64 << 20
    """Size of any other JSON file, such as baseline.json of a bundle."""
    table_bytes: int = 16 << 30
    """Size of a table that is read as a whole: its text, or its arrays, unpacked."""
    columns: int = 100_000
    """Columns of a table."""
    cell_bytes: int = 1 << 20
    """Size of one cell of a table, or of a column's name."""
    compression_ratio: int = 200
    """Bytes that a byte of a compressed file may become, from 64 MiB on."""

    def excess(self, name: str, found: str) -> str:
        """Return the end of a message: what is above the limit `name`, and how to raise it."""
        return (
            f"{found}, more than {getattr(self, name):,} allowed; if you trust the file, allow more with --limit "
            f"{name}=NUMBER, in Python limits=Limits({name}=...)"
        )

    def require(self, name: str, amount: int, words: str, where: str) -> None:
        """Refuse an amount above the limit `name`; `words` hold its place, such as `{:,} columns`.

        Raises:
            InputError: naming `where`, the amount and the limit.
        """
        if amount > getattr(self, name):
            raise InputError(f"{where}: {self.excess(name, words.format(amount))}")

    def require_ratio(self, packed: int, unpacked: int, where: str) -> None:
        """Refuse bytes that were packed more tightly than is allowed, with an InputError."""
        if unpacked > _FEW_BYTES and unpacked > self.compression_ratio * packed:
            ratio = f"{packed:,} bytes that become {unpacked:,}, {unpacked // packed:,} times as many"
            raise InputError(f"{where}: {self.excess('compression_ratio', ratio)}")


DEFAULT_LIMITS = Limits()


def sha256(data: bytes) -> str:
    """Return the hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def plain_path(path: AnyPath) -> str:
    """Return a path as text, without redundant parts: `a//b/./` becomes `a/b`."""
    text = os.fsdecode(path)
    root = os.sep if text.startswith(os.sep) else ""
    return root + os.sep.join(part for part in text.split(os.sep) if part not in ("", ".")) or "."


def absolute_path(path: AnyPath) -> str:
    """Return the absolute path. A part `..` stays: before it may be a link."""
    return plain_path(os.path.join(os.getcwd(), plain_path(path)))


def is_plain_relative(name: str) -> bool:
    """Decide whether `name` is a relative path that stays below the directory it is read from."""
    return "\\" not in name and "\0" not in name and all(part not in ("..", ".", "") for part in name.split("/"))


def read_inside(directory: AnyPath, name: str, max_bytes: int, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read the regular file `name` below `directory`; no component may be a symbolic link.

    Args:
        directory: the directory, which may itself be reached by links.
        name: relative path of the file.
        max_bytes: largest size that is read.
        limits: tell whether the file may have other names too, which may lie anywhere, and whether links are
            followed that lead to where `linked_file` allows.

    Raises:
        OSError: the file is missing, too large, or not a regular file inside `directory` alone.
    """
    while True:
        tree, rest = linked_file(directory, name) if limits.symbolic_links else (os.fspath(directory), name)
        with pin(tree) as descriptor:
            try:
                return _read_below(descriptor, rest, max_bytes, limits.hard_links)
            except FileNotFoundError:
                moved = limits.symbolic_links and linked_file(directory, name) != (tree, rest)
                if not moved and still_there(tree, descriptor):
                    raise
        # The directory, or what a link stands for, was replaced after it was opened, and its files are gone.


def linked_file(directory: AnyPath, name: str) -> tuple[str, str]:
    """Resolve the links of `name` below `directory` to a directory without links on the way, and the rest.

    That is `directory` itself, or `blobs` of the model cache in whose `snapshots` it lies, as Hugging Face lays it
    out. A read of the rest below it without following links cannot be led elsewhere, even by a link that changes
    meanwhile.

    Raises:
        OSError: the links lead elsewhere, to nothing, or in a circle.
    """
    if not is_plain_relative(name):
        raise OSError(errno.EINVAL, "not a relative path inside the directory", name)
    root = os.path.realpath(directory)
    try:
        found = os.path.realpath(os.path.join(root, name), strict=True)
    except FileNotFoundError:  # once more: a link on the way may have been changed meanwhile
        found = os.path.realpath(os.path.join(root, name), strict=True)
    parts = root.split(os.sep)
    caches = [os.sep.join([*parts[:i], "blobs"]) for i, part in enumerate(parts) if part == "snapshots"]
    for tree in (root, *caches):
        if found.startswith(tree.rstrip(os.sep) + os.sep):
            return tree, found[len(tree.rstrip(os.sep)) + 1 :]
    raise OSError(errno.ELOOP, "a symbolic link that leads out of the bundle", name)


@contextlib.contextmanager
def folder_inside(directory: AnyPath, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the directory that holds `name` below `directory`, whose links are not followed.

    Args:
        directory: the directory to start from.
        name: relative path of a file.
        make: make what is missing on the way.

    Yields:
        Its descriptor, and the last part of `name`.

    Raises:
        OSError: something on the way is a link, missing, or no directory.
    """
    if not is_plain_relative(name):
        raise OSError(errno.EINVAL, "not a relative path inside the directory", name)
    *parents, last = name.split("/")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for parent in parents:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(parent, dir_fd=descriptor)
            try:
                below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    found = f"{parent!r} is a symbolic link or a file, which is not followed"
                    raise OSError(error.errno, found, name) from error
                raise
            os.close(descriptor)
            descriptor = below
        yield descriptor, last
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def pin(directory: AnyPath) -> Iterator[int]:
    """Open a descriptor of `directory`, which stays valid when another directory takes the name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def still_there(directory: AnyPath, descriptor: int) -> bool:
    """Decide whether the name `directory` still belongs to what `descriptor` was opened on."""
    return os.path.samestat(os.stat(directory), os.fstat(descriptor))


@contextlib.contextmanager
def open_inside(directory: AnyPath, name: str) -> Iterator[BinaryIO]:
    """Open the regular file `name` below `directory` to read parts of it; no link on the way is followed.

    Raises:
        OSError: the file is missing, or not a regular file inside `directory`.
    """
    with pin(directory) as descriptor, os.fdopen(_open_below(descriptor, name), "rb") as stream:
        yield stream


def _open_below(directory: int, name: str) -> int:
    """Return a descriptor of a regular file."""
    if not is_plain_relative(name):
        raise OSError(errno.EINVAL, "not a relative path inside the directory", name)
    *parents, last = name.split("/")
    descriptor = os.dup(directory)
    # Opened part by part below a descriptor, so that nobody can swap a parent for a link in between.
    try:
        for parent in parents:
            below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        # Non-blocking: opening a FIFO must not wait for a writer.
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # what the kernel says of links that may not be followed
            raise OSError(errno.ELOOP, "a symbolic link, or below one: not a regular file", name) from error
        raise
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a regular file", name)
    return file


def _read_below(directory: int, name: str, max_bytes: int, hard_links: bool) -> bytes:
    with os.fdopen(_open_below(directory, name), "rb") as stream:
        status = os.fstat(stream.fileno())
        if status.st_nlink > 1 and not hard_links:
            raise OSError(errno.EMLINK, "a hard link: the file has another name, copy it", name)
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, more than the {max_bytes:,} allowed", name)
        data = stream.read(
            status.st_size + 1
        )  # not of what is allowed: so much memory would be taken for a small one
        if len(data) > status.st_size:  # it has grown, or does not tell its size
            data += stream.read(max(0, max_bytes + 1 - len(data)))
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"more than the {max_bytes:,} bytes allowed", name)
    return data
