"""Text of a bundle or a table on the terminal: shown, never obeyed."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys

import pytest
from rich.text import Text

from aetool.cli import _output as output
from aetool.cli._output import visible

CLEAR, TITLE, HIDE = "\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\x1b[8m"
BIDI = "\u202egpj.exe\u2066"
HOSTILE = f"{CLEAR}{TITLE}{HIDE}\x9b31m\r{BIDI}\x7f\u2028\ufeff"
OWN = re.compile(r"\x1b\[[0-9;]*m")
"""Colours, which are aetool's own on a terminal."""
ERASED = "\r\x1b[2K"
"""Begins a new state of the line that moves."""


def obeyed(text):
    """What of `text` a terminal would do rather than show."""
    return [
        char
        for char in OWN.sub("", text).replace(ERASED, "").replace("\r\n", "\n")
        if output._is_hidden(char) and char != "\n"
    ]


def test_hidden_characters_are_spelled_out_and_writing_is_left_alone():
    joined = "größe 数値 \u0646\u200c\u0647 👩\u200d🔬 a\u00a0b"  # some scripts are not written without joiners
    assert visible(joined) == joined
    assert visible(CLEAR + "a\nb") == "\\x1b[2J\\x1b[Ha\nb"
    assert visible("a\nb\t", lines=False) == "a\\nb\\t"
    assert visible(BIDI) == "\\u202egpj.exe\\u2066"
    assert not obeyed(visible(HOSTILE + "\0\x85\udc80"))


@pytest.mark.parametrize(
    "make",
    [
        lambda text: text,
        lambda text: output.facts([("name", text), (text, "value")]),
        lambda text: output.table([text, "b"], [[text, Text(text, "bold")]]),
        lambda text: Text.assemble((text, "bold red"), " and ", text),
    ],
    ids=["text", "facts", "table", "styled"],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_that_is_shown_is_obeyed(make, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    output.console(stream).print(make(HOSTILE))
    assert not obeyed(stream.getvalue())
    assert "\\x1b[2J" in stream.getvalue().replace("\n", "") or terminal  # which may fold it


def test_notes_and_errors_are_shown_too(capsys):
    output.say(HOSTILE)
    output.fail(HOSTILE)
    text = capsys.readouterr().err
    assert not obeyed(text) and text.count("owned") == 2


@pytest.fixture(scope="module")
def hostile(made, tmp_path_factory):
    """The bundle with hostile text wherever its manifest has text, and a table whose columns go with it."""
    path = shutil.copytree(made / "bundle", tmp_path_factory.mktemp("hostile") / "bundle")
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["name"] = manifest["created"] = HOSTILE
    manifest["tools"] = {HOSTILE: HOSTILE}
    manifest["score"]["definition"] = manifest["threshold"]["method"] = HOSTILE
    manifest["provenance"] = {HOSTILE: HOSTILE, "training": {HOSTILE: [HOSTILE]}}
    manifest["variants"]["fp32"]["figures"] = {HOSTILE: HOSTILE, "made_with": HOSTILE}
    names = [f"{HOSTILE}{i}\n" for i in range(len(manifest["features"]))]
    manifest["features"] = [{"name": name, "unit": HOSTILE} for name in names]
    manifest["segments"] = {
        "clusters": 2,
        "chosen": HOSTILE,
        "data": HOSTILE,
        "method": HOSTILE,
        "rows": 3,
        "rows_without_segment": 0,
        "stability": {"adjusted_rand_index": 1.0, "repeats": 3, "share": 0.5},
        "segments": [{"segment": 0, "rows": 3, "share": 1.0, "label": HOSTILE, "name": HOSTILE, "traits": []}],
    }
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


COMMANDS = {
    "info": lambda bundle, data: ["info", bundle],
    "verify": lambda bundle, data: ["verify", bundle],
    "score": lambda bundle, data: ["score", bundle, data],
    "score, a column missing": lambda bundle, data: ["score", bundle, data, "--keep", "x\x1b[2J"],
    "segments": lambda bundle, data: ["segment", "show", bundle],
    "a precision": lambda bundle, data: ["score", bundle, data, "--precision", "x\x1b[2J"],
    "a usage error": lambda bundle, data: ["info", "--x\x1b[2J"],
    "what to do next": lambda bundle, data: [],
    "as JSON": lambda bundle, data: ["info", bundle, "--json"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_no_command_obeys_a_bundle(hostile, made, environment, command, terminal):
    if not terminal:
        found = _in_a_pipe(command(hostile, made / "new.csv"), hostile.parent, environment)
    else:
        found = _on_a_terminal(command(hostile, made / "new.csv"), hostile.parent, environment)
    assert found and not obeyed(found), repr(found[:500])


def _in_a_pipe(arguments, folder, environment):
    done = subprocess.run(
        [sys.executable, "-m", "aetool", *map(str, arguments)],
        capture_output=True,
        cwd=folder,
        env=environment,
        timeout=120,
        check=False,
    )
    return (done.stdout + done.stderr).decode()


def _on_a_terminal(arguments, folder, environment):
    own, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "aetool", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
    ):
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(own, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            found += part
    os.close(own)
    return found.decode()


def test_columns_on_a_terminal_are_shown_and_in_a_pipe_left_as_they_are(made, environment, tmp_path):
    """A pipe gets the very text: a program must find its columns again."""
    lines = (made / "new.csv").read_text(encoding="utf-8").replace("m0001", f"m{CLEAR}")
    (tmp_path / "new.csv").write_text(lines, encoding="utf-8")
    arguments = ["score", made / "bundle", "new.csv", "--keep", "id"]
    assert f"m{CLEAR}" in _in_a_pipe(arguments, tmp_path, environment)
    shown = _on_a_terminal([*arguments, "--top", "40"], tmp_path, environment)
    assert "m\\x1b[2J\\x1b[H" in shown and not obeyed(shown)
