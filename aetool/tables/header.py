"""What columns a file has, by its first bytes: to refuse a wrong one before anything is done, or written."""

import csv
import gzip
import io
from pathlib import Path
from typing import NamedTuple

from aetool.limits import Limits
from aetool.tables.arrow import pq
from aetool.tables.binary_files import array_shapes, parquet_names
from aetool.tables.csv_files import require_commas

HEAD_BYTES = 1 << 20
"""Of a CSV file, in which its header must end."""


class Header(NamedTuple):
    names: tuple[str, ...]
    positional: tuple[str, ...] = ()
    """Those among them that are made up: an array has no names."""


def header(path: Path, ending: str, limits: Limits) -> Header | None:
    """The columns of the file, as `read_table` would name them; None where its first bytes do not tell.

    Raises whatever its readers do.
    """
    if ending == ".parquet":
        return Header(tuple(parquet_names(pq.read_schema(str(path)))))
    return _of_csv(path, ending) if ending.startswith(".csv") else _of_arrays(path, limits)


def _of_csv(path: Path, ending: str) -> Header | None:
    with (gzip.open if ending == ".csv.gz" else Path.open)(path, "rb") as stream:
        head = stream.read(HEAD_BYTES)
    try:
        text = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig")
        lines = io.StringIO(text, newline="")
        names = next(filter(None, csv.reader(lines)), None)
    except (UnicodeDecodeError, csv.Error):
        return None
    cut = len(head) == HEAD_BYTES and lines.read(1) == ""  # a quote that is left open takes in all that follows
    if names is None or cut or "\0" in text:
        return None
    require_commas(names, str(path))
    return Header(tuple(names))


def _of_arrays(path: Path, limits: Limits) -> Header | None:
    names: list[str] = []
    tables = []
    for name, shape in array_shapes(path, limits):
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] > limits.columns):
            return None  # `read_table` tells why
        columns = [name] if len(shape) == 1 else [f"{name}_{index}" for index in range(shape[1])]
        tables += [columns] if len(shape) == 2 else []
        names += columns
    return Header(tuple(names), tuple(tables[0]) if len(tables) == 1 else ())
