"""What a person or a program sees: results on stdout, everything else on stderr."""

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aetool.errors import AetoolError

P = ParamSpec("P")
_JSON = "aetool.json"
_WIDTH_WITHOUT_TERMINAL = 120


class Result:
    """What a command has found: a document for programs, and how to show it to a person."""

    def __init__(self, document: Mapping[str, Any], show: Callable[[Console], None], exit_code: int = 0):
        self.document, self.show, self.exit_code = document, show, exit_code


def reports(command: Callable[P, Result]) -> Callable[P, int]:
    """Give a command `--json` and print the `Result` that it returns."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        as_json = bool(kwargs.pop("as_json"))
        click.get_current_context().meta[_JSON] = as_json
        if not as_json:
            result = command(*args, **kwargs)
            result.show(console())
            return result.exit_code
        with _nothing_on_stdout() as write:
            try:
                result = command(*args, **kwargs)
            except AetoolError as error:
                write(json.dumps({"error": str(error), "type": type(error).__name__}) + "\n")
                raise
            write(json.dumps(_plain(result.document), indent=2, allow_nan=False) + "\n")
        return result.exit_code

    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    return option(run)


def console(*, stderr: bool = False) -> Console:
    """A console for stdout, or stderr; colour on terminals, unless NO_COLOR is set."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def fail(error: AetoolError) -> None:
    """One line on stderr."""
    message = " ".join(str(error).split())
    console(stderr=True).print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)


def say(message: str) -> None:
    """A note for the person at the terminal, on stderr."""
    console(stderr=True).print(message, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Table:
    """A plain table; `right` are the columns set to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def facts(pairs: Sequence[tuple[str, str]]) -> Table:
    """Two columns, name and value."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, escape(value))
    return made


def _plain(value: Any) -> Any:
    """Strict JSON: NaN and infinity become text, numpy values become Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@contextlib.contextmanager
def _nothing_on_stdout() -> Iterator[Callable[[str], None]]:
    """Send stray prints, of Python and of C libraries, to stderr; gives a function that writes to stdout."""
    real = sys.stdout
    try:
        descriptor = real.fileno()
    except (AttributeError, OSError, ValueError):  # a test's stand-in: it has no descriptor to protect
        with contextlib.redirect_stdout(sys.stderr):
            yield lambda text: (real.write(text), real.flush())[1]
        return
    real.flush()
    saved = os.dup(descriptor)
    os.dup2(sys.stderr.fileno(), descriptor)

    def write(text: str) -> None:
        with os.fdopen(os.dup(saved), "w", encoding="utf-8") as stream:
            stream.write(text)

    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield write
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
