"""README.md is true: what it shows runs, in order, beside copies of exported/ and examples/."""

import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from aetool.cli import main

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands():
    """Lines after a `$` in the console blocks, without comments."""
    lines = [line for block in blocks("console") for line in block.splitlines() if line]
    assert all(line.startswith("$ ") for line in lines), "a console block holds commands only"
    return [shlex.split(line[2:], comments=True) for line in lines]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone has beside the code: exported/ and examples/."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("exported", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@contextlib.contextmanager
def in_background(arguments):
    """A command that runs until it is told to stop, and then ends well."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-m", "aetool", *arguments], env=environment, stderr=subprocess.PIPE
    )
    yield
    process.terminate()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log.decode()


def test_every_aetool_command_runs_in_order(clone, monkeypatch):
    monkeypatch.chdir(clone)
    ran = [words for words in commands() if words[0] == "aetool"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with contextlib.ExitStack() as background:
        for line in ran:
            words = [word.replace("8000", port) for word in line]
            if words[-1] == "&":
                background.enter_context(in_background(words[1:-1]))
                continue
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"
    names = {" ".join(words[1:3]) if " ".join(words[1:3]) in main.commands else words[1] for words in ran}
    assert names == set(main.commands) - {"demo"}  # demo is what `make demo` runs


@pytest.mark.parametrize("code", blocks("python"))
def test_every_block_of_python_runs(code, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    for path in clone.glob("exported/from-python"):
        shutil.rmtree(path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    for promised in re.findall(r"^print\(.*\)  # (\(.*\))$", code, re.MULTILINE):
        assert promised in printed


def test_the_other_commands_are_targets_of_the_makefile_and_its_environment():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    others = [words for words in commands() if words[0] != "aetool"]
    assert ["make", "demo"] in others and ["make", "test"] in others
    for words in others:
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
        else:
            assert words == ["source", ".venv/bin/activate"] and "VENV := .venv\n" in makefile


def test_every_pip_install_names_extras_that_exist_and_one_onnxruntime_at_most():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = re.findall(r"pip install \"\.\[([a-z,]+)\]\"|`\[([a-z,]+)\]`", TEXT)
    assert len(lists) >= 5
    for found in lists:
        extras = "".join(found).split(",")
        assert set(extras) <= set(project["optional-dependencies"])
        assert len({"cpu", "gpu", "cuda"} & set(extras)) <= 1


def test_every_link_into_the_repository_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_every_command_that_prose_names_exists():
    named = set(re.findall(r"`aetool ([a-z]+)", TEXT))
    assert named <= set(main.commands)
