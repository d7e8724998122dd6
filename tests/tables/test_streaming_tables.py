"""`read_batches`: what it reads is what `read_table` reads, however it is cut."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aetool.errors import InputError
from aetool.tables import read_table, streaming
from aetool.tables.streaming import read_batches


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches of a few kilobytes and 50 rows at most."""
    monkeypatch.setattr(streaming, "BATCH_BYTES", 4096)
    monkeypatch.setattr(streaming, "MAX_BATCH_ROWS", 50)


def batches(path, **options):
    return list(read_batches(lambda: pa.OSFile(str(path)), str(path), **options))


def values(path, **options):
    return np.concatenate([batch.values for batch in batches(path, **options)])


def test_a_csv_column_whose_first_cells_are_whole_or_empty_may_go_on_otherwise(tmp_path):
    lines = [f"{i},,true,{i % 3}" for i in range(600)] + [f"{i}.5,{i}e3,false,NA" for i in range(600)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c,d", *lines]))
    expected = read_table(tmp_path / "rows.csv").values.astype(np.float32)
    assert np.array_equal(values(tmp_path / "rows.csv"), expected, equal_nan=True)


@pytest.mark.parametrize("width", [1, 100])
def test_batches_are_small_enough_for_what_they_become(tmp_path, width):
    (tmp_path / "rows.csv").write_text("a\n" + "1\n" * 1000)
    sizes = [len(batch.values) for batch in batches(tmp_path / "rows.csv", width=width)]
    assert sum(sizes) == 1000 and max(sizes) <= (50 if width == 1 else 4096 // 400)


def test_kept_columns_of_csv_stay_as_they_are_written_and_features_may_be_kept_too(tmp_path):
    (tmp_path / "rows.csv").write_text("id,a,b\n007,1,2\n,3,\n")
    (batch,) = batches(tmp_path / "rows.csv", only=["b", "a"], keep=["id", "a"])
    assert {name: column.to_pylist() for name, column in batch.kept.items()} == {
        "id": ["007", ""],
        "a": [1.0, 3.0],
    }
    assert np.array_equal(batch.values, [[2, 1], [np.nan, 3]], equal_nan=True)


@pytest.mark.parametrize("group_rows", [5_000, 500_000])
def test_memory_does_not_grow_with_the_rows_of_a_parquet_file(tmp_path, monkeypatch, group_rows):
    monkeypatch.setattr(streaming, "MAX_BATCH_ROWS", 5_000)
    monkeypatch.setattr(streaming, "BATCH_BYTES", 1 << 20)
    random = np.random.default_rng(0)
    table = pa.table({f"c{i}": random.random(500_000, np.float32) for i in range(8)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=group_rows, use_dictionary=False)
    del table
    before, most = pa.total_allocated_bytes(), 0
    path = str(tmp_path / "rows.parquet")
    for batch in read_batches(lambda: pa.OSFile(path), path):
        most = max(most, pa.total_allocated_bytes() - before)
        assert len(batch.values) <= 5_000
    assert most < 14 << 20  # of 16 million bytes; a buffer of a megabyte for each column


def test_a_file_without_rows_is_one_empty_batch(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n")
    (batch,) = batches(tmp_path / "rows.csv")
    assert batch.values.shape == (0, 2) and batch.share == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("rows.csv", "a,b\n" + "1,2\n" * 2000 + "3,oops\n", r"below row 2,000.*'b'.*'oops'|column 'b': 'oops'"),
        ("rows.csv", "a,b\n1,2\n3\n", "Expected 2 columns"),
        ("rows.csv", "", "empty|Empty"),
        ("rows.csv", "a;b,c\nx;y,z\n", "may separate"),
        ("rows.csv.gz", "a,b\n1,2\n", "not a sound .csv.gz"),
        ("rows.parquet", "a,b\n1,2\n", "not a sound .parquet"),
        ("rows.txt", "a\n1\n", "convert it"),
        ("nowhere.csv", None, "No such file|cannot be read"),
    ],
)
def test_what_is_wrong_is_told_on_one_line_that_names_the_file(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told) as raised:
        batches(tmp_path / name)
    assert name in str(raised.value) and "\n" not in str(raised.value)
