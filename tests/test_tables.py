"""Tables in and out: what is read, what is written, and what every damaged file says."""

import datetime
import decimal
import errno
import gzip
import io
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetool.errors import InputError, OutputError
from aetool.tables import fingerprint, read_rows, read_table, table_from_columns, write_csv, write_table

VALUES = np.array([[1.0, 2.5], [np.nan, -0.0], [np.inf, 1e300]])


@pytest.fixture
def save(tmp_path):
    """Write bytes to a file of that name, and give its path."""

    def write(content: bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def powerless():
    """Without the right to read what root owns, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy_header(shape, data=b"\0" * 48) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    return stream.getvalue() + data


def refusal(kind, *arguments, call=read_table, **options) -> str:
    """The message of the error, checked to be one line."""
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- what is read


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.npz", "T.CSV"])
def test_every_named_format_gives_the_same_table(tmp_path, name):
    write_table(tmp_path / name, {"a": VALUES[:, 0], "b": VALUES[:, 1]})
    table = read_table(tmp_path / name)
    assert table.names == ("a", "b") and len(table) == 3 and table.named
    assert table.values.dtype == np.float64 and table.values.flags.c_contiguous
    np.testing.assert_array_equal(table.values, VALUES)
    assert np.signbit(table.values[1, 1])


def test_columns_are_features_in_the_order_asked_for(save):
    table = read_table(save(b"a,b,c\n1,2,3\n"), columns=["c", "a"])
    assert table.names == ("c", "a") and table.values.tolist() == [[3, 1]]


def test_dropped_label_and_kept_columns_are_no_features(save):
    table = read_table(save(b"id,a,t,y\nx1,2,text,0\nx2,3,text,2\n"), drop=["t"], label="y", keep=["id"])
    assert table.names == ("a",)
    assert table.labels.tolist() == [False, True]
    assert table.kept["id"].tolist() == ["x1", "x2"]


def test_only_takes_what_a_model_needs_and_ignores_text(save):
    table = read_table(save(b"b,city,a\n1,Rome,2\n"), only=["a", "b"])
    assert table.names == ("a", "b") and table.values.tolist() == [[2, 1]]


def test_only_names_every_missing_column_and_the_nearest(save):
    message = refusal(InputError, save(b"Age,city\n1,Rome\n"), only=["age", "height", "Age"])
    assert "missing columns 'age' (nearest: 'Age'), 'height'" in message and "found 'Age', 'city'" in message


@pytest.mark.parametrize("option", ["columns", "drop", "keep", "label"])
def test_an_option_naming_an_absent_column_says_what_is_there(save, option):
    value = "aeg" if option == "label" else ["aeg"]
    message = refusal(InputError, save(b"age,x\n1,2\n"), **{option: value})
    assert f"'aeg' (nearest: 'age'), asked for by the option {option}" in message and "'x'" in message


def test_a_feature_that_is_also_left_out_is_refused(save):
    path = save(b"a,b\n1,2\n")
    assert "'a' in columns and in drop or label" in refusal(InputError, path, columns=["a"], drop=["a"])
    assert "'a' more than once" in refusal(InputError, path, columns=["a", "a"])
    assert "no feature columns are left" in refusal(InputError, path, drop=["a", "b"])


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["007", "8"], ["007", "8"]),
        (["7", "8"], [7, 8]),
        (["", "8"], ["", "8"]),
        (["1.50", "2"], ["1.50", "2"]),
        (["0.1", "2"], [0.1, 2.0]),
        (["2020-01-01", "x"], ["2020-01-01", "x"]),
        (["9007199254740993", "1"], [9007199254740993, 1]),
    ],
)
def test_kept_csv_columns_stay_what_they_say(save, cells, kept):
    table = read_table(save("id,a\n{},1\n{},2\n".format(*cells).encode()), keep=["id"])
    assert table.kept["id"].tolist() == kept


def test_kept_parquet_columns_keep_their_type(tmp_path):
    when = datetime.datetime(2020, 1, 1)
    columns = {"a": [1, 2], "s": ["x", None], "i": [2**53 + 1, None], "t": [when, when], "a.b": [3, 4]}
    coded = pa.array(["u", None]).dictionary_encode()
    pq.write_table(pa.table({**columns, "c": coded}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", keep=["s", "i", "t", "c"])
    assert table.names == ("a", "a.b")
    assert [table.kept[name].tolist() for name in "sic"] == [["x", None], [2**53 + 1, None], ["u", None]]
    assert table.kept["t"].dtype.kind == "M"


def test_parquet_numbers_of_every_kind_become_float64(tmp_path):
    columns = {
        "bool": [True, None],
        "decimal": [decimal.Decimal("1.5"), None],
        "null": pa.nulls(2),
        "big": [2**63 - 1, 0],
        "half": np.array([0.5, np.nan], np.float16),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    expected = [[1, 1.5, np.nan, 2.0**63, 0.5], [np.nan, np.nan, np.nan, 0, np.nan]]
    np.testing.assert_array_equal(read_table(tmp_path / "t.parquet").values, expected)


def test_an_unnamed_pandas_index_in_parquet_is_no_feature(tmp_path):
    pd.DataFrame({"a": [1, 2]}, index=[5, 6]).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").names == ("a",)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", [[1, 2]]),
        (b"a,b\n1,\n ,2\n", [[1, np.nan], [np.nan, 2]]),
        (b"a,b\nNaN,NA\n1,nan\n", [[np.nan, np.nan], [1, np.nan]]),
        (b"a,b\ninf,-inf\n", [[np.inf, -np.inf]]),
        (b"a,b\ntrue,False\n,True\n", [[1, 0], [np.nan, 1]]),
        (b'a,b\n"1","2"\n', [[1, 2]]),
        (b"a,b\r1,2\r3,4", [[1, 2], [3, 4]]),
        (b"a,b\n99999999999999999999,1e400\n", [[1e20, np.inf]]),
        (b"a,b", np.empty((0, 2))),
        (b"a,b\n", np.empty((0, 2))),
    ],
)
def test_csv_dialects_that_are_understood(save, content, values):
    table = read_table(save(content))
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(table.values, values)


def test_quoted_newlines_do_not_split_a_row(save):
    rows = b"".join(b'%d,"two\nlines"\n' % i for i in range(100_000))  # more than one block of Arrow's
    table = read_table(save(b"a,note\n" + rows), keep=["note"])
    assert len(table) == 100_000 and set(table.kept["note"]) == {"two\nlines"}


def test_rows_wider_than_a_block_are_read(save):
    header = ",".join(f"{i:01000}" for i in range(1_200))  # a block is 1 MiB
    table = read_table(save((header + "\n" + ",".join(["1"] * 1_200)).encode()))
    assert table.values.shape == (1, 1_200) and (table.values == 1).all()


def test_ten_thousand_columns_are_read(tmp_path):
    write_table(tmp_path / "t.csv", {f"f{i}": np.full(3, float(i)) for i in range(10_000)})
    table = read_table(tmp_path / "t.csv")
    assert (table.values == np.arange(10_000)).all() and table.names[-1] == "f9999"


def test_fifty_thousand_rows_read_in_well_under_a_second(tmp_path):
    values = np.random.default_rng(0).normal(size=(50_000, 36))
    write_table(tmp_path / "t.csv", {f"f{i}": values[:, i] for i in range(36)})
    times = []
    for _ in range(3):
        started = time.perf_counter()
        table = read_table(tmp_path / "t.csv")
        times.append(time.perf_counter() - started)
    np.testing.assert_array_equal(table.values, values)
    assert min(times) < 1.5  # 0.2 s on two idle cores


# ---- arrays without names


def test_the_same_numbers_as_npy_and_npz_align(save):
    one, two = read_table(save(npy(VALUES), "t.npy")), read_table(save(npz(X=VALUES), "t.npz"))
    assert one.names == two.names == ("X_0", "X_1") and not one.named and not two.named
    np.testing.assert_array_equal(one.align(two.names).values, VALUES)


def test_npy_order_and_byte_order_do_not_matter(save):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3)).astype(">f4")
    assert read_table(save(npy(array), "t.npy")).values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_npz_label_beside_a_matrix(save):
    table = read_table(save(npz(X=VALUES, y=np.array([0, 1, 0])), "t.npz"), label="y")
    assert table.names == ("X_0", "X_1") and table.labels.tolist() == [False, True, False] and not table.named


@pytest.mark.parametrize("extra", [{}, {"y": np.array([0, 1, 0])}])
def test_nameless_columns_match_a_model_by_position(save, extra):
    path = save(npz(X=VALUES, **extra), "t.npz")
    table = read_table(path, only=["age", "height"])
    assert table.names == ("age", "height") and table.named
    np.testing.assert_array_equal(table.values, VALUES)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["X_0"]])
def test_nameless_columns_of_another_width_are_refused(save, names):
    path = save(npy(VALUES), "t.npy")
    expected = f"{len(names)} columns expected, 2 found"
    assert expected in refusal(InputError, path, only=names)
    assert expected in refusal(InputError, names, call=read_table(path).align)


def test_an_id_kept_from_a_nameless_array_is_not_counted(save):
    table = read_table(save(npy([[7, 1, 2]]), "t.npy"), keep=["X_0"], only=["X_0", "X_1"])
    assert table.values.tolist() == [[1, 2]] and table.kept["X_0"].tolist() == [7]


def test_nameless_columns_with_the_model_s_own_names_match_by_name(save):
    assert read_table(save(npy([[1, 2]]), "t.npy"), only=["X_1", "X_0"]).values.tolist() == [[2, 1]]


def test_a_named_table_never_matches_by_position(save):
    assert "2 of its 2 columns are missing" in refusal(
        InputError, ["c", "d"], call=read_table(save(b"a,b\n1,2\n")).align
    )


# ---- the table


def test_select_slices_everything():
    table = table_from_columns(
        {"a": np.arange(4.0), "y": [0, 1, 0, 1], "id": list("wxyz")}, label="y", keep=["id"]
    )
    for rows in ([1, 3], np.array([False, True, False, True]), slice(1, None, 2)):
        part = table.select(rows)
        assert part.values.tolist() == [[1], [3]] and part.values.flags.c_contiguous
        assert part.labels.all() and part.kept["id"].tolist() == ["x", "z"]


def test_missing_counts_only_the_columns_that_miss_values():
    assert table_from_columns({"a": [1.0, np.nan], "b": [1.0, 2.0]}).missing() == {"a": 1}


def test_align_reorders_and_drops():
    table = table_from_columns({"a": [1.0, 4.0], "b": [2.0, 5.0], "c": [3.0, 6.0]}).align(["c", "a"])
    assert table.names == ("c", "a") and table.values.tolist() == [[3, 1], [6, 4]]
    assert table.values.flags.c_contiguous


def test_align_names_all_the_missing_columns():
    table = table_from_columns({"Age": [1.0], "b": [2.0]}, source="rows")
    message = refusal(InputError, ["age", "q"], call=table.align)
    assert "rows: missing columns 'age' (nearest: 'Age'), 'q'" in message


def test_a_pandas_frame_is_taken_as_it_is():
    frame = pd.DataFrame(
        {"i": pd.Series([1, None], dtype="Int64"), "b": pd.Series([True, None], dtype="boolean"), 3: [1.5, np.nan]}
    )
    frame["c"] = pd.Categorical(["x", "y"])
    table = table_from_columns(frame, keep=["c"])
    assert table.names == ("i", "b", "3") and table.kept["c"].tolist() == ["x", "y"]
    np.testing.assert_array_equal(table.values, [[1, 1, 1.5], [np.nan] * 3])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, "different lengths"),
        ({"a": np.ones((2, 2))}, "(rows,) is expected"),
        ({"a": np.array([1, "x"], object)}, "'a' (object)"),
        ({"a": np.array([1j])}, "'a' (complex128)"),
        ({"a": [[1], [1, 2]]}, "'a' (list<item: int64>)"),
        ({"a": [10**400]}, "'a'"),
        ({}, "no feature columns"),
    ],
)
def test_columns_in_memory_that_are_no_features_are_refused(columns, words):
    assert words in refusal(InputError, columns, call=table_from_columns)


def test_masked_values_are_missing():
    column = np.ma.masked_array([1, 2], [True, False])
    np.testing.assert_array_equal(table_from_columns({"a": column}).values, [[np.nan], [2]])


def test_fingerprint_sees_one_nan_in_every_nan():
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    plain = table_from_columns({"a": np.array([np.nan, np.nan])})
    assert fingerprint(table_from_columns({"a": odd})) == fingerprint(plain)


def test_fingerprint_tells_names_shape_and_values_apart_but_not_files(tmp_path):
    columns = {"a": VALUES[:, 0], "b": VALUES[:, 1]}
    table = table_from_columns(columns)
    for name in ("t.csv", "t.parquet", "t.npz"):
        write_table(tmp_path / name, columns)
        assert fingerprint(read_table(tmp_path / name)) == fingerprint(table)
    others = [
        table_from_columns({"a": VALUES[:, 0], "c": VALUES[:, 1]}),
        table_from_columns({"a": VALUES[:, 0], "b": VALUES[:, 1] + 1}),
        table.select([0, 1]),
        table.align(["b", "a"]),
    ]
    prints = {fingerprint(each) for each in [table, *others]}
    assert len(prints) == 5 and all(re.fullmatch("[0-9a-f]{64}", each) for each in prints)


# ---- what a wrong file says


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "npy", "npz"])
def test_missing_empty_and_foreign_files_and_directories_are_named(tmp_path, save, ending):
    assert "no such file" in refusal(InputError, tmp_path / f"none.{ending}")
    assert "is empty" in refusal(InputError, save(b"", f"empty.{ending}"))
    (tmp_path / f"folder.{ending}").mkdir()
    assert "directory" in refusal(InputError, tmp_path / f"folder.{ending}")
    assert "junk" in refusal(InputError, save(b"\xff\xfe\x00\x01" * 50, f"junk.{ending}"))
    assert "none" in refusal(InputError, f"none\0.{ending}")


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_a_file_without_the_right_to_read_it_is_refused(save, ending, powerless_request):
    path = save(b"a\n1\n", f"t.{ending}")
    path.chmod(0)
    powerless_request()
    assert "Permission denied" in refusal(InputError, path)


@pytest.fixture
def powerless_request(request):
    return lambda: request.getfixturevalue("powerless")


def test_an_unknown_ending_lists_the_known_ones(save):
    message = refusal(InputError, save(b"a\n1\n", "t.xlsx"))
    assert ".csv, .csv.gz, .parquet, .npy, .npz" in message


@pytest.mark.parametrize("name", ["t.parquet", "t.csv.gz", "t.npz", "t.npy"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_file_cut_short_is_refused(tmp_path, name, part):
    values = np.random.default_rng(0).normal(size=(200, 2))
    write_table(tmp_path / name, {"a": values[:, 0], "b": values[:, 1]})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    assert name in refusal(InputError, tmp_path / name)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_blows_up(tmp_path_factory, data):
    name = data.draw(st.sampled_from(["t.csv", "t.csv.gz", "t.parquet", "t.npy", "t.npz"]))
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    write_table(path, {"a": np.arange(20.0), "b": np.arange(20.0)}, overwrite=True)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_table(path)
    except InputError as error:
        assert str(path) in str(error)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".csv.gz", ".parquet", ".npy", ".npz"]))
def test_random_bytes_are_read_or_refused_but_never_blow_up(tmp_path_factory, content, ending):
    path = tmp_path_factory.getbasetemp() / f"random{ending}"
    path.write_bytes(content)
    try:
        read_table(path)
    except InputError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("cell", ["abc", "1_0", "12:30", "5%", "\0"])
def test_text_deep_in_a_number_column_names_the_cell(save, cell):
    rows = [*["1,2.5"] * 200_000, f"{cell},2", *["3,4"] * 10]  # past Arrow's first block
    message = refusal(InputError, save(("age,b\n" + "\n".join(rows)).encode()))
    assert message.endswith(
        f"data.csv: row 200001, column 'age': {cell!r} is not a number; "
        "mend the cell, or leave the column out with --drop age"
    )


def test_text_columns_are_all_named_with_both_remedies(save):
    path = save(b"a,city,my day\n1,Rome,2020-01-01\n2,Paris,2020-01-02\n")
    message = refusal(InputError, path)
    assert "'city' (text), 'my day' (date32[day])" in message
    assert "--drop 'city,my day'" in message and "--categorical 'city,my day'" in message
    of_network = refusal(InputError, path, call=read_rows)  # it takes numbers only
    assert "--drop 'city,my day'" in of_network and "--categorical" not in of_network


@pytest.mark.parametrize("model", [{"only": ["a", "b"]}, {"categories": {}}])
def test_of_a_model_s_columns_none_can_be_left_out(save, model):
    cell = refusal(InputError, save(b"a,b\n1,2\nx,3\n3,4\n"), **model)
    assert cell.endswith("row 2, column 'a': 'x' is not a number; mend the cell")
    assert "--drop" not in refusal(InputError, save(b"a,b\nx,2\ny,3\n"), **model)


def test_a_column_without_a_name_cannot_be_left_out_of_what_a_model_takes(save):
    path = save(b"a,\n1,2\n")
    assert refusal(InputError, path).endswith("name it, or leave it out with --drop ''")
    assert refusal(InputError, path, categories={}).endswith("name it")


def test_a_feature_of_the_model_cannot_be_its_label(save):
    message = refusal(InputError, save(b"a,b\n1,0\n"), only=["a", "b"], label="b")
    assert "'b' is a feature of this model and cannot be the label" in message and "missing" not in message


def test_a_table_with_few_of_the_model_s_columns_is_taken_for_another(save):
    wanted = ["fresh", "milk", "frozen", "grocery"]
    message = refusal(InputError, save(b"age,job,milk\n1,2,3\n"), only=wanted)
    assert "looks like another table than the model was trained on: 3 of its 4 columns are missing" in message
    assert "'fresh', 'frozen', 'grocery'; found 'age', 'job', 'milk'" in message
    renamed = refusal(InputError, save(b"FRESH,MILK,FROZEN,GROCERY\n1,2,3,4\n"), only=wanted)
    assert "'fresh' (nearest: 'FRESH')" in renamed and renamed.endswith("correct the names")


def test_parquet_columns_that_are_no_numbers_are_named_with_their_type(tmp_path):
    columns = {"t": [datetime.datetime.now()], "l": [[1]], "s": [{"x": 1}], "b": [b"x"], "c": ["x"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    message = refusal(InputError, tmp_path / "t.parquet")
    for words in ("'t' (timestamp[us])", "'l' (list<", "'s' (struct<", "'b' (binary)", "'c' (text)"):
        assert words in message


@pytest.mark.parametrize("options", [{}, {"keep": ["name"]}, {"label": "name"}])
def test_a_cell_that_is_not_utf_8_is_named(save, options):
    path = save("a,name\n1,x\n2,caf\xe9\n".encode("latin-1"))
    assert "row 2, column 'name': b'caf\\xe9' is not UTF-8" in refusal(InputError, path, **options)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_header_that_is_not_utf_8_is_refused_with_the_remedy(save, encoding):
    assert "save the file as UTF-8" in refusal(InputError, save("caf\xe9,b\n1,2\n3,4\n".encode(encoding)))


@pytest.mark.parametrize("row", [b"1,2,3", b"1", b'"1,2'])
def test_a_ragged_row_is_named_with_its_width(save, row):
    found = {b"1,2,3": 3}.get(row, 1)
    message = refusal(InputError, save(b"a,b\n" + b"1,2\n" * 300_000 + row + b"\n"))
    assert f"row 300001: {found} columns found, 2 expected" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b,a\n1,2,3\n", "repeated column names 'a'"),
        (b",a\n0,1\n", "column 1 has no name"),
        (b"a;b\n1;2\n", "parted by ';'"),
        (b"\0\0\0\0", "NUL"),
    ],
)
def test_csv_headers_that_cannot_be_used(save, content, words):
    assert words in refusal(InputError, save(content))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["attack", "normal"], "'y' holds text ('attack', 'normal'), not numbers: map the labels to 0"),
        (["1", ""], "row 2: no label in column 'y'"),
        (["1", "0", "?"], "row 3, column 'y': '?' is not a number"),
        (["", ""], "row 1: no label"),
    ],
)
def test_labels_that_are_not_numbers_are_refused(save, cells, words):
    content = "a,y\n" + "".join(f"1,{cell}\n" for cell in cells)
    assert words in refusal(InputError, save(content.encode()), label="y")


def test_parquet_with_repeated_names_is_refused(tmp_path):
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    assert "repeated column names 'a'" in refusal(InputError, tmp_path / "t.parquet")


@pytest.mark.parametrize("shape", [(10**12, 10**6), (10**30, 10), (-2, -3), (0, 10**12), (7, 1)])
def test_a_header_that_promises_more_than_the_file_holds_costs_no_memory(save, shape):
    content = npy_header(shape)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("X.npy", content)
    for path in (save(content, "t.npy"), save(stream.getvalue(), "t.npz")):
        message = refusal(InputError, path)
        assert "header tells of shape" in message or min(shape) <= 0


def test_pickled_arrays_are_never_loaded(save):
    array = np.array([[1, None]], object)
    assert "Python objects" in refusal(InputError, save(npy(array, allow_pickle=True), "t.npy"))
    assert "Python objects" in refusal(InputError, save(npz(X=array), "t.npz"))


def test_arrays_that_are_no_table_are_refused(save):
    assert "shape (3,) found, (rows, columns) expected" in refusal(InputError, save(npy([1, 2, 3]), "t.npy"))
    assert "'cube' has shape (1, 1, 1)" in refusal(InputError, save(npz(cube=np.ones((1, 1, 1))), "t.npz"))
    assert "different lengths" in refusal(InputError, save(npz(X=VALUES, y=[1]), "t.npz"))
    assert "repeated column names 'X_0'" in refusal(InputError, save(npz(X=VALUES, X_0=[1, 2, 3]), "t.npz"))
    assert "'y' (text)" in refusal(InputError, save(npz(X=VALUES, y=["a", "b", "c"]), "t.npz"))


# ---- writing

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
CELLS = {
    np.float64: st.floats(width=64),
    np.float32: st.floats(width=32),
    np.float16: st.floats(width=16),
    np.int64: st.integers(-(2**63), 2**63 - 1),
    np.bool_: st.booleans(),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        kind = draw(st.sampled_from(list(CELLS)))
        columns[name] = np.array(draw(st.lists(CELLS[kind], min_size=rows, max_size=rows)), kind)
    return columns


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".npz"])
@settings(max_examples=50, deadline=None)
@given(columns=tables())
def test_what_is_written_reads_back_exactly(tmp_path_factory, ending, columns):
    if len(columns) == 1 and ending.startswith(".csv") and re.search(r"[;\t|]", next(iter(columns))):
        return  # taken for another separator
    path = tmp_path_factory.getbasetemp() / f"round{ending}"
    write_table(path, columns, overwrite=True)
    table = read_table(path)
    assert table.names == tuple(columns)
    for index, column in enumerate(columns.values()):
        found = table.values[:, index]  # the text of a float32 is exact for a float32
        np.testing.assert_array_equal(
            found.astype(column.dtype) if column.dtype.kind == "f" else found, column * 1.0
        )


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
    kept = read_table(path, keep=["id"]).kept["id"]
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
    monkeypatch.setattr("aetool.tables.writing.os.fsync", fail)
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


# ---- without pyarrow


def test_without_pyarrow_arrays_work_and_csv_names_the_extra(tmp_path):
    program = """
import sys
sys.modules["pyarrow"] = None
import numpy as np
from aetool.errors import DependencyError
from aetool.tables import read_table, table_from_columns, write_table
write_table("t.npz", {"a": np.ones(2), "b": np.zeros(2)})
write_table("t.npy", {"a": np.ones(2), "b": np.zeros(2)})
assert read_table("t.npz").names == ("a", "b") and read_table("t.npy").names == ("X_0", "X_1")
assert table_from_columns({"a": [1, 2]}).values.tolist() == [[1], [2]]
for job in (lambda: read_table("t.csv"), lambda: write_table("t.parquet", {"a": np.ones(2)})):
    try:
        job()
    except DependencyError as error:
        assert "with the extra 'tables'" in str(error) and error.extra == "tables"
    else:
        raise SystemExit("no error")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)


def test_a_gzip_is_the_same_bytes_every_time(tmp_path):
    for name in ("one.csv.gz", "two.csv.gz"):
        write_table(tmp_path / name, {"a": np.array([1])})
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert (tmp_path / "one.csv.gz").read_bytes()[4:8] == bytes(4)  # no time of writing
    assert gzip.decompress((tmp_path / "one.csv.gz").read_bytes()) == b"a\n1\n"
