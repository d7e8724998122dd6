"""Tables in: which files are read, and as what."""

import datetime
import decimal
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_files import VALUES, npy, npz, refusal

from aetool.errors import InputError
from aetool.tables import fingerprint, read_table, table_from_columns, write_table


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


def test_fifty_thousand_rows_are_read_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=(50_000, 36))
    write_table(tmp_path / "t.csv", {f"f{i}": values[:, i] for i in range(36)})
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv").values, values)


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
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
