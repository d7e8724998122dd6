"""Columns by name: any order, extra ones ignored, missing ones named with the nearest match."""

import numpy as np
import pytest

from aetool import InputError


class DuckTable:
    """As little of a data frame as there can be: polars has this much."""

    def __init__(self, columns):
        self.data = columns

    @property
    def columns(self):
        return list(self.data)

    def __getitem__(self, name):
        return self.data[name]


class DuckArrow(DuckTable):
    @property
    def column_names(self):
        return list(self.data)

    columns = property(lambda self: [["values"], ["without", "names"]])


class DuckRow:
    """One row of a pandas frame: keys() are the names."""

    def __init__(self, columns):
        self.data = {name: values[0] for name, values in columns.items()}

    def keys(self):
        return self.data.keys()

    def __getitem__(self, name):
        return self.data[name]


@pytest.fixture
def columns(model, rows):
    shuffled = np.random.default_rng(3).permutation(model.n_features)
    return {"id": ["a"] * len(rows), **{model.feature_names[i]: rows[:, i] for i in shuffled}, "extra": rows[:, 0]}


def structured(columns):
    names = [name for name in columns if name != "id"]
    table = np.zeros(len(columns["extra"]), [(name, ">f8") for name in names])
    for name in names:
        table[name] = columns[name]
    return table


TABLES = {
    "dict": dict,
    "dict of lists": lambda c: {name: list(values) for name, values in c.items()},
    "duck table": DuckTable,
    "duck Arrow": DuckArrow,
    "structured array": structured,
    "record array": lambda c: structured(c).view(np.recarray),
    "masked columns": lambda c: {n: v if n == "id" else np.ma.array(v) for n, v in c.items()},
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("method", ["encode", "reconstruct", "score", "detect"])
def test_columns_are_matched_by_name_and_extra_ones_ignored(model, rows, columns, make, method):
    np.testing.assert_array_equal(getattr(model, method)(make(columns)), getattr(model, method)(rows))


def test_missing_columns_are_listed_with_the_nearest_match(model, columns):
    columns["mean_radius"] = columns.pop("mean radius")
    del columns["worst area"]
    for table in (columns, DuckTable(columns), structured(columns)):
        with pytest.raises(InputError) as caught:
            model.score(table)
        message = str(caught.value)
        assert "'mean radius' (nearest: 'mean_radius')" in message
        assert "'worst area'" in message
        assert "'mean texture'" not in message
        assert message.isprintable()


def test_a_table_of_other_columns_does_not_list_them_all(model):
    with pytest.raises(InputError, match="and 20 more"):
        model.score({f"column {i}": [1.0] for i in range(50_000)})


def test_scalars_by_name_are_one_row(model, rows, columns):
    one = {name: values[0] for name, values in columns.items()}
    for row in (one, DuckRow(columns), structured(columns)[0]):
        found = model.encode(row)
        assert found.shape == (120,)
        np.testing.assert_array_equal(found, model.encode(rows[0]))


def test_columns_of_no_rows_give_no_results(model, columns):
    assert model.score({name: [] for name in columns}).shape == (0,)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["a", "b"], "column 'mean area'"),
        ([1.0, {}], "dict"),
        ([1.0], "equally long"),
        ([[1.0], [2.0]], "one-dimensional"),
        (2.0, "equally long"),
        (np.array(["2020-01-01"] * 2, "M8[D]"), "datetime64"),
    ],
)
def test_an_unusable_column_is_named(model, columns, values, named):
    two = {name: values[:2] for name, values in columns.items()} | {"mean area": values}
    with pytest.raises(InputError, match=named):
        model.score(two)


def test_none_and_pandas_na_are_missing_everywhere(model, columns):
    pandas = pytest.importorskip("pandas")
    two = {name: [float(value) for value in columns[name][:2]] for name in model.feature_names}
    expected = model.score({**two, "mean area": [two["mean area"][0], float("nan")]})
    assert np.isfinite(expected[0]) and np.isnan(expected[1])
    for missing in (None, pandas.NA):
        holed = {**two, "mean area": [two["mean area"][0], missing]}
        by_row = [dict(zip(holed, row, strict=True)) for row in zip(*holed.values(), strict=True)]
        without = [by_row[0], {name: value for name, value in by_row[1].items() if name != "mean area"}]
        plain = [list(row.values()) for row in by_row]
        for data in (holed, by_row, without, plain):
            np.testing.assert_array_equal(model.score(data), expected)


def test_rows_as_json_gives_them_are_matched_by_name(model, columns):
    names = model.feature_names[::-1]
    rows = [{name: float(columns[name][i]) for name in names} for i in range(2)]
    np.testing.assert_array_equal(model.score(rows), model.score(columns)[:2])
    with pytest.raises(InputError, match="expected one dict a row, found list in row 1"):
        model.score([rows[0], [1.0]])


def test_the_cell_that_is_no_number_is_named(model, columns):
    texts = [str(value) for value in columns["mean area"]]
    texts[1] = "abc"
    with pytest.raises(InputError, match="column 'mean area': expected real numbers, found str 'abc' in row 1,"):
        model.score({**columns, "mean area": np.array(texts, object)})


def test_a_table_that_only_numbers_its_columns_is_taken_by_position(model, rows):
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(model.score(pandas.DataFrame(rows)), model.score(rows))


@pytest.fixture
def frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def test_pandas_frames_and_rows_of_them(model, rows, frame):
    np.testing.assert_array_equal(model.score(frame), model.score(rows))
    np.testing.assert_array_equal(model.encode(frame.iloc[0]), model.encode(rows[0]))
    np.testing.assert_array_equal(model.score(frame.iloc[::-1]), model.score(rows[::-1]))
    assert model.score(frame.iloc[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", ["Float32", "Float64", "Int64", "boolean", "float[pyarrow]", "int64[pyarrow]"])
def test_pandas_own_dtypes_and_their_nulls(model, frame, dtype):
    pandas = pytest.importorskip("pandas")
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    name = "mean area"
    plain = frame.drop(columns="id").astype(np.float32)
    plain[name] = (plain[name] > 500).astype(np.float32) if dtype == "boolean" else plain[name].round()
    typed = plain.astype({name: dtype})
    np.testing.assert_array_equal(model.score(typed), model.score(plain))
    typed.loc[3, name] = pandas.NA
    plain.loc[3, name] = np.nan
    np.testing.assert_array_equal(model.score(typed), model.score(plain))


def test_pandas_categories_of_numbers_and_text(model, frame):
    pandas = pytest.importorskip("pandas")
    expected = model.score(frame)
    frame["mean area"] = pandas.Categorical(frame["mean area"])
    np.testing.assert_array_equal(model.score(frame), expected)
    for text in (pandas.Categorical(["high"] * len(frame)), ["high"] * len(frame)):
        frame["mean area"] = text
        with pytest.raises(InputError, match=r"column 'mean area'.*'high'"):
            model.score(frame)


def test_a_column_that_stands_twice_is_refused(model, frame):
    pandas = pytest.importorskip("pandas")
    twice = pandas.concat([frame, frame[["mean area"]]], axis=1)
    with pytest.raises(InputError, match="duplicate columns: 'mean area'"):
        model.score(twice)
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_pandas(frame)
    with pytest.raises(InputError, match="duplicate columns: 'mean area'"):
        model.score(table.append_column("mean area", table["mean area"]))


def test_arrow_tables_batches_and_nulls(model, rows, columns):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(columns)
    expected = model.score(rows)
    for form in (table, table.to_batches()[0], pyarrow.concat_tables([table.slice(0, 7), table.slice(7)])):
        np.testing.assert_array_equal(model.score(form), expected)
    spoilt = rows.copy()
    spoilt[2, 3] = np.nan
    name = model.feature_names[3]
    values = [None if i == 2 else float(v) for i, v in enumerate(rows[:, 3])]
    place = table.column_names.index(name)
    for kind in (pyarrow.float32(), pyarrow.float64(), pyarrow.decimal128(38, 20)):
        column = pyarrow.array(values, pyarrow.float64()).cast(kind, safe=False)
        found = model.score(table.set_column(place, name, column))
        np.testing.assert_allclose(found, model.score(spoilt), rtol=1e-6)
    with pytest.raises(InputError, match=f"column '{name}'"):
        model.score(table.set_column(place, name, pyarrow.array(["a"] * len(rows))))


def test_rows_for_elsewhere_are_what_the_graphs_take(model, rows, columns):
    found = model.to_rows(columns)
    assert (found.dtype, found.shape) == (np.float32, rows.shape)
    np.testing.assert_array_equal(found, rows)
    assert model.to_rows(found) is found
    with pytest.raises(InputError, match=r"expected shape \(rows, 30\)"):
        model.to_rows(rows[:, :5])


class LazyFrame:
    """What polars' is to a caller: names at once, rows when collected."""

    columns = ("mean radius",)

    def __init__(self, rows):
        self.rows = rows

    def __getitem__(self, name):
        raise TypeError("LazyFrame is not subscriptable")

    def collect(self):
        return self.rows


class SparkFrame(LazyFrame):
    """pyspark's: `collect` gives objects, `toPandas` a table."""

    def toPandas(self):  # noqa: N802
        return self.rows


class DaskArray:
    """dask's: computes itself once, when it is asked for an array."""

    def __init__(self, rows, lazy=True):
        self.rows, self.lazy = rows, lazy

    def __array__(self, dtype=None, copy=None):
        return self.rows

    def __dask_graph__(self):
        return {} if self.lazy else None

    def compute(self):
        return self.rows


class DaskFrame(DaskArray):
    """dask's: every column that is asked for computes the whole."""

    columns = ("mean radius",)


class Delayed:
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        raise TypeError("Delayed objects of unspecified length are not iterable")

    def compute(self):
        return self.rows


def rows_again(rows):
    yield from rows


LAZY = {
    "LazyFrame": (LazyFrame, r"call \.collect\(\) first", lambda lazy: lazy.collect()),
    "pyspark": (SparkFrame, r"call \.toPandas\(\) first", lambda lazy: lazy.toPandas()),
    "dask": (DaskFrame, r"call \.compute\(\) first", lambda lazy: lazy.compute()),
    "delayed": (Delayed, r"call \.compute\(\) first", lambda lazy: lazy.compute()),
    "generator": (rows_again, "give a list of them", list),
    "map": (lambda rows: map(list, rows), "give a list of them", list),
}


@pytest.mark.parametrize(("make", "remedy", "follow"), LAZY.values(), ids=LAZY)
def test_what_is_computed_later_is_refused_with_a_remedy_that_works(model, rows, make, remedy, follow):
    for method in (model.score, model.reasons, model.to_rows):
        with pytest.raises(
            InputError, match=rf"^features: expected rows, found \w+, which holds none.*; {remedy}$"
        ):
            method(make(rows))
    np.testing.assert_array_equal(model.score(follow(make(rows))), model.score(rows))


def test_what_computes_itself_once_when_asked_for_an_array_is_taken(model, rows):
    for taken in (DaskArray(rows), DaskArray(rows, lazy=False)):  # xarray's may hold either
        np.testing.assert_array_equal(model.score(taken), model.score(rows))


def test_groups_and_windows_of_pandas_are_not_rows(model, rows):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(rows, columns=list(model.feature_names))
    for grouped in (table.groupby("mean radius"), table.rolling(3), table["mean radius"].groupby([0] * len(rows))):
        with pytest.raises(InputError, match="give the table itself"):
            model.score(grouped)
    assert model.score(table).shape == (len(rows),)


def test_a_dataset_of_arrow_is_refused_with_a_remedy_that_works(model, rows):
    dataset = pytest.importorskip("pyarrow.dataset")
    pa = pytest.importorskip("pyarrow")
    table = pa.table({name: rows[:, i] for i, name in enumerate(model.feature_names)})
    lazy = dataset.dataset(table)
    with pytest.raises(InputError, match=r"call \.to_table\(\) first"):
        model.score(lazy)
    np.testing.assert_array_equal(model.score(lazy.to_table()), model.score(rows))


def test_a_table_that_fails_to_give_a_column_is_an_input_error(model):
    class Broken(dict):
        def __getitem__(self, name):
            raise RuntimeError("the connection is closed")

    with pytest.raises(
        InputError, match=r"column 'mean radius': Broken does not give it \(the connection is closed\)"
    ):
        model.score(Broken.fromkeys(model.feature_names, 1.0))
