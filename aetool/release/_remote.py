"""Stores behind a URI: what pyarrow or fsspec reaches, such as s3://, gs://, sftp:// and https://."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from aetool.bundle.files import is_plain_relative
from aetool.errors import DependencyError, reason_of

try:
    from aetool.tables.filesystems import appearing, listed, locate
except ImportError as error:
    raise DependencyError("pyarrow", "agent", "a store with a URI") from error


class RemoteStore:
    """A folder in a file system or a bucket."""

    def __init__(self, uri: str) -> None:
        """Find the file system.

        Raises:
            InputError: nobody here knows such a URI.
        """
        self.where = uri
        self._system, self._folder = locate(uri)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file; parts of it are fetched as they are read."""
        path = self._path(name)
        with _as_os_error():
            stream = self._system.open_input_file(path)
        with stream:
            yield cast(BinaryIO, _Guarded(stream))

    def write(self, name: str, content: bytes) -> None:
        """Write a file: beside its name first, where a name can be taken in one step."""
        path = self._path(name)
        with _as_os_error():
            self._system.create_dir(path.rpartition("/")[0], recursive=True)
            with appearing(self._system, path, f"{path}.tmp") as stream:
                stream.write(content)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        with _as_os_error():
            whole = self._path(folder)
            found = {info.path.rpartition(f"{whole}/")[2] for info in listed(self._system, whole, recursive=True)}
        return sorted({name.partition("/")[0] for name in found})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: let one machine push to a channel."""
        yield

    def _path(self, name: str) -> str:
        if not is_plain_relative(name):
            raise OSError(f"{name!r}: not a relative path inside the store")
        return f"{self._folder.rstrip('/')}/{name}"


class _Guarded:
    """A stream whose errors are OSError, whichever library raises them."""

    def __init__(self, stream: object) -> None:
        self._stream = cast(BinaryIO, stream)

    def read(self, size: int = -1) -> bytes:
        with _as_os_error():
            return bytes(self._stream.read(size))

    def seek(self, offset: int) -> int:
        with _as_os_error():
            return self._stream.seek(offset)


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {reason_of(error)}") from error
