"""Files to stream, and what a run left behind."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

FEATURES = [f"c{i}" for i in range(30)]


def write(path: Path, table: pa.Table) -> Path:
    """A table as a file, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=1_000)
    elif path.name.endswith(".csv.gz"):
        with gzip.open(path, "wb") as stream:
            pacsv.write_csv(table, stream)
    else:
        with pa.CompressedOutputStream(str(path), "zstd") if path.suffix == ".zst" else path.open("wb") as stream:
            pacsv.write_csv(table, stream)
    return path


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, but the manifest, whose paths are the run's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "_aetool.json"
    }
