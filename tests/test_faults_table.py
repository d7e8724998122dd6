"""docs/faults.md and SECURITY.md name tests that exist, and the faults are as many as they say."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAULTS = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in FAULTS.splitlines()
    if line.startswith("| ") and "`" in line
]


def functions_in(path):
    """Names of the test functions of a file."""
    return {
        node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    }


def missing(text):
    """Tests that a text names and that do not exist."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)(\[[^`]*\])?`", text)
    assert named
    return [
        f"{path}::{name}"
        for path, name, _ in named
        if not (ROOT / path).exists() or name not in functions_in(ROOT / path)
    ]


@pytest.mark.parametrize("page", ["docs/faults.md", "SECURITY.md"])
def test_every_test_that_is_named_exists(page):
    assert missing((ROOT / page).read_text(encoding="utf-8")) == []


def test_a_name_that_does_not_exist_is_found():
    assert missing("`tests/test_faults_table.py::test_nothing`") == ["tests/test_faults_table.py::test_nothing"]


def test_there_are_sixty_distinct_faults_each_with_a_count_an_outcome_and_a_test():
    assert len({fault for fault, *_ in ROWS}) == len(ROWS) >= 60
    for fault, tried, outcome, test in ROWS:
        assert re.fullmatch(r"[\d,]+( .+)?", tried), fault
        assert outcome and re.fullmatch(r"`tests/[\w/]+\.py::\w+`", test), fault
