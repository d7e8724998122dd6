"""`aetool tune`: what it prints and refuses, and what the other commands then say."""

import json
import shutil

import click.testing
import pytest

from aetool.bench.factories import OUTPUT
from aetool.choices import CALLS
from aetool.cli import main
from aetool.core.native import vectors

FAST = ("--for", "latency", "--seconds", "0.3")

USUAL = "cpu" if vectors() is None else "auto"


@pytest.fixture
def bundle(made, work):
    """A copy to write beside, in the current directory."""
    return shutil.copytree(made / "bundle", work / "mine")


@pytest.fixture(scope="module")
def _tuned(made, tmp_path_factory):
    """Tuned once: what it printed, and the file."""
    bundle = shutil.copytree(made / "bundle", tmp_path_factory.mktemp("tuned") / "mine")
    arguments = ["tune", bundle, *FAST, "--data", made / "new.csv", "--label", "broken"]
    result = click.testing.CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result, bundle.with_name("mine.tuning.json")


@pytest.fixture
def tuned(_tuned, bundle):
    """The bundle in the current directory has the file too; gives what tuning it printed."""
    result, file = _tuned
    shutil.copy(file, bundle.with_name(file.name))
    return result


def test_it_shows_what_was_tried_and_why_and_writes_the_file(tuned, work):
    for word in ("default", "NVIDIA", "choice", "rows of new.csv", "mine.tuning.json"):
        assert word in tuned.stdout
    assert tuned.stdout.count("\n-> ") == 1
    assert json.loads((work / "mine.tuning.json").read_text())["kind"] == "aetool.tuning"


def test_info_and_doctor_tell_that_it_is_used(aetool, tuned, work):
    assert f"mine.tuning.json: fp32 on {USUAL}" in aetool("info", "mine").stdout
    assert json.loads(aetool("info", "mine", "--json").stdout)["tuning"]["choice"]["provider"] == USUAL
    assert f"mine.tuning.json: fp32 on {USUAL}" in aetool("doctor", "mine").stdout


def test_info_and_doctor_tell_why_it_is_ignored(aetool, tuned, work):
    file = work / "mine.tuning.json"
    file.write_text(file.read_text().replace('"cores": ', '"cores": 9'))
    for command in ("info", "doctor"):
        assert "ignored, made on another machine: cores 9" in aetool(command, "mine").stdout


def test_doctor_tells_that_it_is_damaged_and_that_there_is_none(aetool, bundle, work):
    assert "none beside mine" in aetool("doctor", "mine").stdout
    (work / "mine.tuning.json").write_text("{")
    damaged = aetool("doctor", "mine")
    assert damaged.exit_code == 1 and "not valid JSON" in damaged.stdout and "delete the file" in damaged.stdout


def test_report_makes_a_page_of_it(aetool, tuned, work):
    result = aetool("report", "mine.tuning.json", "-o", "page.html")
    assert result.exit_code == 0 and "candidates" in result.stdout
    assert "Fastest settings for bundle" in (work / "page.html").read_text(encoding="utf-8")


def test_json_is_one_document_and_dry_run_writes_nothing(aetool, bundle, work):
    found = json.loads(aetool("tune", "mine", *FAST, "--dry-run", "--json", "--max-flips", "0.1").stdout)
    assert (found["purpose"], found["budget"]["max_flips"]) == ("latency", 0.1)
    assert [path.name for path in work.iterdir()] == ["mine"]


def test_mistakes_are_told_before_anything_is_measured(aetool, fails, bundle, made, work):
    assert aetool("tune", "mine").exit_code == 2
    assert aetool("tune", "mine", *FAST, "--label", "broken").exit_code == 2
    assert "a bundle is expected" in fails("tune", made / "checkpoint", *FAST)
    assert "--max-flips" in fails("tune", "mine", *FAST, "--max-flips", "2")
    (work / "mine.tuning.json").write_text("{}")
    assert "exists already" in fails("tune", "mine", *FAST)


def test_graphs_are_those_of_the_benchmark():
    assert tuple(OUTPUT) == tuple(CALLS)
