"""Categories of tables: text and codes to indexes, whatever the table is kept in."""

import decimal
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetool.errors import InputError
from aetool.runtime.categories import MISSING, as_text, factorise, to_indexes, to_names
from aetool.tables import fingerprint, read_table, table_from_columns, write_table
from aetool.tables.columns import MAX_CATEGORIES

CSV = "job,age,region\nclerk,31,1\nnurse,40,2\n,50,\nclerk,60,10\n"


@pytest.fixture
def save(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_text_comes_back_from_its_index(cells):
    categories = sorted({text for cell in cells if (text := as_text(cell)) is not None})
    indexes = to_indexes(cells, categories, "cells")
    names = to_names(indexes, categories)
    for cell, index, name in zip(cells, indexes, names, strict=True):
        assert (math.isnan(index) and name == "") if cell.strip() in MISSING else name == as_text(cell)
        assert as_text(str(name)) in (name, None)  # a category is its own text


@given(st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, width=32)))
def test_a_number_is_one_category_in_every_type(number):
    texts = {as_text(number), as_text(float(number)), as_text(np.float64(number)), as_text(str(as_text(number)))}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([1, 1.0, "1", "1.0", " 1 ", np.int8(1), np.float32(1), decimal.Decimal("1.0")], "1"),
        ([True, "True", "true", "TRUE", np.True_], "true"),
        ([-0.0, 0, "-0", "0.0"], "0"),
        ([np.float32(1.1), 1.1, "1.1"], "1.1"),
        (["007"], "007"),
        ([None, float("nan"), "", "  ", "NA", "nan", pd.NA, pd.NaT], None),
    ],
)
def test_what_counts_as_one_category(cells, text):
    assert {as_text(cell) for cell in cells} == {text}


@pytest.mark.parametrize(
    "column",
    [
        ["b", None, "x", "a"],
        np.array(["b", "", "x", "a"]),
        np.array([b"b", b"", b"x", b"a"]),
        np.array(["b", None, "x", "a"], object),
        np.ma.MaskedArray(["b", "a", "x", "a"], [False, True, False, False]),
        pd.Series(["b", None, "x", "a"]),
        pd.Series(["b", None, "x", "a"], dtype="string"),
        pd.Series(["b", None, "x", "a"], dtype="category"),
        pa.array(["b", None, "x", "a"]),
        pa.chunked_array([["b", None], ["x", "a"]]),
        pa.array(["b", None, "x", "a"]).dictionary_encode(),
    ],
    ids=lambda column: type(column).__name__,
)
def test_columns_of_every_kind_give_the_same_indexes(column):
    np.testing.assert_array_equal(to_indexes(column, ["a", "b"], "column"), [1, np.nan, -1, 0])


@pytest.mark.parametrize(
    "column", [[[1], [2, 3]], ["a", ["b"]], [b"a", object()]], ids=["lists", "a list", "bytes"]
)
def test_cells_that_are_no_text_are_refused(column):
    with pytest.raises(InputError, match="column 'job'"):
        factorise(column, "column 'job'")


def test_categories_are_the_sorted_distinct_texts(save):
    table = read_table(save(CSV), categorical=["job", "region"])
    assert table.categories == {"job": ("clerk", "nurse"), "region": ("1", "10", "2")}
    expected = [[0, 31, 0], [1, 40, 2], [np.nan, 50, np.nan], [0, 60, 1]]
    np.testing.assert_array_equal(table.values, expected)


def test_auto_takes_text_and_leaves_numbers(save):
    assert read_table(save(CSV), categorical="auto").categories == {"job": ("clerk", "nurse")}
    both = read_table(save(CSV), categorical=["auto", "region"])
    assert set(both.categories) == {"job", "region"}
    bools = read_table(save("a,b\nTrue,1\nfalse,0\n"), categorical="auto")
    assert bools.categories == {"a": ("false", "true")}
    np.testing.assert_array_equal(bools.values, [[1, 1], [0, 0]])


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "npz"])
def test_every_format_gives_the_same_table(tmp_path, ending):
    columns = {"job": np.array(["b", "a", "b"]), "n": np.arange(3.0), "code": np.array([7, 7, 30])}
    path = tmp_path / f"t.{ending}"
    write_table(path, columns)
    found = read_table(path, categorical=["job", "code"])
    assert fingerprint(found) == fingerprint(table_from_columns(columns, categorical=["auto", "code"]))
    assert fingerprint(found) != fingerprint(
        table_from_columns({**columns, "job": ["c", "a", "c"]}, categorical="auto")
    )


def test_a_models_categories_are_looked_up_in_any_order_of_columns(save):
    known = {"job": ("clerk", "pilot"), "region": ("1", "2")}
    path = save("region,x,job,age\n1.0,7,pilot,1\n3,7,nurse,2\nNA,7,,3\n01,7,clerk ,4\n")
    table = read_table(path, only=["job", "age", "region"], categories=known)
    assert table.categories == known
    np.testing.assert_array_equal(table.values, [[1, 1, 0], [-1, 2, -1], [np.nan, 3, np.nan], [0, 4, -1]])


def test_an_array_file_is_looked_up_by_place(tmp_path):
    np.save(tmp_path / "t.npy", [[5, 1.5], [7, 2.5]])
    table = read_table(tmp_path / "t.npy", only=["code", "x"], categories={"code": ("5", "6")})
    np.testing.assert_array_equal(table.values, [[0, 1.5], [-1, 2.5]])


def test_align_and_select_keep_categories(save):
    table = read_table(save(CSV), categorical=["job", "region"]).align(["region", "age"]).select([0, 1])
    assert table.categories == {"region": ("1", "10", "2")}


def test_text_without_the_option_names_both_remedies(save):
    with pytest.raises(InputError, match=r"'job' \(text\).*--drop job.*--categorical job"):
        read_table(save(CSV))
    with pytest.raises(InputError, match=r"--categorical 'a,\"b,c\"'"):
        read_table(save('a,"b,c"\nred,green\n'))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": ["jobs"]}, "nearest: 'job'"),
        ({"categorical": ["job"], "drop": ["job"]}, "'job' in categorical, but no feature"),
        ({"categorical": ["job"], "label": "job"}, "'job' in categorical, but no feature"),
        ({"categorical": ["job"], "columns": ["age"]}, "'job' in categorical, but no feature"),
    ],
)
def test_names_that_cannot_hold_categories_are_refused(save, options, message):
    with pytest.raises(InputError, match=message):
        read_table(save(CSV), **options)


def test_too_many_categories_or_none_are_refused_by_name():
    names = [f"n{i}" for i in range(MAX_CATEGORIES + 1)]
    with pytest.raises(InputError, match="column 'id' holds 1,001 categories"):
        table_from_columns({"id": names, "x": range(len(names))}, categorical="id")
    assert len(table_from_columns({"id": names[1:]}, categorical="id").categories["id"]) == MAX_CATEGORIES
    with pytest.raises(InputError, match="column 'id' holds 0 categories"):
        table_from_columns({"id": [None, ""], "x": [1, 2]}, categorical=["id"])


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(InputError, match="column 'a' holds half"):
        table_from_columns({"a": np.array(["x", "\ud800"], object)}, categorical=["a"])


def test_auto_refuses_text_of_which_nearly_every_row_has_its_own():
    columns = {"id": [f"n{i}" for i in range(40)], "kind": ["a", "b"] * 20, "x": range(40)}
    with pytest.raises(InputError, match=r"'id' .text, nearly every row its own.; leave it out with --drop id$"):
        table_from_columns(columns, categorical="auto")
    assert table_from_columns(columns, categorical="auto", drop="id").categories == {"kind": ("a", "b")}


def test_cells_that_are_none_of_a_models_categories_keep_their_text(save):
    categories = {"job": ("clerk", "nurse"), "region": ("1", "2")}
    table = read_table(save(CSV), only=["job", "region"], categories=categories)
    assert {name: texts.tolist() for name, texts in table.unseen.items()} == {"region": ["", "", "", "10"]}
    assert table.select([3, 0]).unseen["region"].tolist() == ["10", ""]
    assert table.align(["region"]).unseen.keys() == {"region"} and table.align(["job"]).unseen == {}
