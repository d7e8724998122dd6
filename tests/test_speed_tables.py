"""The tables of docs/speed.md are those of benchmarks/results, and those are of the contestants named."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import tables  # noqa: E402


def test_the_page_holds_the_tables_of_the_committed_results():
    text = tables.PAGE.read_text(encoding="utf-8")
    assert text.count(tables.BEGIN) == 1
    assert tables.updated(text) == text, "run python benchmarks/tables.py"


def test_the_chart_shows_the_committed_results():
    assert tables.CHART.read_text(encoding="utf-8") == tables.chart(), "run python benchmarks/tables.py"
    assert "µs" in tables.chart() and "OpenVINO" in tables.chart()


def test_a_changed_result_changes_the_tables(tmp_path, monkeypatch):
    before = tables.render()
    for file in tables.RESULTS.glob("*.json"):
        (tmp_path / file.name).write_text(file.read_text())
    changed = json.loads((tmp_path / "one_row.json").read_text())
    changed["results"]["tiny"]["score"]["torch"]["to_it"]["p50"] = 9.87
    (tmp_path / "one_row.json").write_text(json.dumps(changed))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert "9.87" in tables.render()
    assert tables.render() != before


@pytest.mark.parametrize("name", ["one_row", "bulk", "cold_start", "memory", "mlperf_tiny_latency"])
def test_every_result_tells_its_machine_and_a_commit_without_changes(name):
    found = json.loads((tables.RESULTS / f"{name}.json").read_text())
    assert found["benchmark"] == name
    assert {"cpu", "cpu_flags", "cores", "memory_bytes", "python", "packages", "commit"} <= set(found["machine"])
    assert "dirty" not in found["machine"]["commit"]
