"""`aetool init` and `aetool train --config`: one file of options, which cannot disagree with the options."""

import json
import re
import tomllib
from dataclasses import fields

import click
import click.testing
import pytest

from aetool.cli import main
from aetool.cli._config_file import config_option, options_of
from aetool.cli.commands.init import EXAMPLES, RULES, defaults
from aetool.cli.commands.train import train
from aetool.cli.main import CommandGroup
from aetool.model import AutoencoderConfig, TrainingConfig

QUICK = ("--label", "broken", "--drop", "id", "--epochs", "2", "-o", "checkpoint")


@pytest.fixture
def text(aetool, work):
    """What `aetool init` writes."""
    assert aetool("init").exit_code == 0
    return (work / "aetool.toml").read_text(encoding="utf-8")


def test_the_file_is_all_comments_and_has_every_option_once(text):
    assert tomllib.loads(text) == {}
    assert re.findall(r"^# (\w+) = ", text, re.MULTILINE) == list(options_of(train))
    assert all(f"# {(option.help or '').partition('  [')[0]}" in text for option in options_of(train).values())


def test_what_is_left_out_by_default_tells_the_rule_that_holds_then(text):
    rules = dict(re.findall(r"^# (\w+) = .*  # an example; by default: (.*)$", text, re.MULTILINE))
    assert rules == RULES and set(rules) <= set(EXAMPLES)
    undecided = {entry.name for entry in fields(TrainingConfig) if entry.default is None} - {"impute"}
    assert set(rules) == undecided | {"hidden_dims", "embedding_dim"}
    assert rules["hidden_dims"] == "none" and AutoencoderConfig.for_width(9).hidden_dims == ()
    for width, expected in ((8, 4 * 8), (40, 128), (1000, 1000 // 2)):
        assert AutoencoderConfig.for_width(width).embedding_dim == expected
    assert rules["embedding_dim"].startswith("half the columns, at least 128, at most 4 times the columns")
    assert TrainingConfig().epochs_for(10_000) == 15 and TrainingConfig().epochs_for(10**6) == 10
    assert rules["epochs"] == "enough for 600 steps of batch_size rows, at least 10"
    assert [TrainingConfig().held_out_of(rows) for rows in (200, 600, 5000)] == [50, 100, 500]
    assert rules["validation_fraction"] == "a tenth of the rows; below 1,000 rows a quarter, at most 100 rows"


def test_every_option_has_a_default_or_an_example_and_never_both():
    assert set(options_of(train)) == set(defaults()) - {"n_features"} | set(EXAMPLES)
    assert not set(defaults()) & set(EXAMPLES)


def test_the_defaults_are_those_of_training(text):
    shown = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    for config in (AutoencoderConfig, TrainingConfig):
        for entry in fields(config):
            if entry.name in shown and entry.name not in EXAMPLES:
                assert shown[entry.name] == entry.default


@pytest.mark.parametrize("name", options_of(train))
def test_every_line_is_taken_without_its_comment_sign(text, work, name):
    (work / "one.toml").write_text(re.sub(rf"^# ({name} = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert list(tomllib.loads((work / "one.toml").read_text())) == [name]
    context = train.make_context("train", ["x.csv", "--config", "one.toml"], **main.context_settings)
    assert context.params[name] not in (None, ())
    assert context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP


def test_training_uses_the_file_and_the_command_line_wins(aetool, made, work):
    (work / "mine.toml").write_text(
        'label = "broken"\ndrop = ["id", "colour, left"]\nepochs = 7\nseed = 5\nhidden_dims = [6, 5]\n'
        'embedding_dim = 3\nlearning_rate = 1\noutput = "there"\n',
        encoding="utf-8",
    )
    result = aetool("train", made / "train.csv", "--config", "mine.toml", "--epochs", "2", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["checkpoint"] == "there" and document["epochs"] == 2
    assert document["architecture"]["hidden_dims"] == [6, 5]
    assert "colour, left" not in document["features"]


def test_every_yes_or_no_of_the_file_can_be_taken_back_on_the_command_line(work):
    flags = {name: option for name, option in options_of(train).items() if option.is_flag}
    assert "batch_norm" in flags
    for name, option in flags.items():
        (work / "on.toml").write_text(f"{name} = true", encoding="utf-8")
        given = ["x.csv", "--config", "on.toml"]
        assert train.make_context("train", list(given)).params[name] is True
        assert train.make_context("train", [*given, option.secondary_opts[0]]).params[name] is False


def test_a_file_of_comments_changes_nothing(aetool, made, text, work):
    command = ("train", made / "train.csv", *QUICK, "--overwrite", "--json")
    assert aetool(*command).stdout == aetool(*command, "--config", "aetool.toml").stdout


WRONG = {
    "epoch = 3": "unknown key 'epoch' (nearest: 'epochs')",
    "resume = 'x'": "unknown key 'resume'",
    "epochs = 3.5": "epochs must be an integer, found 3.5",
    "epochs = true": "epochs must be an integer, found True",
    "dropout = '0.5'": "dropout must be a number",
    "activation = 'relo'": "activation must be one of leaky_relu",
    "drop = 'id'": "drop must be a list of texts",
    "hidden_dims = [1.5]": "hidden_dims must be a list of integers",
    "batch_norm = 1": "batch_norm must be true or false",
    "label = 1": "label must be a text",
    "epochs = ": "not valid TOML",
}


HOSTILE = {
    "nested lists": ("drop = " + "[" * 50_000, "not valid TOML: nested too deeply"),
    "nested tables": ("a = " + "{a = " * 50_000, "not valid TOML"),
    "a key of many parts": ("a" + ".a" * 400_000 + " = 1", "unknown key 'a"),
    "a table of many parts": ("[a" + ' . "a"' * 90_000 + "]", "unknown key 'a"),
    "a key of many parts inside": ("drop = {" + "a." * 400_000 + "a = 1}", "unknown key 'a"),
    "a long word": ("a" * 1_000_000 + " = 1", "unknown key 'a"),
    "larger than any": ("# " + "x" * (1 << 20), "larger than 1024 KiB"),
    "no text": (b"\xff\xfe\x00", "not valid TOML"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_made_to_break_the_reader_is_one_line(aetool, made, work, content, told):
    (work / "bad.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = aetool("train", made / "train.csv", *QUICK, "--config", "bad.toml")
    assert result.exit_code == 2 and f"bad.toml: {told}" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_in_the_file_is_named(aetool, made, work, line):
    (work / "bad.toml").write_text(line, encoding="utf-8")
    result = aetool("train", made / "train.csv", *QUICK, "--config", "bad.toml")
    assert result.exit_code == 2 and f"bad.toml: {WRONG[line]}" in result.stderr
    assert not (work / "checkpoint").exists()


def test_a_file_that_is_not_there_is_told_the_nearest(aetool, made, text):
    result = aetool("train", made / "train.csv", *QUICK, "--config", "aetol.toml")
    assert result.exit_code == 2 and "no such file (nearest: 'aetool.toml')" in result.stderr


def test_a_command_in_a_group_takes_a_file_too(work):
    seen = []

    @click.command()
    @config_option
    @click.option("--seed", type=int)
    def inner(seed):
        seen.append(seed)

    outer = CommandGroup("outer", default="inner")
    outer.add_section("Commands", inner)
    (work / "mine.toml").write_text("seed = 5")
    for words in (["inner", "--config", "mine.toml"], ["--config", "mine.toml"]):
        assert click.testing.CliRunner().invoke(outer, words).exit_code == 0
    (work / "mine.toml").write_text("[inner]\nseed = 5")
    told = click.testing.CliRunner().invoke(outer, ["inner", "--config", "mine.toml"])
    assert seen == [5, 5] and told.exit_code == 2 and "unknown key 'inner'" in told.output


def test_init_replaces_nothing_unasked(aetool, fails, text):
    assert "--overwrite" in fails("init")
    assert aetool("init", "--overwrite").exit_code == 0
