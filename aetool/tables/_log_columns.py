"""Columns of a log that are no channels: its times, and whose rows they are."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime.categories import factorise
from aetool.runtime.cells import TIME_FORMS, UNIX_SECONDS
from aetool.tables.formats import pa, pc

SECOND = 1_000_000_000
"""Times are counted in nanoseconds."""
_ZONE = re.compile(r"(?:Z|[+\-]\d{2}:?(?:\d{2})?)$")


class Times(NamedTuple):
    """Times of some rows."""

    values: NDArray[np.int64]
    """(rows,) nanoseconds: since 1970 where they are dates."""
    kind: str
    """"zoned" (UTC), "local" (dates without a zone), "unix", or "number" (of seconds)."""
    form: str | None = None
    """Of dates in text that are not ISO 8601, as strptime has it."""


def read_times(column: Any, name: str, source: str, first_row: int) -> Times:
    """Read a column of times: dates in text, temporal types, seconds, or Unix time in s, ms, us or ns.

    Raises:
        InputError: a cell that is no time, or times with and without a zone.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = pc.utf8_trim_whitespace(array)
        array = pc.if_else(pc.equal(array, ""), None, array)
    if array.null_count:
        row = first_row + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) + 1
        raise InputError(f"{source}: row {row:,}, column {name!r}: no time; fill the cell, or leave the row out")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        return Times(_nanoseconds(array), "zoned" if zoned else "local")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _read_text(array, name, source, first_row)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _read_numbers(array.cast(pa.float64(), safe=False).to_numpy(), array, name, source, first_row)
    raise InputError(f"{source}: column {name!r} holds {kind}, no time; give another --time")


def _nanoseconds(array: Any) -> NDArray[np.int64]:
    moments = array.cast(pa.timestamp("ns", tz=getattr(array.type, "tz", None)))
    values: NDArray[np.int64] = moments.cast(pa.int64()).to_numpy()
    return values


def _read_text(array: Any, name: str, source: str, first_row: int) -> Times:
    for kind, zone in (("local", None), ("zoned", "UTC")):
        try:
            return Times(_nanoseconds(array.cast(pa.timestamp("ns", tz=zone))), kind)
        except pa.ArrowInvalid:
            continue
    for number in (pa.int64(), pa.float64()):
        try:
            numbers = array.cast(number)
        except pa.ArrowInvalid:
            continue
        return _read_numbers(numbers.cast(pa.float64(), safe=False).to_numpy(), numbers, name, source, first_row)
    for form in TIME_FORMS:
        try:
            return Times(_nanoseconds(pc.strptime(array, format=form, unit="ns")), "local", form)
        except pa.ArrowInvalid:
            continue
    texts = array.to_pylist()
    zoned = [bool(_ZONE.search(text)) and ":" in text for text in texts]
    if any(zoned) and not all(zoned):
        raise _mixed(source, name, f"{texts[zoned.index(True)]!r} and {texts[zoned.index(False)]!r}")
    odd = next((i for i, text in enumerate(texts) if not _is_time(text)), 0)
    raise InputError(
        f"{source}: row {first_row + odd + 1:,}, column {name!r}: {texts[odd][:40]!r} is not read as a time; "
        "write it as 2026-01-31 12:00:00, or as a number of seconds"
    )


def _is_time(text: str) -> bool:
    try:
        np.datetime64(_ZONE.sub("", text).strip().replace("/", "-"))
    except ValueError:
        return False
    return True


def _read_numbers(numbers: NDArray[np.float64], array: Any, name: str, source: str, first_row: int) -> Times:
    finite = np.isfinite(numbers)
    if not finite.all():
        row = first_row + int(np.argmin(finite)) + 1
        raise InputError(f"{source}: row {row:,}, column {name!r}: no time; fill the cell, or leave the row out")
    size = float(np.abs(numbers).max(initial=0.0))
    for power in (0, 3, 6, 9):
        if UNIX_SECONDS[0] * 10.0**power <= size <= UNIX_SECONDS[1] * 10.0**power:
            if pa.types.is_integer(array.type):
                return Times(array.cast(pa.int64()).to_numpy() * 10 ** (9 - power), "unix")
            # float64 holds such times to a microsecond, not to a nanosecond.
            return Times(np.round(numbers * 10.0 ** (6 - power)).astype(np.int64) * 1000, "unix")
    if size > np.iinfo(np.int64).max / SECOND:
        raise InputError(f"{source}: column {name!r}: {size:g} is too large for seconds; give another --time")
    return Times(np.round(numbers * SECOND).astype(np.int64), "number")


def _mixed(source: str, name: str, found: str) -> InputError:
    return InputError(
        f"{source}: column {name!r} mixes times with and without a time zone ({found}), which have no order; "
        "write them all one way"
    )


def require_one_kind(kinds: set[str], name: str, source: str) -> None:
    """Refuse a log whose batches hold times of different kinds.

    Raises:
        InputError: naming them.
    """
    if len(kinds) > 1:
        if kinds == {"zoned", "local"}:
            raise _mixed(source, name, "from row to row, or from file to file")
        words = {"zoned": "dates", "local": "dates", "number": "seconds", "unix": "seconds since 1970"}
        raise InputError(
            f"{source}: column {name!r} holds {' and '.join(sorted(words[kind] for kind in kinds))}; write its "
            "times one way in all files"
        )


def shown_times(times: NDArray[np.int64], kind: str) -> NDArray[Any]:
    """Return times as a table holds them: dates (UTC where they had a zone), or numbers of seconds."""
    return times / SECOND if kind == "number" else times.view("datetime64[ns]")


def shown_time(time: int, kind: str) -> str:
    """Return one time for a message."""
    if kind == "number":
        return f"{time / SECOND:g}"
    return str(np.datetime64(int(time), "ns")).rstrip("0").rstrip(".").replace("T", " ")


def time_texts(times: NDArray[Any]) -> NDArray[Any]:
    """Return dates as text, `2026-01-31 12:00:00`, all to the second or to the same part of one; numbers stay."""
    if times.dtype.kind != "M":
        return times
    counts = times.astype("datetime64[ns]").astype(np.int64)
    units = (("s", SECOND), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))
    unit = next(unit for unit, size in units if not (counts % size).any())
    texts = times.astype(f"datetime64[{unit}]").astype(str)
    return np.char.replace(texts, "T", " ")


def read_groups(column: Any, name: str) -> tuple[Sequence[str], NDArray[np.intp]]:
    """Return the texts of a column of groups, and each row's place among them; a missing one is ""."""
    texts, places = factorise(column, f"column {name!r}")
    return [text or "" for text in texts], places
