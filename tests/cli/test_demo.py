"""`aetool demo`, run once as a process and once for JSON."""

import json
import re

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder):
    from click.testing import CliRunner

    from aetool.cli import main

    result = CliRunner().invoke(main, ["demo", "-o", str(folder / "my-demo")])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_demo_shows_every_step_with_its_result(shown):
    assert re.findall(r"^(\d)\. ", shown, re.MULTILINE) == list("123456")
    for found in ("epochs, validation loss", "▁", "detector", "AUROC 0.9", "passed", "KiB", "times faster"):
        assert found in shown


def test_demo_ends_with_three_lines_of_python_that_run(shown, folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = shown.splitlines()[-3:]
    assert lines[0] == "import aetool"
    from aetool.tables import read_table

    names = {"rows": read_table("my-demo/test.csv", label="malignant").values}
    exec("\n".join([*lines[:2], f"scores = {lines[2]}"]), names)
    assert names["scores"].shape == (391,)


def test_demo_leaves_a_bundle_that_verifies_and_scores(shown, folder, aetool):
    assert aetool("verify", folder / "my-demo" / "bundle").exit_code == 0
    assert aetool("score", folder / "my-demo" / "bundle", folder / "my-demo" / "test.csv").exit_code == 0


def test_demo_again_needs_overwrite_and_gives_one_document(shown, folder, aetool):
    again = ("demo", "-o", folder / "my-demo", "--json")
    assert aetool(*again).exit_code == 1
    result = aetool(*again, "--overwrite")
    document = json.loads(result.stdout)
    assert document["verified"] and document["evaluation"]["auroc"] > 0.9
    assert abs(document["evaluation"]["auroc"] - document["auroc_torch"]) < 1e-4
    assert "1. " in result.stderr
