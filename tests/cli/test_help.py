"""Help texts, their examples, the reference made of them, and what mistyped words are told."""

import json
import re
import runpy
import shlex
import typing
from pathlib import Path

import click
import pytest

from aetool.cli import main
from aetool.cli.commands.quantize import CALIBRATIONS, PRECISIONS
from aetool.cli.commands.train import ACTIVATIONS, DROPOUT_ON
from aetool.cli.options import SCORES
from aetool.model import network
from aetool.model.foreign import scored_module
from aetool.quantize import Calibration, Precision

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "init",
    "train",
    "export",
    "adopt",
    "verify",
    "encode",
    "reconstruct",
    "score",
    "evaluate",
    "quantize",
    "tune",
    "serve",
    "segment",
    "drift",
    "bench",
    "bench compare",
    "bench serve",
    "report",
    "keygen",
    "sign",
    "deploy",
    "info",
    "doctor",
    "demo",
)


def examples(name):
    """The command lines below "Example:" in a help text."""
    text = main.commands[name].help or ""
    return re.findall(r"^ +(aetool .+)$", text, re.MULTILINE)


def parses(line):
    """Whether the parser takes a command line: command, options and number of arguments."""
    program, *words = shlex.split(line)
    assert program == "aetool"
    with click.Context(main) as context:
        name, command, arguments = main.resolve_command(context, words)
    with click.Context(main, info_name="aetool", **main.context_settings) as parent:
        command.make_context(name, arguments, parent=parent)


def test_the_commands_are_these():
    assert tuple(main.commands) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_parses(name, work):
    (work / "aetool.toml").touch()  # of --config, which is read at once
    assert examples(name)
    for line in examples(name):
        assert f"{line} ".startswith(f"aetool {name} ")
        parses(line)


def test_the_example_check_finds_a_wrong_option():
    with pytest.raises(click.UsageError):
        parses("aetool score bundle data.csv --keeep id")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_every_option_a_help(name):
    options = [param for param in main.commands[name].params if isinstance(param, click.Option)]
    assert "--json" in [name for option in options for name in option.opts]
    assert all(option.help for option in options)


def test_no_summary_is_cut_short_at_80_columns(aetool):
    assert "..." not in aetool("--help").stdout.split("Commands:")[1]


def test_the_reference_in_docs_is_what_the_commands_say():
    made = runpy.run_path(str(ROOT / "docs" / "cli.py"))["reference"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == made, "run: python docs/cli.py"


def test_what_the_dockerfile_starts_parses():
    text = (ROOT / "examples" / "serve" / "Dockerfile").read_text(encoding="utf-8")
    _, *words = json.loads(re.search(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)[1])
    assert words[0] == "serve"
    parses(shlex.join(["aetool", *words, "/models/machines"]))


def test_the_table_of_onnxruntime_releases_is_what_the_code_says():
    made = runpy.run_path(str(ROOT / "docs" / "compatibility.py"))["page"]()
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert page == made, "run: python docs/compatibility.py"


def test_choices_are_those_of_the_model():
    assert typing.get_args(network.Activation) == ACTIVATIONS
    assert typing.get_args(network.DropoutOn) == DROPOUT_ON
    assert typing.get_args(scored_module.Score) == SCORES
    assert typing.get_args(Precision) == PRECISIONS
    assert typing.get_args(Calibration) == CALIBRATIONS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("scor",), "score"),
        (("train", "x.csv", "--lable", "y"), "--label"),
        (("train", "x", "--impute", "mena"), "mean"),
    ],
)
def test_a_mistyped_word_is_told_the_nearest(aetool, typed, meant):
    result = aetool(*typed)
    assert result.exit_code == 2 and meant in result.stderr
