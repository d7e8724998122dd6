"""`--safe-csv`: what is text in a table stays text in a spreadsheet."""

import csv
import gzip
import io
import json

import numpy as np
import pytest

from aetool.tables import read_table, without_formulas

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "+1-2",
    "-2+3 C",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
]
PLAIN = ["m1", "a=b", "1-2", "", "'quoted", "größe"]


@pytest.fixture
def machines(made, work):
    """The bundle's table with formulas among its ids."""
    rows = list(csv.reader(io.StringIO((made / "new.csv").read_text(encoding="utf-8"))))
    for row, cell in zip(rows[1:], FORMULAS + PLAIN, strict=False):
        row[0] = cell
    rows[0][-1] = "=cmd|' /C calc'!A1"
    with (work / "new.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return "new.csv"


def cells_of(text):
    rows = list(csv.reader(io.StringIO(text, newline="")))
    return rows[0], [row[0] for row in rows[1 : 1 + len(FORMULAS + PLAIN)]]


@pytest.mark.parametrize("output", [None, "out.csv", "out.csv.gz"])
@pytest.mark.parametrize("command", [["score"], ["encode"], ["score", "--explain", "1"]])
def test_no_cell_of_the_csv_begins_a_formula(aetool, made, machines, work, output, command):
    keep = ["--keep", "id", "--keep", "\"=cmd|' /C calc'!A1\""]
    to = [] if output is None else ["-o", output]
    result = aetool(*command[:1], made / "bundle", machines, *command[1:], *keep, *to, "--safe-csv")
    assert result.exit_code == 0, result.output
    if output is None:
        text = result.stdout_bytes.decode()
    else:
        data = (work / output).read_bytes()
        text = (gzip.decompress(data) if output.endswith(".gz") else data).decode()
    header, ids = cells_of(text)
    assert header[:2] == ["id", "'=cmd|' /C calc'!A1"]
    assert ids == [f"'{cell}" for cell in FORMULAS] + PLAIN


def test_without_the_option_and_in_other_formats_text_is_left_as_it_is(aetool, made, machines, work):
    _, ids = cells_of(aetool("score", made / "bundle", machines, "--keep", "id").stdout_bytes.decode())
    assert ids == FORMULAS + PLAIN
    assert (
        aetool("score", made / "bundle", machines, "--keep", "id", "-o", "o.parquet", "--safe-csv").exit_code == 0
    )
    kept = read_table("o.parquet", keep=["id"], columns=["score"]).kept["id"]
    assert kept.tolist()[: len(ids)] == FORMULAS + PLAIN


def test_numbers_are_left_alone(aetool, made, machines, work):
    found = without_formulas({"a": np.array([-1.5, 2.0]), "b": np.array([-3, 4]), "-c": np.array([True, False])})
    assert list(found) == ["a", "b", "'-c"]
    assert all(column.dtype.kind != "O" for column in found.values())
    plain, safe = (
        aetool("encode", made / "bundle", machines, *option).stdout_bytes for option in ([], ["--safe-csv"])
    )
    assert plain == safe and b"-" in plain


def test_json_gets_the_very_text(aetool, made, machines):
    result = aetool("score", made / "bundle", machines, "--keep", "id", "--json")
    assert json.loads(result.stdout)["data"]["id"][: len(FORMULAS)] == FORMULAS
