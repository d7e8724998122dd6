"""`--limit`: what a command refuses to read names the option that helps, and the option helps."""

import gzip
import re
import shutil
from pathlib import Path

import click
import click.testing
import pytest
from documented import every_command

from aetool import Limits
from aetool.cli._options import TABLE, Duration, limit, limits_in_force

READING = {
    "train": lambda at: [
        "train",
        at / "new.csv",
        "--label",
        "broken",
        "--drop",
        "id",
        "-o",
        "made",
        "--epochs",
        "1",
    ],
    "score": lambda at: ["score", at / "bundle", at / "new.csv"],
    "encode, streamed": lambda at: ["encode", at / "bundle", at / "new.csv", "-o", "streamed"],
    "score, the top of several": lambda at: [
        "score",
        at / "bundle",
        at / "new.csv",
        at / "train.csv",
        "--top",
        "3",
    ],
    "evaluate": lambda at: ["evaluate", at / "bundle", at / "new.csv", "--label", "broken"],
    "evaluate a checkpoint": lambda at: ["evaluate", at / "checkpoint", at / "new.csv", "--label", "broken"],
    "drift": lambda at: ["drift", at / "bundle", "--data", at / "new.csv"],
    "verify": lambda at: ["verify", at / "bundle", "--data", at / "new.csv"],
    "report": lambda at: ["report", at / "bundle", "--data", at / "new.csv", "-o", "page.html"],
    "adopt": lambda at: [
        "adopt",
        at / "bundle" / "autoencoder.onnx",
        "--data",
        at / "new.csv",
        "--drop",
        "id,broken",
    ],
    "quantize": lambda at: ["quantize", at / "bundle", "--precision", "fp16", "--data", at / "new.csv"],
    "bench": lambda at: ["bench", "run", at / "bundle", "--data", at / "new.csv"],
    "tune": lambda at: ["tune", at / "bundle", "--for", "latency", "--data", at / "new.csv", "--dry-run"],
    "segment learn": lambda at: ["segment", "learn", at / "bundle", at / "new.csv"],
    "segment assign": lambda at: ["segment", "assign", at / "bundle", at / "new.csv"],
    "compression": lambda at: ["compression", at / "bundle", at / "new.csv", "--label", "broken"],
}
LONG = ("quantize", "bench", "tune", "segment learn", "segment assign", "adopt")
"""Not run to their end here: slow, or of a bundle with segments."""


@pytest.mark.parametrize("command", READING)
def test_every_command_that_reads_a_table_takes_the_limit_that_its_error_names(fails, aetool, made, work, command):
    arguments = READING[command](made)
    message = fails(*arguments, "--limit", "columns=5")
    assert "new.csv: 6 columns" in message and "more than 5 allowed" in message
    option = re.search(r"--limit (\w+)=NUMBER", message)[1]
    if command not in LONG:
        shutil.rmtree("streamed", ignore_errors=True)
        result = aetool(*arguments, "--limit", f"{option}=6")
        assert result.exit_code in (0, 3), result.output  # 3: drift


def test_every_command_with_a_table_among_its_inputs_has_the_option():
    having = [
        name.split() for name, command in every_command().items() if any(p.name == "limit" for p in command.params)
    ]
    for arguments in READING.values():
        words = arguments(Path())
        assert any(words[: len(name)] == name for name in having), words


def test_limits_of_a_bundle_are_those_of_the_command(fails, aetool, made, work):
    for command in (
        ["score", made / "bundle", made / "new.csv"],
        ["info", made / "bundle"],
        ["verify", made / "bundle"],
    ):
        message = fails(*command, "--limit", "manifest_bytes=100")
        assert "manifest.json" in message and "manifest_bytes" in message
        assert aetool(*command, "--limit", "manifest_bytes=8MiB").exit_code == 0


LINKED = {
    "verify": lambda at: ["verify", "linked"],
    "info": lambda at: ["info", "linked"],
    "score": lambda at: ["score", "linked", at / "new.csv"],
    "encode, streamed": lambda at: ["encode", "linked", at / "new.csv", "-o", "streamed"],
    "score, several": lambda at: ["score", "linked", at / "new.csv", at / "train.csv", "--top", "3"],
    "evaluate": lambda at: ["evaluate", "linked", at / "new.csv", "--label", "broken"],
    "drift": lambda at: ["drift", "linked", "--data", at / "train.csv"],
    "report": lambda at: ["report", "linked", "--data", at / "new.csv", "-o", "page.html"],
    "deploy": lambda at: ["deploy", "node", "linked", "-o", "node"],
    "segment": lambda at: ["segment", "learn", "linked", at / "train.csv", "--clusters", "2"],
}


@pytest.mark.parametrize("command", LINKED)
def test_a_linked_bundle_is_read_by_every_command_with_the_option_that_its_error_names(
    fails, aetool, made, work, command
):
    (work / "linked").mkdir()
    (work / "linked" / "..data").mkdir()
    for file in (made / "bundle").iterdir():
        (work / "linked" / "..data" / file.name).write_bytes(file.read_bytes())
        (work / "linked" / file.name).symlink_to(f"..data/{file.name}")
    arguments = LINKED[command](made)
    assert "--limit symbolic_links=true" in fails(*arguments)
    result = aetool(*arguments, "--limit", "symbolic_links=true")
    assert result.exit_code in (0, 3), result.output  # 3: drift


def test_a_linked_bundle_is_signed(aetool, made, work):
    pytest.importorskip("cryptography")
    (work / "linked").mkdir()
    for file in (made / "bundle").iterdir():
        (work / "linked" / f"..{file.name}").write_bytes(file.read_bytes())
        (work / "linked" / file.name).symlink_to(f"..{file.name}")
    assert aetool("keygen", "-o", "key.pem").exit_code == 0
    option = ["--limit", "symbolic_links=true"]
    assert aetool("sign", "linked", "--private-key", "key.pem", *option).exit_code == 0
    assert aetool("verify", "linked", "--public-key", "key.pem.pub", *option).exit_code == 0


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ("columns=200000", "columns", 200_000),
        ("columns=200_000", "columns", 200_000),
        ("columns=200,000", "columns", 200_000),
        ("table-bytes=64GiB", "table_bytes", 64 << 30),
        ("table_bytes = 64 gb", "table_bytes", 64 * 10**9),
        ("cell_bytes=2M", "cell_bytes", 2_000_000),
        ("hard_links=True", "hard_links", True),
        ("symbolic_links=false", "symbolic_links", False),
    ],
)
def test_a_limit_is_written_as_people_write_numbers(given, name, value):
    seen = []

    @click.command()
    @limit(bundle=True)
    def command():
        seen.append(limits_in_force())

    assert click.testing.CliRunner().invoke(command, ["--limit", given]).exit_code == 0
    assert seen == [Limits()._replace(**{name: value})]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("column=3", "no limit 'column' (nearest: 'columns'); choose one of "),
        ("columns=many", "columns is a number such as 200000 or 64GiB, found 'many'"),
        ("columns=-1", "columns is a number"),
        ("columns", "columns is a number"),
        ("hard_links=1", "hard_links is true or false, found '1'"),
    ],
)
def test_a_limit_that_is_none_is_a_usage_error(aetool, made, given, words):
    result = aetool("verify", made / "bundle", "--limit", given)
    assert result.exit_code == 2 and words in result.stderr


def test_the_help_names_the_limits_of_its_command():
    def named(command):
        option = next(parameter for parameter in every_command()[command].params if parameter.name == "limit")
        return set(option.help.partition(": ")[2].rstrip(".").split(", "))

    assert named("train") == set(TABLE)
    assert named("score") == set(Limits._fields)
    assert named("info") == named("serve") == set(Limits._fields) - set(TABLE)


def test_a_bomb_costs_one_line(fails, made, work):
    rows = b"0,0,0,0,0,0\n" * (1 << 16)
    head = gzip.compress('id,größe,weight,"colour, left",heat,broken\n'.encode())
    (work / "bomb.csv.gz").write_bytes(head + gzip.compress(rows, 9) * 1500)
    assert "--limit compression_ratio=NUMBER" in fails("score", made / "bundle", "bomb.csv.gz")


def test_durations_are_read_as_seconds():
    given = [Duration().convert(text, None, None) for text in ("1s", "500ms", "5min", "0.1", "2 h", 60)]
    assert given == [1, 0.5, 300, 0.1, 7200, 60]
    for text in ("0s", "fast", "-1s", "1y", "."):
        with pytest.raises(click.BadParameter, match="is not a duration"):
            Duration().convert(text, None, None)
