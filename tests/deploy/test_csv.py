"""One table of CSV files for the reader of the command line and that of the page and of Node."""

import base64
import json
import re
import subprocess

import csv_cases
import numpy as np
import pytest

from aetool.deploy._deployment import ASSETS
from aetool.errors import InputError
from aetool.tables import Reading, read_table

SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ rowsOf }} from {module};
const found = JSON.parse(readFileSync(0)).map(({{ file, model }}) => {{
  try {{
    const {{ count, numbers, notes }} = rowsOf(Buffer.from(file, "base64"), model);
    return {{ rows: count, numbers: Array.from(numbers, String), notes }};
  }} catch (error) {{
    return {{ message: error.message }};
  }}
}});
console.log(JSON.stringify(found));
"""
FEATURES = [{"name": name, "categories": csv_cases.CATEGORIES.get(name)} for name in csv_cases.NAMES]
TABLE = {"features": FEATURES, "width": 4}


def content(file):
    return file.encode() if isinstance(file, str) else file


@pytest.fixture(scope="module")
def in_javascript(need, tmp_path_factory):
    """in_javascript([(file, model), ...]): rows, or the message of the error, for each."""
    need("Node")
    script = tmp_path_factory.mktemp("csv") / "read.mjs"
    module = (ASSETS / "javascript" / "csv.mjs").as_uri()
    script.write_text(SCRIPT.format(module=json.dumps(module)), encoding="utf-8")

    def read(cases):
        given = [{"file": base64.b64encode(content(file)).decode(), "model": model} for file, model in cases]
        command = ["node", script]
        done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return read


@pytest.fixture(scope="module")
def found(in_javascript):
    """Case -> what JavaScript makes of it."""
    cases = {**csv_cases.READ, **csv_cases.REFUSED}
    return dict(zip(cases, in_javascript([(file, TABLE) for file, _ in cases.values()]), strict=True))


def in_python(file, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(content(file))
    return read_table(path, only=csv_cases.NAMES, categories=csv_cases.CATEGORIES).values


def same(rows, expected):
    expected = np.array(expected, dtype=np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(np.asarray(rows, dtype=np.float32).reshape(-1, 4), expected)


@pytest.mark.parametrize("case", csv_cases.READ)
def test_both_readers_read_alike(case, found, tmp_path):
    file, expected = csv_cases.READ[case]
    same(in_python(file, tmp_path), expected)
    assert "message" not in found[case], found[case]
    same([float(text) for text in found[case]["numbers"]], expected)
    assert found[case]["rows"] == len(expected)


@pytest.mark.parametrize("case", csv_cases.REFUSED)
def test_both_readers_refuse_alike(case, found, tmp_path):
    file, message = csv_cases.REFUSED[case]
    with pytest.raises(InputError, match=message):
        in_python(file, tmp_path)
    assert re.search(message, found[case].get("message", "")), found[case]


def test_columns_go_by_position_only_where_there_is_no_header(in_javascript):
    numbers = {"features": [{"name": "a"}, {"name": "b"}], "width": 2}
    found = in_javascript(
        [
            (csv_cases.ROW * 2, TABLE),
            (
                "boss,1.5,10,70\n" + csv_cases.ROW,
                TABLE,
            ),  # a category that the model does not know, and numbers: a row
            ("1.5,2\n3,NA\n", numbers),
            ("b,a\n1,2\n", numbers),
            ("b,c\n1,2\n", numbers),
            ("2,1\n3,4\n", {"features": [{"name": "1"}, {"name": "2"}], "width": 2}),
            ("1.5,2\n3,4,5\n", numbers),
            ("u,v\n1,2\n", {"features": [], "width": 2}),
            ("2,1\n3,4\n", {"features": [], "width": 2}),
            ("u,v,w\n1,2,3\n", {"features": [], "width": 2}),
        ]
    )
    plain = ["0", "1.5", "0", "70"]
    assert [case.get("numbers", case.get("message")) for case in found] == [
        plain * 2,
        ["-1", *plain[1:], *plain],
        ["1.5", "2", "3", "NaN"],
        ["2", "1"],
        "missing column 'a', asked for by the model; found 'b', 'c': correct the names",
        ["4", "3"],
        "row 2: 3 columns found, 2 expected: fix the row (a quote left open does this too)",
        ["1", "2"],
        ["2", "1", "3", "4"],
        "2 columns expected, 3 found: give the model's columns in their order",
    ]


HINTED = {
    "words and numbers that mean a missing value": (
        {"na": ["-999", "none of"]},
        "x;y\n-999;none of\n-999.0;2.5\n",
    ),
    "a decimal comma": ({"sep": "\t", "decimal": ","}, "x\ty\n1.234\t5\n"),
    "no header": ({"header": False}, "1,3\n2,7\n"),
}


@pytest.mark.parametrize("case", HINTED)
def test_the_reading_of_the_training_table_decides_what_is_in_doubt(case, in_javascript, tmp_path):
    reading, file = HINTED[case]
    model = {"features": [{"name": "x"}, {"name": "y"}], "width": 2}
    hinted, plain = in_javascript(
        [(file, model | {"manifest": {"provenance": {"reading": reading}}}), (file, model)]
    )
    path = tmp_path / "rows.csv"
    path.write_text(file, encoding="utf-8")
    like = Reading.of({"reading": reading})
    expected = read_table(path, only=("x", "y"), like=like).values.astype(np.float32)
    np.testing.assert_array_equal(np.array([float(text) for text in hinted["numbers"]]), expected.ravel())
    assert plain.get("numbers") != hinted["numbers"]


def test_the_reading_is_told_where_it_is_not_as_usual(in_javascript):
    text = "Staff\n\njob;size;region;weight\nclerk;1,5;10;70 kg\nclerk;2,5;10;71 kg\n"
    usual, told = in_javascript([(csv_cases.HEADER + csv_cases.ROW, TABLE), (text.encode("utf-16"), TABLE)])
    assert usual["notes"] == []
    assert told["notes"] == [
        "read with semicolons between columns, a decimal comma, encoding UTF-16LE",
        "the first line, above the table, left out",
        "weight: '70 kg' read as 70",
    ]
