"""What every wrong or damaged file says."""

import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_files import VALUES, npy, npy_header, npz, refusal

from aetool.errors import InputError
from aetool.tables import Reading, read_rows, read_table, write_table


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "npy", "npz"])
def test_missing_empty_and_foreign_files_and_directories_are_named(tmp_path, save, ending):
    assert "no such file" in refusal(InputError, tmp_path / f"none.{ending}")
    assert "is empty" in refusal(InputError, save(b"", f"empty.{ending}"))
    (tmp_path / f"folder.{ending}").mkdir()
    assert "directory" in refusal(InputError, tmp_path / f"folder.{ending}")
    assert "junk" in refusal(InputError, save(b"\x01\xfe\x02" * 50, f"junk.{ending}"))
    assert "none" in refusal(InputError, f"none\0.{ending}")


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_a_file_without_the_right_to_read_it_is_refused(save, ending, powerless_request):
    path = save(b"a\n1\n", f"t.{ending}")
    path.chmod(0)
    powerless_request()
    assert "Permission denied" in refusal(InputError, path)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"PK\x03\x04", "Excel"),
        (b"\xd0\xcf\x11\xe0", "old Excel"),
        (b"ARROW1", "Feather"),
        (b"\x89HDF", "HDF5"),
        (b"\x80\x04\x95", "pickle"),
    ],
)
@pytest.mark.parametrize("name", ["t.xlsx", "t.bin", "t.csv", "t"])
def test_a_file_of_another_kind_is_called_by_its_name_with_the_remedy(save, start, words, name):
    message = refusal(InputError, save(start + bytes(100), name))
    assert (words in message and "as CSV" in message) or "as Parquet" in message


def test_what_a_file_holds_counts_where_its_ending_is_unknown(save, tmp_path):
    pq.write_table(pa.table({"a": [1.0], "b": [2.0]}), tmp_path / "t.parq")
    for path in (tmp_path / "t.parq", save(npy([[1.0, 2.0]]), "t.array"), save(b"a,b\n1,2\n", "export.log")):
        assert read_table(path).values.tolist() == [[1, 2]]
    assert "convert it" in refusal(InputError, save(b'[{"a": 1}]', "t.json"))


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


@pytest.mark.parametrize("cell", ["abc", "1_0", "12:30", "\0"])
def test_text_deep_in_a_number_column_names_the_cell(save, cell):
    rows = [*["1,2.5"] * 200_000, f"{cell},2", *["3,4"] * 10]  # past Arrow's first block
    message = refusal(InputError, save(("age,b\n" + "\n".join(rows)).encode()))
    assert f"data.csv: row 200,001, column 'age': {cell!r} is not a number; fix the cell, or " in message
    assert "leave it out with --drop age" in message and "--categorical auto,age" in message


def test_text_columns_are_all_named_with_both_remedies(save):
    path = save(b"a,city,my size\n1,Rome,large\n2,Paris,small\n")
    message = refusal(InputError, path)
    assert "'city' (text), 'my size' (text)" in message
    assert "--drop 'city,my size'" in message and "--categorical 'city,my size'" in message
    of_network = refusal(InputError, path, call=read_rows)  # it takes numbers only
    assert "--drop 'city,my size'" in of_network and "--categorical" not in of_network


@pytest.mark.parametrize("model", [{"only": ["a", "b"]}, {"categories": {}}])
def test_of_a_model_s_columns_none_can_be_left_out(save, model):
    cell = refusal(InputError, save(b"a,b\n1,2\nx,3\n3,4\n"), **model)
    assert cell.endswith("row 2, column 'a': 'x' is not a number; fix the cell")
    assert "--drop" not in refusal(InputError, save(b"a,b\nx,2\ny,3\n"), **model)


def test_a_column_without_a_name_cannot_be_left_out_of_what_a_model_takes(save):
    path = save(b"a,,c\n1,2,3\n")
    assert refusal(InputError, path).endswith("name it, or leave it out with --drop ''")
    assert refusal(InputError, path, categories={}).endswith("name it")
    assert read_table(path, drop=[""]).values.tolist() == [[1, 3]]


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
    columns = {"l": [[1]], "s": [{"x": 1}], "b": [b"x"], "c": ["x"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError) as raised:
        read_table(tmp_path / "t.parquet")
    message = str(raised.value)
    for words in ("try --categorical c --drop l,s,b", "'l' (list<", "'s' (struct<", "'b' (binary)", "'c' (text)"):
        assert words in message


@pytest.mark.parametrize("name", ["\u0433\u043e\u0440\u043e\u0434", "\u6e29\u5ea6"])
def test_an_encoding_in_doubt_shows_the_cell_and_the_option(save, name):
    path = save(f"a,{name}\n1,2\n3,4\n".encode("gb18030"))
    message = refusal(InputError, path)
    assert "line 1: b'" in message and "is not UTF-8" in message and "--encoding cp1251" in message
    assert read_table(path, reading=Reading(encoding="gb18030")).names == ("a", name)


def test_a_stray_byte_in_a_text_of_utf_8_is_named(save):
    path = save("a,name\n1,caf\xe9\n2,".encode() + b"caf\xe9\n")
    message = refusal(InputError, path, categorical=["name"])
    assert "line 3: b'caf\\xe9' is not UTF-8, while other cells are" in message
    assert read_table(path, columns=["a"]).values.tolist() == [[1], [2]]  # nobody needs the other column


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
        (b",a\n7,1\n", "column 1 has no name"),
        (b"a;b,c\nx;y,z\n", "may separate its columns"),
        (b"\0\0\0\0", "NUL"),
    ],
)
def test_csv_headers_that_cannot_be_used(save, content, words):
    assert words in refusal(InputError, save(content))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["M", "B"], "'y' holds 'M' (1 rows), 'B' (1 rows); say which are normal with --normal M"),
        (["1", ""], "row 2: no label in column 'y'"),
        (["1", "0", "?"], "row 3: no label in column 'y'"),
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
