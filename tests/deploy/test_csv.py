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
from aetool.tables import read_table

SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ rowsOf }} from {module};
const found = JSON.parse(readFileSync(0)).map(({{ file, model }}) => {{
  try {{
    const {{ cells, numbers }} = rowsOf(Buffer.from(file, "base64").toString("utf8"), model);
    return {{ rows: cells.length, numbers: Array.from(numbers, String) }};
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
            ("boss,1.5,10,70\n" + csv_cases.ROW, TABLE),  # a category that the model does not know: a header
            ("1,2\n3,NA\n", numbers),
            ("b,a\n1,2\n", numbers),
            ("b,c\n1,2\n", numbers),
            ("2,1\n3,4\n", {"features": [{"name": "1"}, {"name": "2"}], "width": 2}),
            ("1,2\n3,4,5\n", numbers),
            ("u,v\n1,2\n", {"features": [], "width": 2}),
            ("1,2\n3,4\n", {"features": [], "width": 2}),
            ("u,v,w\n1,2,3\n", {"features": [], "width": 2}),
        ]
    )
    assert [case.get("numbers", case.get("message")) for case in found] == [
        ["0", "1.5", "0", "70"] * 2,
        found[1]["message"],
        ["1", "2", "3", "NaN"],
        ["2", "1"],
        "missing column 'a', asked for by the model; found 'b', 'c': correct the names",
        ["4", "3"],
        "row 2: 3 columns found, 2 expected: mend the row (a quote left open does this too)",
        ["1", "2"],
        ["1", "2", "3", "4"],
        "2 columns expected, 3 found: give the model's columns in their order",
    ]
    assert "looks like another table" in found[1]["message"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found_in_the_first_line(in_javascript, separator):
    file = (csv_cases.HEADER + csv_cases.ROW).replace(",", separator)
    (found,) = in_javascript([(file, TABLE)])
    same([float(text) for text in found["numbers"]], [csv_cases.PLAIN])
