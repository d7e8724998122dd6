"""Tables out: what is written, how, and what happens where it cannot be."""

import errno
import gzip
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from table_files import refusal

from aetool.errors import InputError, OutputError
from aetool.tables import Reading, read_table, write_csv, write_table

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda name: name == name.strip()
)
PLAIN_NAMES = st.text("abc019_ .-", min_size=1, max_size=8).filter(lambda name: name == name.strip())
CELLS = {
    np.float64: st.floats(width=64),
    np.float32: st.floats(width=32),
    np.float16: st.floats(width=16),
    np.int64: st.integers(-(2**63), 2**63 - 1),
    np.bool_: st.booleans(),
}


@st.composite
def tables(draw, names=NAMES):
    rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(list(CELLS)))
        columns[name] = np.array(draw(st.lists(CELLS[kind], min_size=rows, max_size=rows)), kind)
    return columns


@pytest.mark.parametrize("name", ["# 0", "#\r0", "# a"])
def test_a_name_like_a_comment_reads_back_as_it_is(tmp_path, name):
    write_table(tmp_path / "t.csv", {name: np.array([1.5]), "b": np.array([2.0])})
    assert read_table(tmp_path / "t.csv").names == (name, "b")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
@settings(max_examples=50, deadline=None)
@given(columns=tables())
def test_what_is_written_reads_back_exactly(tmp_path_factory, ending, columns):
    path = tmp_path_factory.getbasetemp() / f"round{ending}"
    write_table(path, columns, overwrite=True)
    table = read_table(path, reading=Reading(sep=",", header=True))
    assert table.names == tuple(columns)
    for index, column in enumerate(columns.values()):
        found = table.values[:, index]  # the text of a float32 is exact for a float32
        np.testing.assert_array_equal(
            found.astype(column.dtype) if column.dtype.kind == "f" else found, column * 1.0
        )


@settings(max_examples=50, deadline=None)
@given(columns=tables(PLAIN_NAMES))
@example(columns={"_ 0": np.empty(0)})
def test_csv_that_is_written_is_found_as_it_is(tmp_path_factory, columns):
    path = tmp_path_factory.getbasetemp() / "found.csv"
    write_table(path, columns, overwrite=True)
    table = read_table(path)
    assert table.names == tuple(columns) and table.notes == ()


@settings(max_examples=50, deadline=None)
@given(columns=tables())
def test_npy_reads_back_as_one_matrix(tmp_path_factory, columns):
    path = tmp_path_factory.getbasetemp() / "round.npy"
    write_table(path, columns, overwrite=True)
    if len(columns) == 1:
        np.testing.assert_array_equal(np.load(path), next(iter(columns.values())))
        return
    table = read_table(path)
    expected = np.stack([column.astype(np.float64) for column in columns.values()], axis=1)
    np.testing.assert_array_equal(table.values, expected)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
@settings(max_examples=50, deadline=None)
@given(cells=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=5))
def test_kept_text_reads_back_exactly(tmp_path_factory, ending, cells):
    path = tmp_path_factory.getbasetemp() / f"text{ending}"
    write_table(path, {"id": np.array(cells, object), "a": np.arange(len(cells))}, overwrite=True)
    kept = read_table(path, keep=["id"], reading=Reading(sep=",", header=True)).kept["id"]
    assert [str(cell) if isinstance(cell, str) else repr(cell) for cell in kept] == cells or (
        ending == ".csv" and [float(cell) for cell in cells] == kept.tolist()
    )


def test_csv_floats_are_written_short(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, {"score": np.array([0.1, 1 / 3], np.float32), "b": np.array([0.1, np.nan])})
    assert path.read_text() == "score,b\n0.1,0.1\n0.33333334,nan\n"


def test_a_missing_cell_in_a_single_column_is_still_a_row(tmp_path):
    write_table(tmp_path / "t.csv", {"id": np.array([5, None, 7], object)})
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv").values, [[5], [np.nan], [7]])


def test_big_endian_columns_are_written_right(tmp_path):
    for name in ("t.csv", "t.parquet", "t.npz"):
        write_table(tmp_path / name, {"a": np.array([1, 2], ">f8")})
        assert read_table(tmp_path / name).values.tolist() == [[1], [2]]


def test_write_csv_leaves_the_stream_open(tmp_path):
    stream = io.BytesIO()
    write_csv(stream, {"a,b": np.array([1])})
    stream.write(b"more")
    assert stream.getvalue() == b'"a,b"\n1\nmore'


def test_an_existing_file_is_not_overwritten_silently(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, {"a": np.array([1])})
    assert "--overwrite" in refusal(OutputError, path, {"a": np.array([2])}, call=write_table)
    assert path.read_text() == "a\n1\n"
    write_table(path, {"a": np.array([2])}, overwrite=True)
    assert path.read_text() == "a\n2\n"


def test_a_written_file_has_the_rights_that_the_umask_gives(tmp_path):
    write_table(tmp_path / "t.csv", {"a": np.array([1])})
    (tmp_path / "plain").touch()
    assert (tmp_path / "t.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_places_that_cannot_be_written_are_refused(tmp_path):
    column = {"a": np.array([1])}
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    for place in ("none/t.csv", "file/t.csv", "folder.csv", "x" * 300 + ".csv", "nul\0.csv", "t.txt"):
        refusal(OutputError, tmp_path / place, column, call=write_table, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_a_directory_without_the_right_to_write_is_refused(tmp_path, powerless_request):
    tmp_path.chmod(0o500)
    powerless_request()
    refusal(OutputError, tmp_path / "t.csv", {"a": np.array([1])}, call=write_table)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.npy", "t.npz"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path, monkeypatch, name, failure):
    def fail(_):
        raise failure

    path = tmp_path / name
    write_table(path, {"a": np.array([1.0])})
    before = path.read_bytes()
    monkeypatch.setattr("aetool.tables._writing.os.fsync", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
        write_table(path, {"a": np.array([2.0])}, overwrite=True)
    assert isinstance(caught.value, KeyboardInterrupt) or "No space left" in str(caught.value)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("t.npy", np.array(["x"])),
        ("t.npz", np.array([1, "x"], object)),
        ("t.parquet", np.array([1, "x"], object)),
        ("t.parquet", np.array([1], np.longdouble)),
    ],
)
def test_columns_that_a_format_cannot_hold_are_refused(tmp_path, name, column):
    refusal(OutputError, tmp_path / name, {"a": column}, call=write_table)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "columns", [{}, {"a": np.ones(2), "b": np.ones(3)}, {"a": np.ones((2, 2))}, {"a": np.array([1, "x"], object)}]
)
def test_columns_that_are_no_table_are_refused(tmp_path, columns):
    refusal(InputError, tmp_path / "t.csv", columns, call=write_table)
    assert not list(tmp_path.iterdir())


def test_a_gzip_is_the_same_bytes_every_time(tmp_path):
    for name in ("one.csv.gz", "two.csv.gz"):
        write_table(tmp_path / name, {"a": np.array([1])})
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert (tmp_path / "one.csv.gz").read_bytes()[4:8] == bytes(4)  # no time of writing
    assert gzip.decompress((tmp_path / "one.csv.gz").read_bytes()) == b"a\n1\n"
