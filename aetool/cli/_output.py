"""Output: results on stdout, everything else on stderr."""

import contextlib
import ctypes
import functools
import io
import json
import math
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, ParamSpec

import click
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from aetool.cli._progress import Steps, are_shown, use

P = ParamSpec("P")
JSON_OPTION, QUIET_OPTION = "--json", "--quiet"
_RESULTS = "aetool.results"
_JOINERS = "\u200c\u200d"
"""Zero-width joiners, which some scripts need."""
COMMAND = "bold cyan"
"""Style of commands to copy."""
_NEXT = "next"
_UNLIMITED = 100_000  # columns, where nobody looks at a terminal: a pipe gets whole lines


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a command, as a JSON document and for people."""

    document: Mapping[str, Any]  # for programs
    show: Callable[[Console], None]  # for a person
    exit_code: int = 0


def reports(command: Callable[P, Result]) -> Callable[P, int]:
    """Give a command `--json` and `--quiet`, show its progress, and print the `Result` that it returns."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        as_json, quiet = bool(kwargs.pop("as_json")), bool(kwargs.pop("quiet"))
        with _signs_of_life(quiet) as steps, _stray_prints_to_stderr() as stdout:
            click.get_current_context().meta[_RESULTS] = sys.stderr if as_json else steps.above(stdout)
            result = command(*args, **kwargs)
        if as_json:
            print_json(result.document)
        else:
            result.show(console())
        return result.exit_code

    quiet_option = click.option("-q", QUIET_OPTION, is_flag=True, help="Show no progress.")
    return quiet_option(click.option(JSON_OPTION, "as_json", is_flag=True, help="Print one JSON document.")(run))


def results() -> Console:
    """Return the console for intermediate results: stdout, with --json stderr."""
    return console(click.get_current_context().meta[_RESULTS])


def lines_to() -> IO[bytes]:
    """Return an unbuffered stream for lines that the running command writes: stdout, with --json stderr."""
    stream = click.get_current_context().meta[_RESULTS]
    stream.flush()
    try:
        return os.fdopen(os.dup(stream.fileno()), "wb", buffering=0)
    except (AttributeError, OSError, ValueError):  # a test's stand-in
        found: IO[bytes] = stream.buffer
        return found


def is_on_terminal() -> bool:
    """Return whether the results of the running command are shown on a terminal, where --json is not asked for."""
    stream = click.get_current_context().meta[_RESULTS]
    return stream is not sys.stderr and bool(stream.isatty())


def console(stream: IO[str] | None = None) -> Console:
    """Return a console on `stream`, stdout by default: colour on terminals only, and not where NO_COLOR is set."""
    stream = stream or sys.stdout
    if not stream.isatty():
        plain: Any = _Plain(stream)
        return _Safe(file=plain, width=_UNLIMITED, color_system=None, highlight=False, markup=False, emoji=False)
    color: Any = None if os.environ.get("NO_COLOR") else "auto"
    return _Safe(file=stream, color_system=color, highlight=False, markup=False, emoji=False)


def fail(message: str, remedy: str = "") -> None:
    """Print an error on stderr: one line, one more for its remedy or for each problem where it lists several.

    A terminal has the remedy that ends a message in a line of its own.
    """
    out = console(sys.stderr)
    first, *rest = (" ".join(line.split()) for line in message.splitlines() or [""])
    if remedy:
        rest.append(remedy)
    elif out.is_terminal and not rest:
        first, *rest = _parted(first)
    lines = Text(_wrapped(f"Error: {first}", out))
    lines.stylize("bold red", 0, len("Error:"))
    out.print(lines, soft_wrap=True)
    for line in rest:
        out.print(_wrapped(line, out), soft_wrap=True)


def _wrapped(text: str, out: Console) -> str:
    """Break a terminal's lines between words; a longer path goes beyond its line, to be copied whole."""
    if not out.is_terminal:
        return text
    return textwrap.fill(visible(text), out.width, break_long_words=False, break_on_hyphens=False)


def _parted(message: str) -> list[str]:
    """Return what is wrong, and what to do: the part after the last semicolon, outside of brackets."""
    wrong, semicolon, remedy = message.rpartition("; ")
    if not semicolon or any(remedy.count(left) < remedy.count(right) for left, right in ("()", "[]", "{}")):
        return [message]
    return [wrong, remedy if remedy.startswith(("aetool", "--")) else remedy[:1].upper() + remedy[1:]]


def say(message: str) -> None:
    """Print a note on stderr."""
    out = console(sys.stderr)
    out.print("\n".join(_wrapped(line, out) for line in message.splitlines()), soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document on stdout, strict JSON: NaN and infinity are the texts "NaN", "Infinity", "-Infinity"."""
    click.echo(json.dumps(_plain(document), indent=2, allow_nan=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, right: Sequence[str] = ()) -> Table:
    """Return a table without lines; columns in `right` are right-aligned."""
    made = Table(box=None, pad_edge=False, show_header=any(columns), header_style="dim", padding=(0, 1, 0, 0))
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(visible(cell, lines=False) if isinstance(cell, str) else cell for cell in row))
    return made


def facts(pairs: Sequence[tuple[str, str]], width: int = 0) -> Table:
    """Return a table of two columns, name and value; the first is `width` wide at least."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True, min_width=width)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(visible(name, lines=False), visible(value, lines=False))
    return made


def show_facts(out: Console, pairs: Sequence[tuple[str, str]], following: str) -> None:
    """Print facts and the command to run next, whose line is left whole, to be copied."""
    width = max(len(name) for name, _ in (*pairs, (_NEXT, "")))
    out.print(facts(pairs, width))
    command = visible(following, lines=False)
    out.print(Text.assemble((f"{_NEXT:{width}}  ", "dim"), (command, COMMAND)), soft_wrap=True)


def commands(pairs: Sequence[tuple[str, str]]) -> Table:
    """Return a table of commands to copy, and what each is for."""
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    made.add_column(style=COMMAND, overflow="fold")
    made.add_column(style="dim", overflow="fold")
    for command, purpose in pairs:
        made.add_row(visible(command, lines=False), visible(purpose, lines=False))
    return made


def visible(text: str, *, lines: bool = True) -> str:
    """Escape text that would steer a terminal or hide in it: it may come from an untrusted file.

    Control characters, and those that turn the direction of writing or take no place, become `\\x1b` and the like.

    Args:
        text: any text.
        lines: leave the ends of lines as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if _is_hidden(char) and not (lines and char == "\n") else char
        for char in text
    )


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in _JOINERS


class _Safe(Console):
    """Stream to a terminal that passes all but our own styling through `visible`."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):  # `Text`, which was made before
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def times_as_fast(speed: float) -> str:
    """Return a ratio of speeds as `1.5x faster` or `1.5x slower`."""
    ratio = max(speed, 1 / speed)
    text = f"{ratio:.2f}x" if ratio < 1.095 else f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:,.0f}x"
    return "as fast" if text == "1.00x" else f"{text} {'faster' if speed > 1 else 'slower'}"


def file_sizes(sizes: Mapping[str, int]) -> str:
    """Return `encoder.onnx 15.8 KiB, ...`"""
    return ", ".join(f"{name} {size / 1024:.1f} KiB" for name, size in sizes.items())


def _plain(value: Any) -> Any:
    """Convert values to JSON's types: numpy values to Python's; dates, bytes and others to text."""
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        value = value.astype(str)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class _Plain(io.TextIOBase):
    """Stream for files and pipes: no spaces at the ends of lines."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(re.sub(" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


@contextlib.contextmanager
def _signs_of_life(quiet: bool) -> Iterator[Steps]:
    """Show the steps of the running command, where stderr is a terminal; all other text on it goes above them."""
    real = sys.stderr
    if quiet or not are_shown(real):
        yield use(Steps())
        return
    with use(Steps(console(real))) as steps, contextlib.redirect_stderr(steps.above(real)):
        steps.step("starting", stays=False)
        yield steps


@contextlib.contextmanager
def _stray_prints_to_stderr() -> Iterator[IO[str]]:
    """Redirect prints of libraries on stdout, in Python or in C, to stderr; yield the real stdout."""
    real = sys.stdout
    real.flush()
    try:
        descriptor = real.fileno()
    except (AttributeError, OSError, ValueError):  # a test's stand-in: it has no descriptor to protect
        with contextlib.redirect_stdout(sys.stderr):
            yield real
        return
    saved = os.dup(descriptor)
    try:
        os.dup2(sys.stderr.fileno(), descriptor)
        with (
            contextlib.redirect_stdout(sys.stderr),
            os.fdopen(os.dup(saved), "w", encoding=real.encoding, errors=real.errors) as stream,
        ):
            yield stream
    finally:
        real.flush()
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # C's own buffer, before its text could reach the real stdout
        os.dup2(saved, descriptor)
        os.close(saved)
