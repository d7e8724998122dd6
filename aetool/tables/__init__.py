"""Tables in and out: CSV (also .csv.gz), Parquet, NPY and NPZ.

Features become one C-ordered float64 array, (rows, columns), where NaN stands for a missing value; labels and
id columns travel beside it. CSV and Parquet need pyarrow; NPY and NPZ need numpy alone.
"""

from aetool.tables.reading import read_table, table_from_columns
from aetool.tables.table import Table, fingerprint
from aetool.tables.writing import write_csv, write_table

__all__ = ["Table", "fingerprint", "read_table", "table_from_columns", "write_csv", "write_table"]
