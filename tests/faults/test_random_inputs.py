"""Whatever a caller passes: arrays of every kind, tables with every fault, manifests with any content."""

import gzip

import numpy as np
import pytest
from bundle_workers import EXPORTED, long_or
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import aetool
from aetool import AetoolError, InputError
from aetool.tables import read_table

many = settings(max_examples=long_or(75, 5000), deadline=None, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.filterwarnings("ignore")

DTYPES = (
    hnp.scalar_dtypes()
    | hnp.floating_dtypes(endianness="?")
    | hnp.integer_dtypes(endianness="?")
    | hnp.complex_number_dtypes()
    | hnp.byte_string_dtypes()
    | hnp.unicode_string_dtypes()
    | hnp.datetime64_dtypes()
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5) | st.tuples(
    st.integers(0, 70), st.just(30)
)
SPECIAL = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 5e-324, 3.4e38, 1e308, -1e308])


@st.composite
def arrays(draw):
    """Any array, often one of the right width, in any layout."""
    dtype, shape = draw(DTYPES), draw(SHAPES)
    array = draw(hnp.arrays(dtype, shape, fill=st.nothing() if np.prod(shape) < 50 else None))
    for change in draw(st.lists(st.sampled_from(sorted(LAYOUTS)), max_size=2)):
        array = LAYOUTS[change](array)
    if array.dtype.kind == "f" and array.size and array.flags.writeable:
        array[(0,) * array.ndim] = draw(SPECIAL)
    return array


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "reversed": lambda array: array[::-1] if array.ndim else array,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2] if array.ndim else array,
    "transposed": lambda array: array.T,
    "read-only": frozen,
    "masked": lambda array: np.ma.masked_array(array, mask=np.zeros(array.shape, bool)),
    "objects": lambda array: array.astype(object),
    "a list": lambda array: np.array([None], object) if array.ndim == 0 else array,
    "swapped bytes": lambda array: (
        array.astype(array.dtype.newbyteorder()) if array.dtype.kind in "iuf" else array
    ),
    "a record": lambda array: np.zeros(array.shape, [("a", "f4"), ("b", "U3")]),
}


@pytest.fixture(scope="module")
def model():
    return aetool.load(EXPORTED, provider="cpu")


@many
@given(data=arrays())
def test_any_array_gives_a_result_of_its_rows_or_an_input_error(model, data):
    try:
        scores, decisions = model.score(data), model.detect(data)
    except InputError as error:
        assert str(error).isprintable()
        return
    assert scores.dtype == np.float32 and scores.shape == decisions.shape
    assert scores.shape == data.shape[:-1] if data.size else scores.size == 0
    assert decisions[~np.isfinite(scores)].all()


CELLS = st.sampled_from(
    [
        "1",
        "-2.5",
        "1e400",
        "nan",
        "",
        " ",
        "NA",
        "abc",
        '"',
        '""',
        '"1,2"',
        '"a\nb"',
        "1;2",
        "é",
        "\0",
        "0x1F",
        "1_000",
        "٣",
        "True",
    ]
)
NAMES = st.sampled_from(["a", "b", "a", "", '"a"', '"x,y"', "é", " a", "1"])


@st.composite
def csv_files(draw):
    """Lines that may be ragged, quoted wrongly, mixed in type, under names that repeat; in any encoding."""
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t", "|"]))
    width = draw(st.sampled_from([0, 1, 2, 3, 3, 3, 10_000] if draw(st.booleans()) else [2, 3]))
    names = (
        draw(st.lists(NAMES, min_size=min(width, 5), max_size=min(width, 5)))
        if width < 10
        else [f"c{i}" for i in range(width)]
    )
    lines = [separator.join(names)]
    for _ in range(draw(st.integers(0, 4))):
        wide = width if draw(st.integers(0, 4)) else draw(st.integers(0, 5))
        cells = draw(st.lists(CELLS, min_size=min(wide, 5), max_size=min(wide, 5)))
        lines.append(separator.join(cells + ["1"] * (wide - len(cells))))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"])), "replace")
    return draw(st.sampled_from([content, content, content[: len(content) // 2], content + b"\xff"]))


@many
@given(content=csv_files(), packed=st.booleans())
def test_any_csv_file_is_a_table_or_an_error_in_printable_lines(tmp_path_factory, content, packed):
    path = tmp_path_factory.getbasetemp() / ("table.csv.gz" if packed else "table.csv")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    for options in ({}, {"categorical": ["auto"]}, {"label": "a"}):
        try:
            table = read_table(path, **options)
        except AetoolError as error:
            assert all(line.isprintable() for line in str(error).splitlines())
            continue
        assert table.values.shape[1] == len(table.names) and table.values.dtype == np.float64


@many
@given(data=st.data())
def test_any_damage_to_a_parquet_or_numpy_file_is_a_table_or_an_error_of_one_line(tmp_path_factory, data):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path_factory.getbasetemp() / f"table.{data.draw(st.sampled_from(['parquet', 'npy', 'npz']))}"
    columns = {"a": np.arange(50.0), "b": np.arange(50), "t": np.array(["x", "y"] * 25)}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".npy":
        np.save(path, columns["a"][:, None])
    else:
        np.savez(path, **columns)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 50))] = data.draw(st.binary(max_size=20))
        if len(content) < 2 or data.draw(st.integers(0, 3)) == 0:
            del content[data.draw(st.integers(0, len(content))) :]
            content += b"\0"
    path.write_bytes(content)
    try:
        read_table(path, categorical=["auto"])
    except AetoolError as error:
        assert len(str(error)) < 2000
