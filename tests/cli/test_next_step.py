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
    assert told(aetool()) == ["aetool export checkpoint", "aetool --help"]
    shutil.copytree(made / "bundle", work / "exported" / "mine")
    *runnable, drift, _ = told(aetool())
    assert [line.split()[1] for line in runnable] == ["verify", "score", "segment", "report"]
    assert drift == "aetool drift exported/mine --data NEWER_TABLE"
    for line in runnable:
        result = aetool(*shlex.split(line)[1:])
        assert result.exit_code == 0 and "exported/mine" in line, f"{line}\n{result.output}"
    after = [line.split()[1] for line in told(aetool())]
    assert "report" not in after and "aetool segment assign exported/mine 'a table.csv'" in told(aetool())


def test_only_a_table_that_fits_is_told(aetool, made, work):
    shutil.copytree(made / "bundle", work / "exported" / "mine")
    (work / "another.csv").write_text("a,b\n1,2\n")
    steps = told(aetool())
    assert "aetool score exported/mine TABLE" in steps and "aetool train another.csv" in steps
    shutil.copy(made / "train.csv", work / "z.csv")
    steps = told(aetool())
    assert "aetool score exported/mine z.csv" in steps and "aetool train another.csv" in steps


def test_what_the_tool_itself_wrote_is_not_told(aetool, made, work):
    bundle = work / "exported" / "mine"
    shutil.copytree(made / "bundle", bundle)
    for command, options in (("score", ("--explain", 1)), ("encode", ())):
        assert aetool(command, bundle, made / "new.csv", *options, "-o", f"{command}.csv").exit_code == 0
    assert not [line for line in told(aetool()) if ".csv" in line]


def test_of_a_damaged_bundle_checkpoint_and_table_it_tells_what_tells_more(aetool, work):
    for file in ("exported/mine/manifest.json", "checkpoint/checkpoint.json", "bad.parquet"):
        (work / file).parent.mkdir(parents=True, exist_ok=True)
        (work / file).write_text("{")
    assert told(aetool()) == [
        "aetool verify exported/mine",
        "aetool export checkpoint",
        "aetool train bad.parquet",
        "aetool --help",
    ]


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
