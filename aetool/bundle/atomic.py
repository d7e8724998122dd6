"""Directories and files that appear whole or not at all, and the scratch directories they are made in."""

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from aetool.bundle.files import still_there
from aetool.errors import OutputError

# Directories for what is half done, beside where it will stand: gone afterwards, whoever dies meanwhile.

PATTERN = ".aetool-*.tmp"


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Make a hidden directory in `parent`, deleted at the end; those of dead processes are deleted first.

    Its owner holds a lock on it (flock(2)), which the kernel releases when the process ends, however it ends: a
    directory whose lock is free is nobody's.

    Raises:
        OSError: it cannot be made.
    """
    clear_stale(parent)
    while True:
        folder = parent / PATTERN.replace("*", secrets.token_hex(8))
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        if _lock(descriptor) is not False and _stands(folder, descriptor):
            break
        os.close(descriptor)  # another process took it for stale, between the two steps
    try:
        yield folder
    finally:
        # By name: after an exchange of names this is another directory than the one locked.
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def clear_stale(parent: Path) -> None:
    """Delete what dead processes left in `parent`; what cannot be deleted stays, and is in nobody's way."""
    for folder in parent.glob(PATTERN):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if _lock(descriptor):
                if folder.is_dir():
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    folder.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Try to take the lock: False where it is taken, None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _stands(folder: Path, descriptor: int) -> bool:
    try:
        return still_there(folder, descriptor)
    except OSError:
        return False


_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100


def require_new(path: Path, overwrite: bool) -> None:
    """Refuse early, before any work is done for nothing.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or its parent cannot be written.
    """
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name or pass --overwrite")
    try:
        path.is_symlink()  # fails for a name that is too long
        parent = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}; choose another name") from error
    if not parent.is_dir():
        raise OutputError(f"{path}: {parent} is a file, a directory was expected; choose another name")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path}: the directory {parent} cannot be written; choose another or change its permissions"
        )


def publish_directory(
    path: Path,
    files: Mapping[str, bytes],
    *,
    overwrite: bool = False,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write `files` (name -> content) as the directory `path`, in one step for every reader.

    The files go to a sibling directory, are flushed to the disk, and take the name at the end: a crash
    leaves what was there before, and a hidden directory `.aetool-*.tmp` beside it that the next run clears away.
    `check` is called with that directory before; what it raises is passed on, and nothing is published.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or is something else than an older version of
            these files, or the disk refuses.
    """
    require_new(path, overwrite)
    _require_replaceable(path, files)
    path = Path(os.path.abspath(path))  # noqa: PTH100 - "." and ".." have no name to write beside
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # After an exchange the scratch holds what was replaced; after a failure, what was half written.
        with scratch(path.parent) as temporary:
            for name, content in files.items():
                write_file(temporary / name, content)
            for folder in {folder for name in files for folder in PurePosixPath(name).parents}:
                sync_directory(temporary / folder)
            if check is not None:
                check(temporary)
            _take_name(temporary, path, overwrite)
            sync_directory(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _not_written(path, error) from error


def publish_file(path: Path, content: bytes, *, overwrite: bool = False, beside: Path | None = None) -> None:
    """Write one file, in one step for every reader: a crash leaves what was there before.

    Args:
        path: the file.
        content: its bytes.
        overwrite: replace an existing file.
        beside: a directory of the same file system for the file while it is written; its own by default.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or is a directory, or the disk refuses.
    """
    require_new(path, overwrite)
    if path.is_dir():
        raise OutputError(f"{path}: a directory exists there and is not replaced; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch(beside or path.parent) as folder:
            temporary = folder / path.name
            write_file(temporary, content)
            if not overwrite and os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "appeared while it was being written", str(path))
            temporary.replace(path)
            sync_directory(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError | ValueError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) else error
    return OutputError(
        f"{path}: could not be written: {reason or error}; nothing was changed, "
        "check the free space and the permissions of the directory"
    )


def _require_replaceable(path: Path, files: Mapping[str, bytes]) -> None:
    """Refuse to replace anything but an older version of the same directory: replacing deletes."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise OutputError(f"{path}: is not a directory, it will not be replaced; choose another name")
    try:
        found = {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise OutputError(f"{path}: cannot be replaced: {error.strerror}; choose another name") from error
    ours = set(files) - {"README.md"}  # which stands in any directory
    if found and not found & ours:
        raise OutputError(
            f"{path}: holds {min(found)!r} but nothing that would be written there, it will not be replaced; "
            "choose another name"
        )


def write_file(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk; its directory is made, and is not flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_name(temporary: Path, path: Path, overwrite: bool) -> None:
    if not (overwrite and path.exists()):
        if os.path.lexists(path):  # somebody else published meanwhile; rename would replace an empty one
            raise FileExistsError(errno.EEXIST, "appeared while it was being written", str(path))
        temporary.rename(path)
        return
    if not _exchange(temporary, path):
        aside = temporary.with_suffix(".old")
        path.rename(aside)
        try:
            temporary.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step (renameat2(2)); False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):  # an old kernel, or a file system without the flag
        return False
    raise OSError(code, os.strerror(code), str(second))
