"""pyarrow, if it is installed: an app machine may lack it, NPY and NPZ go on working."""

from aetool.errors import DependencyError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
except ImportError:
    pa = pc = pacsv = pq = None

__all__ = ["pa", "pacsv", "pc", "pq", "require_pyarrow"]


def require_pyarrow() -> None:
    """Raise a DependencyError where pyarrow is missing."""
    if pa is None:
        raise DependencyError("pyarrow", "tables", "reading CSV and Parquet")
