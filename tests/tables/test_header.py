"""A header alone: what it tells is what reading the whole file tells."""

import gzip
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aetool.errors import InputError
from aetool.tables import TableFile, read_table, reading
from aetool.tables.reading import table_header

CSV = {
    "plain": b"a,b,y\n1,2,0\n",
    "byte order mark": b"\xef\xbb\xbfa,b,y\n1,2,0\n",
    "quoted": b'"a","b","y"\n1,2,0\n',
    "carriage returns": b"a,b,y\r\n1,2,0\r\n",
    "blank lines first": b"\n\na,b,y\n1,2,0\n",
    "no rows": b"a,b,y\n",
    "no end of line": b"a,b,y",
}


@pytest.fixture(params=[*CSV, "gzip", "parquet", "npz"])
def path(request, tmp_path):
    if request.param == "parquet":
        pq.write_table(pa.table({"a": [1.0], "b": [2.0], "y": [0]}), tmp_path / "t.parquet")
        return tmp_path / "t.parquet"
    if request.param == "npz":
        np.savez(tmp_path / "t.npz", a=np.ones(3), b=np.ones(3), y=np.zeros(3))
        return tmp_path / "t.npz"
    name, content = (
        ("t.csv.gz", gzip.compress(CSV["plain"])) if request.param == "gzip" else ("t.csv", CSV[request.param])
    )
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def refused(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_the_names_are_those_that_reading_gives(path):
    assert table_header(path).names == read_table(path).names == ("a", "b", "y")
    TableFile(path, label="y")


@pytest.mark.parametrize(
    "options",
    [
        {"label": "nope"},
        {"drop": ["A"]},
        {"only": ["a", "q"]},
        {"only": ["a", "b"], "label": "b"},
        {"keep": ["z"]},
    ],
)
def test_what_it_refuses_it_refuses_in_the_words_of_reading(path, options):
    assert refused(TableFile, path, **options) == refused(read_table, path, **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("none.csv", None),
        ("empty.csv", b""),
        ("t.xlsx", b"PK\x03\x04x"),
        ("t.csv", b"a;b,c\nx;y,z\n"),
        ("t.csv", b"a,a\n1,2\n"),
    ],
)
def test_so_it_does_of_files_that_are_no_tables(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert refused(TableFile, tmp_path / name) == refused(read_table, tmp_path / name)


def test_an_array_s_columns_go_by_position(tmp_path):
    np.save(tmp_path / "t.npy", np.ones((2, 3)))
    assert table_header(tmp_path / "t.npy") == reading.Header(("X_0", "X_1", "X_2"), ("X_0", "X_1", "X_2"))
    TableFile(tmp_path / "t.npy", only=["a", "b", "c"])
    refused(TableFile, tmp_path / "t.npy", only=["a", "b"])


@pytest.mark.parametrize(
    "content", [b"a" * (2 << 20) + b",b\n1,2\n", b'"' + b"a\n" * (1 << 20)], ids=["long", "quote"]
)
def test_a_header_without_an_end_is_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    for call in (TableFile, read_table):
        assert re.search("cell_bytes|quote", refused(call, tmp_path / "t.csv"))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-8"])
def test_names_are_found_in_every_encoding(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("caf\xe9,b\n1,2\n3,4\n".encode(encoding))
    assert table_header(tmp_path / "t.csv").names == read_table(tmp_path / "t.csv").names == ("caf\xe9", "b")


def test_no_row_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,2\n" * (1 << 19) + b"not,a,table\n" * 100)
    TableFile(tmp_path / "t.csv", only=["a", "b"])
