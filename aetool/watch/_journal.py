"""What survives a kill: a snapshot of the state, and a journal of the messages taken since."""

import contextlib
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aetool.bundle.atomic import publish_file
from aetool.errors import InputError, OutputError, reason_of

JOURNAL_BYTES = 8 << 20
"""Size of a journal above which the state is written anew."""
VERSION = 1


class Journal:
    """The state file `path`, and `path`.journal with what came after it.

    A message counts as taken once it is in the journal: then it may be acknowledged. After a kill the state is
    that of the file, and the entries of the journal are taken once more. Each state has a number, with which its
    journal begins: a journal of another state counts as empty.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        """Open the journal, for this process alone.

        Raises:
            OutputError: it cannot be written, or another process has it.
        """
        self.path, self._sync, self._number, self._size = path, sync, 0, 0
        self._kept = JOURNAL_BYTES
        try:
            self._file = Path(f"{path}.journal").open("ab+", buffering=0)  # noqa: SIM115 - for the life of the process
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{path}: another process is using this state; give each its own --state") from error
        except OSError as error:
            raise OutputError(f"{path}: cannot keep the state there ({reason_of(error)})") from error

    def load(self) -> Mapping[str, Any] | None:
        """Return the last state; None where there is none yet.

        Raises:
            InputError: the file is not a state.
        """
        try:
            content = json.loads(self.path.read_bytes())
            number, version = int(content["number"]), content["version"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}: not a state of aetool watch ({reason_of(error)}); give another --state"
            ) from error
        if version != VERSION:
            raise InputError(
                f"{self.path}: a state of version {version}, {VERSION} was expected; give another --state"
            )
        self._number = number
        found: Mapping[str, Any] = content
        return found

    def entries(self) -> Iterator[list[Any]]:
        """Return the entries since the state, without one that was cut short."""
        self._file.seek(0)
        with io.BufferedReader(io.FileIO(os.dup(self._file.fileno()))) as lines:
            for place, line in enumerate(lines):
                try:
                    entry = json.loads(line)
                except ValueError:
                    return
                if not line.endswith(b"\n") or (place == 0 and entry != ["state", self._number]):
                    return
                if place:
                    yield entry

    def append(self, entries: Sequence[Sequence[Any]]) -> None:
        """Write entries at once; with `sync`, until the disk has them.

        Raises:
            OutputError: they cannot be written.
        """
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()
        try:
            written = self._file.write(text)
            if written != len(text):
                raise OSError("the disk is full")
            if self._sync:
                os.fdatasync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self.path}.journal: cannot be written ({reason_of(error)})") from error
        self._size += len(text)

    @property
    def is_long(self) -> bool:
        """Whether it is time to write the state."""
        return self._size > self._kept

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state, whole or not at all, and begin the journal anew.

        Raises:
            OutputError: it cannot be written.
        """
        number = self._number + 1
        content = json.dumps({"version": VERSION, "number": number, **state}, ensure_ascii=False).encode()
        publish_file(self.path, content, overwrite=True)
        self._number, self._size = number, 0
        self._kept = max(JOURNAL_BYTES, 2 * len(content))  # a large state is written less often
        try:
            self._file.truncate(0)
        except OSError as error:
            raise OutputError(f"{self.path}.journal: cannot be written ({reason_of(error)})") from error
        self.append([["state", number]])

    def close(self) -> None:
        """Let another process have it."""
        with contextlib.suppress(OSError):
            self._file.close()
