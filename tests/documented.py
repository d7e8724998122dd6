"""Commands and Python in Markdown, run as a reader would run them: in order, in one directory a page."""

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import click
import click.testing
from click.testing import CliRunner

import aetool.bench.run
import aetool.quantize
from aetool.cli import main

ROOT = Path(__file__).parents[1]
HURRY = {"bench": {"run": {"seconds": 0.02, "offline_rows": 1024, "launches": 1, "batch": "1"}}}
"""Options that a page leaves out: how long is measured is not what it promises."""
QUICK = functools.partial(aetool.quantize.QuantizeOptions, rounds=1, seconds=0.01)
"""The same for `aetool quantize`, which has no such option."""

CEILING = functools.cache(functools.partial(aetool.bench.run.ceiling, threads=(1,), seconds=0.02))
"""And for what the machine can do at most, which `aetool bench` measures twice."""


def every_command(group=main, path=""):
    """Words after `aetool` -> the command, of all that are no groups."""
    found = {}
    for name, command in group.commands.items():
        words = f"{path}{name}"
        found |= every_command(command, f"{words} ") if isinstance(command, click.Group) else {words: command}
    return found


class Block(NamedTuple):
    language: str
    content: str


class Line(NamedTuple):
    """What follows a `$`, and what the page shows below it."""

    words: list[str]
    exit_code: int  # a comment says where it is another than 0: `# exit code 3: ...`
    output: list[str]


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = [Block(*block) for block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [block for block in found if language in (None, block.language)]


def lines(content: str) -> list[Line]:
    """The commands of a console block, each with the lines below it."""
    assert content.startswith("$ "), "a console block begins with a command"
    found = []
    for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
        command, *output = (line for line in part.splitlines() if line)
        code = re.search(r"# exit code (\d+)", command)
        found.append(Line(shlex.split(command, comments=True), int(code[1]) if code else 0, output))
    return found


def is_shown(promised: str, output: str) -> bool:
    """Whether some line of the output has the words of a line on a page, in their order.

    Numbers and signs are left out, for they differ from machine to machine; `...` stands for anything.
    """
    pattern = ".*".join(rf"(?<![A-Za-z]){word}(?![A-Za-z])" for word in re.findall(r"[A-Za-z]{2,}", promised))
    return any(re.search(pattern, line) for line in output.splitlines())


def clone(folder: Path) -> Path:
    """What a clone has beside the code."""
    for name in ("exported", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("_build"))
    return folder


class Reader:
    """Somebody who types what a page shows; needs a current directory of its own, and ends what runs behind it."""

    def __init__(self, background: contextlib.ExitStack) -> None:
        self.background = background
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])

    def types(self, line: Line) -> None:
        words = [word.replace("8000", self.port) for word in line.words]
        output = ""
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, env=_environment())
        elif words[0] in ("cp", "mv", "head"):
            output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        elif words[-1] == "&":
            self.background.enter_context(_in_background(words[1:-1]))
        else:
            assert words[0] == "aetool", words
            output = _on_a_terminal(words[1:], line.exit_code)
        for promised in line.output:
            assert is_shown(promised, output), f"{shlex.join(words)}\nshows no line as {promised!r}\n{output}"


def _on_a_terminal(words: list[str], exit_code: int) -> str:
    """What `aetool` prints, with a terminal as stdout."""
    terminal = mock.patch.object(
        click.testing._NamedTextIOWrapper, "isatty", lambda stream: stream.name == "<stdout>"
    )
    quick = mock.patch("aetool.quantize.QuantizeOptions", QUICK), mock.patch("aetool.bench.run.ceiling", CEILING)
    with terminal, quick[0], quick[1]:
        result = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "80"}).invoke(main, words, default_map=HURRY)
    assert result.exit_code == exit_code, f"{shlex.join(words)}\n{result.output}"
    return result.output


def run_python(code: str, page: str) -> None:
    """A block as a program of its own."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, page, "exec"), {"__name__": "__main__"})
    for promised in re.findall(r"^ *print\(.*\)  # ([(TF].*)$", code, re.MULTILINE):
        assert promised in printed.getvalue().splitlines(), (promised, printed.getvalue())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


@contextlib.contextmanager
def _in_background(arguments: list[str]) -> Iterator[None]:
    """A command that runs until it is told to stop, and then ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", *arguments], env=_environment(), stderr=subprocess.PIPE
    )
    yield
    process.terminate()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log.decode()
