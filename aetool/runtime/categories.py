"""Categories: from a cell's text or code to the index of its category, the same for every kind of table."""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Complex, Integral, Number, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError, reason_of

UNKNOWN = -1.0
"""Index of a value that is none of the categories; a missing value is NaN."""
MISSING = frozenset(["", "NA", "N/A", "n/a", "NaN", "-NaN", "nan", "-nan", "NULL", "null"]) | frozenset(
    ["#NA", "#N/A", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"]
)
"""Texts that mean a missing value: those of Arrow and pandas in a CSV file."""


def is_decimal(value: Any) -> bool:
    """Decide whether `value` is a decimal.Decimal, the one number that is neither real nor complex.

    Its module is slow to import, and few programs need it.
    """
    return isinstance(value, Number) and not isinstance(value, Complex)


def as_text(value: Any, what: str = "a category") -> str | None:
    """Return a cell as the text of its category; None where it is missing.

    Space around text does not count. 1, 1.0, "1" and "1.0" are "1"; True and "True" are "true".

    Raises:
        InputError: neither text nor a number.
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, Real):
        return _number_as_text(value)
    text = str(value).strip()
    if value is None or text in MISSING or (not isinstance(value, str) and text in ("<NA>", "NaT")):
        return None
    if not (isinstance(value, str) or is_decimal(value)):
        kind = type(value).__name__
        raise InputError(f"{what}: text or codes expected, found {kind} {text[:40]!r}; convert it to text")
    if text.lower() in ("true", "false"):
        return text.lower()
    whole = re.fullmatch(r"(-?(?:0|[1-9][0-9]*))(?:\.0*)?", text)
    return text if whole is None else "0" if whole[1] == "-0" else whole[1]


def _number_as_text(value: Any) -> str | None:
    if isinstance(value, Integral):
        return str(int(value))
    # The shortest decimal of a float32 is what people call it: 1.1, not 1.10000002.
    number = float(str(value)) if isinstance(value, np.floating) else float(value)
    if math.isnan(number):
        return None
    return str(int(number)) if number.is_integer() else repr(number)


def factorise(column: Any, what: str) -> tuple[list[str | None], NDArray[np.intp]]:
    """Return the distinct texts of a column, and for each cell (the column's shape) the index of its text.

    Args:
        what: the column, for messages.
        column: a list, a numpy array, a column of pandas, Arrow or polars, or one value.

    Raises:
        InputError: cells that are neither text nor numbers.
    """
    if hasattr(column, "dictionary_encode"):  # Arrow
        column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
        encoded = column.dictionary_encode()
        values = encoded.dictionary.to_numpy(zero_copy_only=False)
        places = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        return [*(as_text(value, what) for value in values), None], places.astype(np.intp)
    array = _as_array(column, what)
    if array.dtype.kind in "biuf":
        values, places = np.unique(array, return_inverse=True)
        texts = [as_text(value, what) for value in values]
    else:
        cells = array.ravel().tolist()
        types = set(map(type, cells))
        keys = cells if len(types) == 1 else list(zip(map(type, cells), cells, strict=True))  # for 1 == True
        try:
            place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        except TypeError as error:
            raise InputError(f"{what}: one text or code in a cell expected, found {error}; flatten it") from error
        places = np.fromiter(map(place.__getitem__, keys), np.intp, len(keys))
        texts = [as_text(key if len(types) == 1 else key[1], what) for key in place]
    places = places.reshape(array.shape)
    if isinstance(column, np.ma.MaskedArray):
        return [*texts, None], np.where(np.ma.getmaskarray(column), len(texts), places)
    return texts, places


def to_indexes(column: Any, categories: Mapping[str, float] | Sequence[str], what: str) -> NDArray[np.float64]:
    """Return the index of each cell's category; UNKNOWN for any other value, NaN where it is missing.

    Args:
        column: as in `factorise`.
        what: the column, for messages.
        categories: the texts in order, or what `indexes_of` makes of them.
    """
    indexes = categories if isinstance(categories, Mapping) else indexes_of(categories)
    texts, places = factorise(column, what)
    values = [np.nan if text is None else indexes.get(text, UNKNOWN) for text in texts]
    return np.array([*values, np.nan])[places]


def indexes_of(categories: Sequence[str]) -> dict[str, float]:
    """Return category -> index."""
    return {text: float(index) for index, text in enumerate(categories)}


def to_names(indexes: NDArray[Any], categories: Sequence[str]) -> NDArray[np.str_]:
    """Return the category of each index, "" where it is none of them."""
    names = np.array([*categories, ""])
    known = (indexes >= 0) & (indexes < len(categories))  # NaN is not
    whole = np.where(known, indexes, len(categories)).astype(np.intp)
    found: NDArray[np.str_] = names[np.where(known & (whole != indexes), len(categories), whole)]
    return found


def _as_array(column: Any, what: str) -> NDArray[Any]:
    try:
        # The call itself is guarded, not a list of classes: it runs the methods of whatever was given.
        dtype = getattr(column, "dtype", None)
        if hasattr(column, "isna") and dtype is not None and not isinstance(dtype, np.dtype):  # pandas' own types
            column = column.to_numpy(dtype=object, na_value=np.nan)
        array = np.asarray(column)
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    except Exception as error:
        reason = reason_of(error, 200)
        raise InputError(
            f"{what}: a column of text or codes expected, found {type(column).__name__} ({reason}); pass a list"
        ) from error
