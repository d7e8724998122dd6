"""`aetool quantize` and what `aetool info` and `aetool evaluate` tell of its result."""

import functools
import json
import shutil

import pytest

import aetool.quantize


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One short round of measuring the speed, of which nothing is told here."""
    options = functools.partial(aetool.quantize.QuantizeOptions, rounds=1, seconds=0.01)
    monkeypatch.setattr(aetool.quantize, "QuantizeOptions", options)


@pytest.fixture
def bundle(made, tmp_path):
    shutil.copytree(made / "bundle", tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_precision_is_added_shown_and_used(aetool, made, bundle):
    data = [str(made / "train.csv"), "--label", "broken"]
    limits = ["--max-flips", "5%", "--max-auroc-drop", "0.05"]
    result = aetool("quantize", str(bundle), "--data", *data, "--precision", "bf16", *limits, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["added"] and document["fidelity"]["rows"] == document["rows"]["judged"]
    assert document["budget"] == {"max_auroc_drop": 0.05, "max_flips": 0.05, "min_speedup": None}
    assert "tried all layers: within the budget" in result.stderr
    shown = aetool("info", str(bundle), "--all").stdout
    assert f"{document['threshold']:.6g}" in shown and "bf16" in shown and "false positives" in shown
    assert aetool("verify", str(bundle)).exit_code == 0
    assert aetool("evaluate", str(bundle), *data, "--precision", "bf16").exit_code == 0
    again = aetool("quantize", str(bundle), "--data", *data, "--precision", "bf16", *limits)
    assert again.exit_code == 1 and "has bf16 already; pass --overwrite" in again.stderr


def test_one_outside_the_budget_is_an_error_of_one_line_that_tells_what_was_tried(aetool, made, bundle):
    before = sorted(path.name for path in bundle.rglob("*"))
    command = ("quantize", str(bundle), "--data", str(made / "train.csv"), "--label", "broken", "--min-speedup")
    result = aetool(*command, "1e6", "--precision", "bf16", "--max-flips", "1", "--max-auroc-drop", "1")
    assert result.exit_code == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and "bf16 was not added: speedup" in line and "Tried all layers" in line
    result = aetool(*command, "1e6", "--precision", "bf16", "--max-flips", "1", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1 and document["added"] is False and document["tried"][-1]["reasons"]
    assert sorted(path.name for path in bundle.rglob("*")) == before


@pytest.mark.parametrize("share", ["a lot", "5 percent", "%"])
def test_a_share_that_is_none_is_a_wrong_command_line(aetool, made, share):
    result = aetool("quantize", str(made / "bundle"), "--data", str(made / "train.csv"), "--max-flips", share)
    assert result.exit_code == 2 and "is not a share such as 0.5% or 0.005" in result.stderr


def test_a_budget_that_is_none_is_refused(aetool, made):
    result = aetool("quantize", str(made / "bundle"), "--data", str(made / "train.csv"), "--max-flips", "200%")
    assert result.exit_code == 1 and "max_flips: expected 0 to 1" in result.stderr
