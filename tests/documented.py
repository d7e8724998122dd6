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
from click.testing import CliRunner

import aetool.quantize
from aetool.cli import main

ROOT = Path(__file__).parents[1]
HURRY = {"bench": {"run": {"seconds": 0.02, "offline_rows": 1024, "launches": 1}}}
"""Options that a page leaves out: how long is measured is not what it promises."""
QUICK = functools.partial(aetool.quantize.QuantizeOptions, rounds=1, seconds=0.01)
"""The same for `aetool quantize`, which has no such option."""


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
    """What follows a `$`."""

    words: list[str]
    exit_code: int  # a comment says where it is another than 0: `# exit code 3: ...`


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = [Block(*block) for block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [block for block in found if language in (None, block.language)]


def lines(content: str) -> list[Line]:
    """The commands of a console block, which holds nothing else."""
    written = [line for line in content.splitlines() if line]
    assert all(line.startswith("$ ") for line in written), "a console block holds commands only"
    codes = [re.search(r"# exit code (\d+)", line) for line in written]
    return [
        Line(shlex.split(line[2:], comments=True), int(code[1]) if code else 0)
        for line, code in zip(written, codes, strict=True)
    ]


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
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True, env=_environment())
        elif words[0] == "cp":
            subprocess.run(words, check=True)
        elif words[-1] == "&":
            self.background.enter_context(_in_background(words[1:-1]))
        else:
            assert words[0] == "aetool", words
            with mock.patch("aetool.quantize.QuantizeOptions", QUICK):
                result = CliRunner().invoke(main, words[1:], default_map=HURRY)
            assert result.exit_code == line.exit_code, f"{shlex.join(words)}\n{result.output}"


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
