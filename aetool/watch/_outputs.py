"""Where alerts go: a stream of lines, a file, a webhook."""

import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

from aetool.errors import InputError, OutputError, reason_of

Record = tuple[int, str]
"""Sequence number and JSON text of an alert."""
MOST_WAITING = 10_000
"""Alerts that wait for a receiver that is away."""
_TIMEOUT_S = 10.0
_LONGEST_PAUSE_S = 60.0
_TAIL_BYTES = 1 << 20


class AlertOutput(Protocol):
    """A place for alerts. They come in order, and are done in order."""

    @property
    def name(self) -> str:
        """Name of the place, the same after a restart."""

    @property
    def delivered(self) -> int:
        """Sequence number of the last alert that is done, with all before it; 0 for none yet."""

    @property
    def held(self) -> int:
        """Sequence number of the last alert that the place itself holds from before; 0 if it cannot tell."""

    def send(self, records: Sequence[Record]) -> None:
        """Take alerts; they are done now or later."""

    def close(self, patience_s: float) -> None:
        """Wait for what is under way, but no longer than `patience_s`."""


class TextOutput:
    """Lines on a stream or at the end of a file."""

    def __init__(self, stream: IO[bytes], name: str, held: int = 0) -> None:
        """Write to a stream without a buffer."""
        self._stream, self.name, self.held, self.delivered = stream, name, held, 0

    @classmethod
    def at(cls, path: Path) -> "TextOutput":
        """Append to a file. Its last line tells which alerts it has; one that was cut short is taken away.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            stream = path.open("ab+", buffering=0)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL_BYTES))
            tail = stream.read()
            whole = tail[: tail.rfind(b"\n") + 1]
            stream.truncate(size - len(tail) + len(whole))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({reason_of(error)})") from error
        return cls(stream, f"file {path.name}", _sequence_in(whole))

    def send(self, records: Sequence[Record]) -> None:
        """Write a line for each."""
        text = "".join(f"{line}\n" for _, line in records).encode()
        try:
            while text:
                text = text[self._stream.write(text) :]
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be written ({reason_of(error)})") from error
        self.delivered = records[-1][0]

    def close(self, patience_s: float) -> None:
        """Do nothing: every line is written."""


def _sequence_in(lines: bytes) -> int:
    """Return the sequence number of the last line; 0 if it has none."""
    last = lines.rstrip().rpartition(b"\n")[2]
    _, found, rest = last.partition(b'{"sequence": ')
    digits = rest.partition(b",")[0]
    return int(digits) if found and digits.isdigit() and len(digits) < 19 else 0


class WebhookOutput:
    """An HTTP address that gets each alert as a JSON document (POST), again and again until it answers 2xx.

    A 4xx other than 408 and 429 says that it never will: the alert is dropped.
    """

    held = 0

    def __init__(self, url: str, dropped: Callable[[], None], tell: Callable[[str], None]) -> None:
        """Begin to send.

        Args:
            url: the address.
            dropped: called for each alert that is dropped.
            tell: takes notes for people.
        """
        if not url.startswith(("http://", "https://")):
            raise InputError(f"webhook: expected http://... or https://..., found {url[:60]!r}")
        self._url, self._dropped, self._tell = url, dropped, tell
        self.name, self.delivered = f"webhook {url}", 0
        self._waiting: deque[Record] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhook")
        self._thread.start()

    def send(self, records: Sequence[Record]) -> None:
        """Queue them; the oldest give way where too many wait."""
        with self._changed:
            self._waiting.extend(records)
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._dropped()
            self._changed.notify()

    def close(self, patience_s: float) -> None:
        """Wait for what is queued."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(patience_s)

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                record = self._waiting[0]
            why = self._post(record[1])
            if why and pause == 0.0:
                self._tell(f"{self.name}: {why}; trying again")
            with self._changed:
                if why is None and self._waiting and self._waiting[0] is record:
                    self._waiting.popleft()
                    self.delivered = record[0]
            pause = 0.0 if why is None else min(max(0.5, 2 * pause), _LONGEST_PAUSE_S)
            if pause:
                if self._closed:
                    return
                time.sleep(pause)

    def _post(self, text: str) -> str | None:
        """Send one; return why it did not arrive."""
        request = urllib.request.Request(
            self._url, text.encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                return None
        except urllib.error.HTTPError as error:
            if 400 <= error.code < 500 and error.code not in (408, 429):
                self._tell(f"{self.name}: refuses an alert ({error.code} {error.reason}); it is dropped")
                self._dropped()
                return None
            return f"{error.code} {error.reason}"
        except (OSError, ValueError) as error:
            return reason_of(error)
