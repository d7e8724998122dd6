"""Messages from lines: of a pipe, or of a file that grows."""

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from aetool.errors import InputError, reason_of
from aetool.watch._messages import Message

IDLE_S = 1.0
"""Seconds between empty batches, in which the watcher looks after what else there is."""
_POLL_S = 0.05  # between looks at a file that grows
_READ_BYTES = 1 << 16
_LINE_BYTES = 1 << 20
"""Length of a line above which its rest is left out."""


class Stop:
    """A request to end, which wakes whoever waits for messages. A signal handler may make it."""

    def __init__(self) -> None:
        """Begin without the request."""
        self.requested = False
        self._read, self._write = os.pipe()

    def request(self) -> None:
        """Ask to end."""
        if not self.requested:
            self.requested = True
            os.write(self._write, b".")

    def wait(self, seconds: float, *others: int) -> list[int]:
        """Wait until one of the descriptors can be read or the request comes; return those that can be read."""
        ready, _, _ = select.select([self._read, *others], [], [], seconds)
        return [each for each in ready if each != self._read]


class MessageSource(Protocol):
    """Where messages come from."""

    @property
    def position(self) -> list[Any] | None:
        """Where the source is after the last batch, for `seek`; None where it cannot be asked again."""

    @property
    def is_settling(self) -> bool:
        """Whether messages may overtake each other now."""

    def seek(self, position: list[Any] | None) -> None:
        """Go on from a position."""

    def batches(self, stop: Stop) -> Iterator[list[Message]]:
        """Return messages as they come, and nothing now and then, until the end or the request to stop."""

    def acknowledge(self) -> None:
        """Tell the source that the last batch is safe."""


class _Lines:
    """Bytes to whole lines."""

    def __init__(self) -> None:
        self.held = b""
        self._skips = False

    def add(self, content: bytes) -> list[Message]:
        *lines, self.held = (self.held + content).split(b"\n")
        if self._skips and lines:
            del lines[0]
            self._skips = False
        if len(self.held) > _LINE_BYTES:
            if not self._skips:
                lines.append(self.held[:_READ_BYTES])
            self.held, self._skips = b"", True
        return [Message(line.decode("utf-8", "replace")) for line in lines]


class PipeSource:
    """Lines of a pipe, a terminal or a file, to its end."""

    position = None
    is_settling = False

    def __init__(self, descriptor: int) -> None:
        """Read from a descriptor."""
        self._descriptor = descriptor

    def seek(self, position: list[Any] | None) -> None:
        """Do nothing: a pipe goes forward alone."""

    def acknowledge(self) -> None:
        """Do nothing: what was read is gone from the pipe."""

    def batches(self, stop: Stop) -> Iterator[list[Message]]:
        """Return lines as they come, to the end."""
        lines = _Lines()
        while not stop.requested:
            if not stop.wait(IDLE_S, self._descriptor):
                yield []
                continue
            content = os.read(self._descriptor, _READ_BYTES)
            if not content:
                if lines.held:
                    yield lines.add(b"\n")
                return
            if found := lines.add(content):
                yield found


class FileSource:
    """Lines of a file that grows, and of the one that takes its place; or of a file to its end."""

    is_settling = False

    def __init__(self, path: Path, *, to_its_end: bool = False) -> None:
        """Read from the beginning of `path`, or from where `seek` says."""
        self._path, self._to_its_end = path, to_its_end
        self._inode, self._offset = 0, 0

    @property
    def position(self) -> list[Any]:
        """Number of the file, and offset after the last whole line that was read."""
        return [self._inode, self._offset]

    def seek(self, position: list[Any] | None) -> None:
        """Go on from a position, if the file there is still the same."""
        if position is not None:
            self._inode, self._offset = position

    def acknowledge(self) -> None:
        """Do nothing: the position says it."""

    def batches(self, stop: Stop) -> Iterator[list[Message]]:
        """Return lines as they are written, for ever.

        Raises:
            InputError: the file cannot be read.
        """
        while not stop.requested:
            try:
                stream = self._path.open("rb", buffering=0)
            except FileNotFoundError as error:
                if self._to_its_end:
                    raise InputError(f"{self._path}: there is no such file") from error
                stop.wait(IDLE_S)
                yield []
                continue
            except OSError as error:
                raise InputError(f"{self._path}: cannot be read ({reason_of(error)})") from error
            with stream:
                yield from self._read(stream.fileno(), stop)
            if self._to_its_end:
                return

    def _read(self, descriptor: int, stop: Stop) -> Iterator[list[Message]]:
        """Return the lines of one file, until another one stands in its place."""
        found = os.fstat(descriptor)
        if self._inode != found.st_ino or found.st_size < self._offset:
            self._inode, self._offset = found.st_ino, 0
        lines, read, idle = _Lines(), self._offset, 0.0
        os.lseek(descriptor, read, os.SEEK_SET)
        while not stop.requested:
            content = os.read(descriptor, _READ_BYTES)
            if content:
                read += len(content)
                messages = lines.add(content)
                self._offset = read - len(lines.held)
                if messages:
                    yield messages
                continue
            if self._to_its_end:
                self._offset = read
                if lines.held:
                    yield lines.add(b"\n")
            if self._to_its_end or self._is_replaced(descriptor, read):
                return
            stop.wait(_POLL_S)
            idle += _POLL_S
            if idle >= IDLE_S:
                idle = 0.0
                yield []

    def _is_replaced(self, descriptor: int, read: int) -> bool:
        try:
            there = self._path.stat()
        except OSError:
            return False  # moved away: its successor comes
        return there.st_ino != os.fstat(descriptor).st_ino or there.st_size < read
