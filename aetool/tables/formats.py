"""Formats of table files, pyarrow where it is installed, and errors of files that cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aetool.errors import AetoolError, DependencyError, InputError, reason_of

__all__ = [
    "ARRAY_ENDINGS",
    "ENDINGS",
    "ending_of",
    "pa",
    "pacsv",
    "pc",
    "pq",
    "reading",
    "require_pyarrow",
]


# pyarrow, if it is installed: an app machine may lack it, NPY and NPZ go on working.

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
except ImportError:
    pa = pc = pacsv = pq = None


def require_pyarrow() -> None:
    """Raise a DependencyError where pyarrow is missing."""
    if pa is None:
        raise DependencyError("pyarrow", "tables", "reading CSV and Parquet")


ENDINGS = (".csv", ".csv.gz", ".parquet", ".npy", ".npz")
ARRAY_ENDINGS = (".npy", ".npz")


def ending_of(path: Path, error: type[AetoolError]) -> str:
    """Return the ending that decides a file's format; CSV and Parquet need pyarrow."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            if ending not in ARRAY_ENDINGS:
                require_pyarrow()
            return ending
    raise error(f"{path}: unknown ending, which tells the format: use one of {', '.join(ENDINGS)}")


@contextmanager
def reading(source: str, ending: str) -> Iterator[None]:
    """Turn any exception of a reader into an InputError."""
    try:
        yield
    except AetoolError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{source}: cannot be read: {error.strerror}; check its rights") from error
        reason = reason_of(error, 200)
        raise InputError(
            f"{source}: not a sound {ending} file, perhaps cut short: {reason}; write or copy it again"
        ) from error
