"""Tables in and out: CSV (also .csv.gz), Parquet, NPY and NPZ.

Features become one C-ordered float64 array, (rows, columns), where NaN stands for a missing value; labels and
id columns are kept beside it. `read_rows` and `read_array` take NPY and NPZ arrays of more axes too: images,
windows of a series. CSV and Parquet need pyarrow; NPY and NPZ need numpy alone.

Read in this order: `_table` (the result), `reading` (files by their ending), `formats`, `_layout`
and `_csv_files` (text), `_binary_files` (one reader per format), `_choice` (which columns), `columns` (columns to
numbers) with `_notation` (numbers as people write them), `_labels` and `_problems` (all that is wrong, in one
error), `arrays` (rows of more axes), `streaming` (batches of large files), `_writing`; `filesystems` (local or
remote), for rooms above.
"""

from aetool.tables._choice import Trains
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._problems import command_option, require_trainable
from aetool.tables._table import Table, fingerprint
from aetool.tables._writing import require_array_ending, without_formulas, write_arrays, write_csv, write_table
from aetool.tables.arrays import read_array, read_rows
from aetool.tables.reading import TableFile, read_table, table_from_columns

__all__ = [
    "AS_FOUND",
    "Reading",
    "Table",
    "TableFile",
    "Trains",
    "arrays",
    "columns",
    "command_option",
    "filesystems",
    "fingerprint",
    "formats",
    "hints",
    "read_array",
    "read_rows",
    "read_table",
    "reading",
    "require_array_ending",
    "require_trainable",
    "streaming",
    "table_from_columns",
    "windows",
    "without_formulas",
    "write_arrays",
    "write_csv",
    "write_table",
]
