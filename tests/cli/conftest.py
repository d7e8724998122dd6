"""One trained checkpoint and one bundle for all tests of the command line, and two ways to run it."""

import os
import subprocess
import sys
from pathlib import Path

import click.testing
import numpy as np
import pytest

import aetool.deploy._child  # before the fixture below replaces run_apart: deploying needs the real one
import aetool.release  # and so do releases
from aetool.checks.first_run import Ended
from aetool.cli import main

FEATURES = ("größe", "weight", "colour, left", "heat")
HEADER = 'id,größe,weight,"colour, left",heat,broken\n'


def machines(rows, broken=0, seed=0):
    """Lines of CSV: rows of related columns, the last `broken` of them unrelated, without the header."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(rows, 2))
    values = hidden @ random.normal(size=(2, 4)) + 0.1 * random.normal(size=(rows, 4))
    values[rows - broken :] = random.normal(size=(broken, 4)) * 5
    return [
        f"m{i:04},{','.join(f'{value:.6f}' for value in row)},{int(i >= rows - broken)}\n"
        for i, row in enumerate(values)
    ]


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A directory with train.csv, new.csv, a checkpoint and a bundle: nobody writes into it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "train.csv").write_text(HEADER + "".join(machines(300, 30)), encoding="utf-8")
    (folder / "new.csv").write_text(HEADER + "".join(machines(40, 10, seed=0)), encoding="utf-8")
    run = click.testing.CliRunner().invoke
    data, checkpoint, bundle = (str(folder / name) for name in ("train.csv", "checkpoint", "bundle"))
    options = ["--label", "broken", "--drop", "id", "--epochs", "20"]
    trained = run(main, ["train", data, *options, "-o", checkpoint])
    assert trained.exit_code == 0, trained.output
    exported = run(main, ["export", checkpoint, "-o", bundle, "--contamination", "0.1"])
    assert exported.exit_code == 0, exported.output
    return folder


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch):
    """No first run in a child process, which costs half a second a command, unless a test is marked `apart`."""
    if request.node.get_closest_marker("apart") is None:
        monkeypatch.setattr("aetool.checks.first_run.run_apart", lambda *_, **__: Ended(None, 0, "", ""))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def aetool():
    """Run the command line inside this process; gives click's result."""

    def run(*arguments):
        return click.testing.CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def process():
    """Run `python -m aetool` as a process of its own, or with `code` before; gives the finished process."""

    def run(*arguments, code="", cwd=None, **variables):
        start = (
            ["-c", f"{code}\nfrom aetool.cli import main\nmain(prog_name='aetool')"] if code else ["-m", "aetool"]
        )
        return subprocess.run(
            [sys.executable, *start, *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            cwd=cwd,
            env={**environment(), **variables},
            timeout=120,
            check=False,
        )

    return run


def environment():
    """This environment, without what changes how text is shown."""
    changes = (
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "TERM",
        "PYTHONIOENCODING",
        "PYTHONUNBUFFERED",
        "_AETOOL_COMPLETE",
    )
    here = str(Path(__file__).parents[2])
    kept = {name: value for name, value in os.environ.items() if name not in changes}
    return {**kept, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join([here, kept.get("PYTHONPATH", "")])}


@pytest.fixture(name="environment")
def _environment():
    return environment()


def single_line(text):
    """The one line of an error, and nothing else."""
    assert text.startswith("Error: ") and text.count("\n") == 1 and text.endswith("\n"), text
    return text


@pytest.fixture
def fails(aetool):
    """Run, expect exit code 1 and one line on stderr; gives the line."""

    def run(*arguments, code=1):
        result = aetool(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        return single_line(result.stderr)

    return run
