"""`aetool` alone tells what to do next; a name that is not there is told the nearest that is."""

import shlex
import shutil

import pytest


def told(result):
    """The commands that `aetool` alone shows."""
    assert result.exit_code == 0 and result.stdout.startswith("What to do next:\n")
    return [line.split("  ")[0] for line in result.stdout.splitlines()[1:]]


def test_with_nothing_there_the_demo_comes_first(aetool, work):
    assert told(aetool()) == ["aetool demo", "aetool train TABLE", "aetool --help"]


def test_what_it_tells_runs(aetool, made, work):
    shutil.copy(made / "train.csv", work / "a table.csv")
    (training,) = [line for line in told(aetool()) if "train" in line]
    assert training == "aetool train 'a table.csv'"
    shutil.copytree(made / "checkpoint", work / "checkpoint")
    shutil.copytree(made / "bundle", work / "exported" / "mine")
    verify, score, export, _, _ = told(aetool())
    for line in (verify, score, export):
        result = aetool(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    assert "exported/mine" in score and export == "aetool export checkpoint"


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        (("score", "bundle", "nwe.csv"), "new.csv"),
        (("score", "bundel", "new.csv"), "bundle"),
        (("score", "bundle", "nwe.csv", "-o", "out/"), "new.csv"),
        (("export", "chekpoint"), "checkpoint"),
        (("train", "trian.csv", "-o", "elsewhere"), "train.csv"),
        (("train", "train.csv", "--label", "brokne", "-o", "elsewhere"), "broken"),
        (("train", "train.csv", "--drop", "größ", "-o", "elsewhere"), "größe"),
        (("score", "bundle", "new.csv", "--keep", "heats"), "heat"),
    ],
)
def test_a_mistyped_name_is_told_the_nearest(fails, made, monkeypatch, typed, nearest):
    monkeypatch.chdir(made)
    assert f"(nearest: {nearest!r})" in fails(*typed)
