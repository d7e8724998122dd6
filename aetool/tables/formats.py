"""Formats and encodings of table files, pyarrow where it is installed, and errors of files that cannot be read."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from aetool.errors import AetoolError, DependencyError, InputError, reason_of

__all__ = [
    "ARRAY_ENDINGS",
    "ENDINGS",
    "WESTERN",
    "encoding_of",
    "ending_of",
    "format_of",
    "guarded",
    "is_packed",
    "is_western",
    "pa",
    "pacsv",
    "pc",
    "pq",
    "refuse_encoding",
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
_TEXT = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ".asc")
_FOREIGN = {
    b"PK\x03\x04": ("an Excel or zip file", "save its sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save its sheet as CSV"),
    b"ARROW1": ("a Feather or Arrow file", "save it as Parquet"),
    b"\x89HDF": ("an HDF5 file", "save its table as Parquet or CSV"),
    b"\x80\x04": ("a pickle, which can run any code", "save its table as Parquet or CSV"),
    b"MATLAB": ("a MATLAB file", "save its arrays as NPZ"),
    b"SQLite": ("a SQLite database", "export a table of it as CSV"),
}
_MAGIC = {b"PAR1": ".parquet", b"\x93NUMPY": ".npy"}
_GZIP = b"\x1f\x8b"


def ending_of(path: Path, error: type[AetoolError]) -> str:
    """Return the ending that decides the format of a file to write; CSV and Parquet need pyarrow."""
    for ending in ENDINGS:
        if path.name.lower().endswith(ending):
            if ending not in ARRAY_ENDINGS:
                require_pyarrow()
            return ending
    raise error(f"{path}: unknown ending, which tells the format: use one of {', '.join(ENDINGS)}")


def format_of(path: Path) -> str:
    """Return the format of a file to read, one of ENDINGS without .csv.gz: by its ending, else by its first bytes.

    Text of any kind is ".csv".

    Raises:
        InputError: there is no such file, or it holds no table that aetool reads.
        DependencyError: a text or Parquet file without pyarrow.
    """
    name = path.name.lower()
    ending = next((each for each in ENDINGS if name.endswith(each)), None)
    is_text = name.removesuffix(".gz").endswith(_TEXT)
    if is_text:
        require_pyarrow()
    if (not is_text and ending is None) or (is_text and name.endswith(_TEXT)):
        start = _first_bytes(path)
        for magic, (what, remedy) in _FOREIGN.items():
            if start.startswith(magic):
                raise InputError(f"{path}: this is {what}, not a table that aetool reads; {remedy}")
        ending = next((each for magic, each in _MAGIC.items() if start.startswith(magic)), None)
        if ending is None and name.endswith((".json", ".jsonl", ".ndjson", ".xml", ".html")):
            raise InputError(
                f"{path}: a table was expected, {', '.join(ENDINGS)} or another text file; convert it"
            )
    ending = ending or ".csv"
    if ending not in ARRAY_ENDINGS:
        require_pyarrow()
    return ".csv" if ending == ".csv.gz" else ending


def is_packed(path: Path) -> bool:
    """Return whether a text file is compressed by gzip."""
    return path.name.lower().endswith(".gz") or _first_bytes(path).startswith(_GZIP)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except (IsADirectoryError, FileNotFoundError, ValueError):
        return b""


@contextmanager
def guarded(source: str, ending: str) -> Iterator[None]:
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


# Encodings of text

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WESTERN = "cp1252"
_NAMED = {WESTERN: "Western", "cp1251": "Cyrillic", "shift_jis": "Japanese", "gb18030": "Chinese"}
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{3}")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def encoding_of(content: bytes, *, whole: bool) -> str | None:
    """Return the encoding of a text; None where it is not UTF-8 and does not show which.

    Args:
        content: its first bytes.
        whole: they are all there are.
    """
    for mark, encoding in _BOMS.items():
        if content.startswith(mark):
            return encoding
    few = content[:4096]
    if few.count(0) >= max(2, len(few) // 4):  # ASCII in two bytes each
        return "utf-16-be" if few[::2].count(0) > few[1::2].count(0) else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=whole)
    except UnicodeDecodeError:
        return None
    return "utf-8"


def is_western(content: bytes) -> bool:
    """Return whether text that is no UTF-8 is Windows-1252 without a doubt.

    Letters with accents and signs such as the degree stand alone between others; where several stand in a row it
    is another alphabet, and where some of them are UTF-8 the file is a mixture.
    """
    if _MULTIBYTE.search(content) or _FOREIGN_RUN.search(content):
        return False
    try:
        content.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    return True


def refuse_encoding(content: bytes, source: str) -> NoReturn:
    """Raise an error that shows a cell that is not UTF-8.

    Raises:
        InputError: always.
    """
    start = 0
    try:
        content.decode()
    except UnicodeDecodeError as error:
        start = error.start
    line = content[:start].count(b"\n") + 1
    before = re.split(rb"[,;\t|\r\n]", content[max(0, start - 20) : start])[-1]
    cell = before + re.split(rb"[,;\t|\r\n]", content[start : start + 20])[0]
    also = ", while other cells are" if _MULTIBYTE.search(content) else ""
    found, foreign = [], _FOREIGN_RUN.search(cell) is not None
    for encoding, letters in sorted(_NAMED.items(), key=lambda named: foreign and named[0] == WESTERN):
        try:
            found.append(f"--encoding {encoding} ({letters}: {cell.decode(encoding)!r})")
        except UnicodeDecodeError:  # not this one, or the cell is cut within a letter
            continue
    raise InputError(
        f"{source}: line {line}: {cell!r} is not UTF-8{also}: save the file as UTF-8, or name its encoding, "
        f"as in {' or '.join(found) or f'--encoding {WESTERN}'}"
    )
