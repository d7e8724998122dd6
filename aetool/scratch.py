"""Directories for what is half done, beside where it will stand: gone afterwards, whoever dies meanwhile."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from aetool.reading import still_there

PATTERN = ".aetool-*.tmp"


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new hidden directory in `parent`, deleted at the end; those of dead processes are deleted first.

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
    """Whether the lock was free; None on a file system without locks, where nothing is taken for stale."""
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
