"""Help texts, their examples, the reference made of them, and what mistyped words are told."""

import json
import re
import runpy
import shlex
from pathlib import Path
from unittest import mock

import click
import pytest
from documented import every_command

from aetool import choices
from aetool.cli import main
from aetool.model import network
from aetool.model.foreign import scored_module
from aetool.quantize import _calibration as calibration

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "Make": ("demo", "init", "train", "export", "adopt"),
    "Check": ("verify", "evaluate", "compression", "drift", "info", "doctor"),
    "Use": ("encode", "reconstruct", "score", "segment", "serve", "watch"),
    "Decide": ("calibrate", "compare", "feedback"),
    "Faster": ("quantize", "tune", "bench"),
    "Ship": ("deploy", "report", "keygen", "sign"),
    "Operate": ("release", "agent"),
}
GROUPS = {
    "segment": ("learn", "show", "name", "assign"),
    "bench": ("run", "compare", "serve"),
    "release": ("push", "renew", "list"),
    "agent": ("run", "status", "report"),
}
EVERY = every_command() | {name: main.commands[name] for name in GROUPS}


def examples(name):
    """The command lines below "Example:" in a help text."""
    text = EVERY[name].help or ""
    return re.findall(r"^ +(aetool .+)$", text, re.MULTILINE)


def parses(line):
    """Parse a command line: command, options and number of arguments."""
    program, *words = shlex.split(line)
    assert program == "aetool"
    with mock.patch.object(click.Command, "invoke"), main.make_context("aetool", words) as context:
        main.invoke(context)


def test_the_commands_are_these():
    assert {
        heading: tuple(command.name for command in inner) for heading, inner in main.sections.items()
    } == COMMANDS
    assert {name: tuple(main.commands[name].commands) for name in GROUPS} == GROUPS
    assert list(EVERY)[:3] == ["demo", "init", "train"] and "segment learn" in EVERY


@pytest.mark.parametrize("name", EVERY)
def test_every_help_has_an_example_that_parses(name, work):
    (work / "aetool.toml").touch()  # of --config, which is read at once
    assert examples(name)
    for line in examples(name):
        assert f"{line} ".startswith(f"aetool {name} ")
        parses(line)


def test_the_example_check_finds_a_wrong_option():
    with pytest.raises(click.UsageError):
        parses("aetool score bundle data.csv --keeep id")


@pytest.mark.parametrize("name", every_command())
def test_every_command_has_json_and_every_option_a_help(name):
    options = [param for param in EVERY[name].params if isinstance(param, click.Option)]
    assert "--json" in [name for option in options for name in option.opts]
    assert all(option.help for option in options)


@pytest.mark.parametrize("words", [(), ("segment",), ("bench",), ("release",), ("agent",)])
def test_no_summary_is_cut_short_at_80_columns(aetool, words):
    listed = re.split("Make:|Commands:", aetool(*words, "--help").stdout)[1]
    assert "..." not in listed and max(map(len, listed.splitlines())) <= 80


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
    assert tuple(network._ACTIVATIONS) == choices.ACTIVATIONS
    assert tuple(scored_module.DEFINITIONS) == choices.SCORES
    assert tuple(calibration.METHODS) == choices.CALIBRATIONS


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
