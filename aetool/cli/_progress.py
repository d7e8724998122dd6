"""Signs of life on stderr: the present step in a line that moves, and a line for each step that took a while.

Shown on a terminal only, and not with `--quiet`: elsewhere nothing is written. A thread draws, so the line moves
while a library works; a call that keeps Python's lock for long stops it, but its name stands there already.
"""

import io
import os
import threading
import time
from typing import IO, Self

import click
from rich.console import Console
from rich.text import Text

_STEPS = "aetool.steps"
_ERASE = "\r\x1b[2K"
_FRAMES, _ASCII_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
_SECONDS_A_FRAME = 0.1
_BRIEF = 0.2
"""Longest time of a step that leaves no line, in seconds."""
_SEEN = 1.0
"""Seconds after which the present step shows its time."""
_BAR = 20


class Steps:
    """Steps of one command; a new step ends the one before.

    Args:
        console: console on a terminal; None shows nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        """Show nothing yet."""
        self._console = console
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._text, self._stays = "", True
        self._share: float | None = None
        self._began = self._moved = time.monotonic()
        self._drawn = self._unfinished = False
        self._thread: threading.Thread | None = None

    def step(self, text: str, *, stays: bool = True) -> None:
        """Begin a step.

        Args:
            text: what is done, such as "comparing golden rows".
            stays: leave a line with its time on the terminal when it ends, unless it was brief.
        """
        if self._console is None:
            return
        with self._lock:
            if self._text and self._stays and time.monotonic() - self._began > _BRIEF:
                self._leave(self._text)
            self._begin(text)
            self._stays = stays

    def update(self, text: str, share: float | None = None) -> None:
        """Change the words of the present step.

        Args:
            text: the words.
            share: how much of the step is done, 0 to 1; it becomes a bar with the time left.
        """
        if self._console is None:
            return
        with self._lock:
            if not self._text:
                self._begin(text)
            if share is not None and self._share is None:
                self._moved = time.monotonic()
            self._text, self._share = text, share

    def done(self, text: str) -> None:
        """End the present step; `text` says what came of it, and stays."""
        if self._console is None:
            return
        with self._lock:
            self._leave(text)
            self._begin("")

    def above(self, stream: IO[str]) -> IO[str]:
        """Return a stream whose text goes above the line that moves, where `stream` is a terminal."""
        if self._console is None or not stream.isatty():
            return stream
        above: IO[str] = _Above(self, stream)  # type: ignore[assignment]  # what is written to a terminal
        return above

    def write(self, stream: IO[str], text: str) -> None:
        """Write `text` to the terminal `stream`, above the line that moves."""
        with self._lock:
            self._erase()
            stream.write(text)
            stream.flush()
            self._unfinished = not text.endswith("\n")

    def close(self) -> None:
        """Stop; the line that moves goes."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            self._erase()
            self._text = ""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        """Stop; the last step leaves its line, unless it failed."""
        if failed is None:
            self.step("")
        self.close()

    def _begin(self, text: str) -> None:
        self._text, self._share, self._began = text, None, time.monotonic()
        if not text or self._ended.is_set():
            return
        self._draw(0)
        if self._thread is None:
            self._thread = threading.Thread(target=self._move, name="aetool-steps", daemon=True)
            self._thread.start()

    def _move(self) -> None:
        turn = 0
        while not self._ended.wait(_SECONDS_A_FRAME):
            turn += 1
            with self._lock:
                if self._text and not self._unfinished:
                    self._draw(turn)

    def _draw(self, turn: int) -> None:
        assert self._console is not None
        frames = _ASCII_FRAMES if self._in_ascii else _FRAMES
        after = self._after()
        room = self._console.width - 4 - sum(len(part) for part, _ in after)
        text = Text(self._text, no_wrap=True)
        text.truncate(max(1, room), overflow="crop" if self._in_ascii else "ellipsis")
        self._print((frames[turn % len(frames)], "cyan"), " ", text, *after)
        self._drawn = True

    def _after(self) -> list[tuple[str, str]]:
        """Return what stands after the words: the time, or a bar with the time left."""
        taken = time.monotonic() - (self._began if self._share is None else self._moved)
        if self._share is None:
            return [(self._time(taken), "dim")] if taken > _SEEN else []
        full, rest = ("#", ".") if self._in_ascii else ("━", "─")
        share = min(1.0, max(0.0, self._share))
        filled = round(share * _BAR)
        left = f" {duration(taken * (1 - share) / share)} left" if share > 0 and taken > _SEEN else ""
        return [(f" {full * filled}", "cyan"), (rest * (_BAR - filled), "dim"), (left, "dim")]

    def _leave(self, text: str) -> None:
        self._erase()
        mark = "ok" if self._in_ascii else "✓"
        self._print((mark, "green"), f" {text}", (self._time(time.monotonic() - self._began), "dim"), end="\n")

    @property
    def _in_ascii(self) -> bool:
        return self._console is not None and self._console.options.ascii_only

    def _time(self, seconds: float) -> str:
        return f" {'-' if self._in_ascii else '·'} {duration(seconds)}"

    def _print(self, *parts: str | Text | tuple[str, str], end: str = "") -> None:
        assert self._console is not None
        self._console.file.write("\n" if self._unfinished else _ERASE)  # a library's text stays
        self._unfinished = False
        self._console.print(Text.assemble(*parts), end=end, soft_wrap=True)
        self._console.file.flush()

    def _erase(self) -> None:
        if self._drawn and self._console is not None:
            self._console.file.write(_ERASE)
            self._console.file.flush()
            self._drawn = False


class _Above(io.TextIOBase):
    """Stream to a terminal that has a moving line."""

    def __init__(self, steps: Steps, stream: IO[str]) -> None:
        self.steps, self.stream = steps, stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io has a plain attribute
        return str(getattr(self.stream, "encoding", "utf-8"))

    def write(self, text: str) -> int:
        self.steps.write(self.stream, text)
        return len(text)

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.stream.flush()


def are_shown(stream: IO[str]) -> bool:
    """Return whether `stream` is a terminal whose lines can be erased, in the first process of torchrun."""
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    return stream.isatty() and not dumb and os.environ.get("RANK", "0") == "0"


def steps() -> Steps:
    """Return the steps of the running command; outside of one they show nothing."""
    context = click.get_current_context(silent=True)
    found: Steps = Steps() if context is None else context.meta.get(_STEPS) or Steps()
    return found


def use(made: Steps) -> Steps:
    """Make `made` the steps of the running command."""
    click.get_current_context().meta[_STEPS] = made
    return made


def duration(seconds: float) -> str:
    """Return `0.4 s`, `12 s` or `2 min 05 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02} s"
