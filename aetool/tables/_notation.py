"""Notations of numbers in text: decimal marks, groups of digits, signs, currencies, units; dates, and words.

A column of text holds numbers where every cell does, in one notation.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.cells import NO_VALUE

FLAGS = (
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("off", "on"),
    ("falsch", "wahr"),
    ("nein", "ja"),
    ("faux", "vrai"),
    ("non", "oui"),
)
"""Pairs of words for 0 and 1."""
_SAME_UNIT = 0.8
"""Share of the numbers that have one unit, at least, where another one is a slip."""

_CURRENCY = r"[$€£¥₹₩₽₺]|(?:USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL|kr|zł|Rs\.?)(?![A-Za-z])"
_DIGITS = r"(?:\d[\d.,'\u2019 \u00a0\u202f]*\d|\d)[.,]?|[.,]\d+"
_SYMBOL = r"[A-Za-z°%µμΩ‰]{1,10}(?:[²³]|\^?-?[1-3](?!\d))?"
_UNIT = rf"{_SYMBOL}(?:[/·*]{_SYMBOL})?"
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[+\-\u2212\u2013])?\s*(?P<before>{_CURRENCY})?\s*(?P<sign2>[+\-\u2212])?\s*"
    rf"(?P<digits>{_DIGITS})(?P<power>[eE][+\-]?\d+)?\s*(?P<after>{_CURRENCY}|{_UNIT})?\s*(?P<minus>-)?(?P<close>\))?"
)
_INFINITE = re.compile(r"[+\-]?inf(?:inity)?", re.IGNORECASE)
_GROUPED = {
    mark: re.compile(rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}")
    for mark in (r"\.", ",", "['\u2019]", "[ \u00a0\u202f]")
}
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?(?:\s?(?:Z|UTC|GMT|[+\-]\d{2}:?\d{2}))?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)[a-z]*\.?"
_DAY = "|".join(
    [
        r"\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?",
        r"\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})",
        rf"\d{{1,2}}[-/ .]{{1,2}}{_MONTH}[-/ ,.]{{0,2}}\d{{2,4}}",
        rf"{_MONTH}[ -]\d{{1,2}},? \d{{4}}",
        r"(?:19|20)\d{6}T\d{4,6}(?:\.\d+)?Z?",
        r"(?:19|20)\d{2}-?W\d{2}(?:-?[1-7])?",
        rf"{_MONTH} \d{{4}}",
        rf"(?:[A-Z][a-z]{{2}} )?{_MONTH} {{1,2}}\d{{1,2}} \d{{2}}:\d{{2}}:\d{{2}}(?: \d{{4}})?",
        rf"\[?\d{{2}}/{_MONTH}/\d{{4}}:\d{{2}}:\d{{2}}:\d{{2}}(?: [+\-]\d{{4}}\]?)?",
        r"\d{4}年\d{1,2}月\d{1,2}日",
    ]
)
_DATE = re.compile(rf"(?:[A-Z][a-z]{{2,8}},? )?(?:(?:{_DAY})(?:[T ,_:-]{{1,2}}{_TIME})?|{_TIME})")
_PLAIN_DOTS = re.compile(r"\d+\.\d+")


class _Number(NamedTuple):
    """One cell's number."""

    values: Mapping[str, float]  # decimal mark -> value, for each mark that fits
    unit: str
    is_currency: bool


@lru_cache(1 << 14)
def _parse(text: str) -> _Number | None:
    if _INFINITE.fullmatch(text):
        return _Number(dict.fromkeys(".,", float(text)), "", False)
    found = _NUMBER.fullmatch(text)
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    signs = [found[name] for name in ("sign", "sign2", "minus") if found[name]] + ["-"] * bool(found["open"])
    before, after = found["before"] or "", found["after"] or ""
    if len(signs) > 1 or (before and after):
        return None
    sign = -1.0 if signs and signs[0] != "+" else 1.0
    values = {
        mark: sign * float(f"{plain}{found['power'] or ''}")
        for mark in ".,"
        if (plain := _plain(found["digits"], mark)) is not None
    }
    unit = before or after
    return _Number(values, unit, bool(re.fullmatch(_CURRENCY, unit))) if values else None


def _plain(digits: str, decimal: str) -> str | None:
    """Return digits as Python writes them; None where they are not a number with that decimal mark."""
    whole, mark, fraction = digits.partition(decimal)
    if mark and not re.fullmatch(r"\d*", fraction):
        return None
    if not whole:
        return f"0.{fraction}"
    if not whole.isdigit():
        if not any(form.fullmatch(whole) for mark, form in _GROUPED.items() if decimal not in mark):
            return None
        whole = re.sub(r"\D", "", whole)
    return f"{whole}.{fraction or 0}" if whole.isascii() else None


def is_number(cell: str) -> bool:
    """Return whether a cell, without spaces around, may be a number."""
    number = _parse(cell)
    return number is not None and not (number.unit and not number.is_currency and number.unit != "%")


def decimal_mark(cell: str) -> str | None:
    """Return the decimal mark that a cell shows beyond doubt; None where it shows none, or is no number."""
    number = _parse(cell)
    return next(iter(number.values)) if number is not None and len(number.values) == 1 else None


def may_be_grouped(cell: str) -> bool:
    """Return whether a cell of digits and one mark is a number with decimals as well as a whole one: 1.234."""
    number = _parse(cell) if cell[:1].isdigit() and cell[-1:].isdigit() else None
    return number is not None and len(set(number.values.values())) == 2


def is_missing(cell: str) -> bool:
    """Return whether a cell, without spaces around, means a missing value in a column of numbers."""
    return cell in NO_VALUE


def is_date(cell: str) -> bool:
    """Return whether a cell, without spaces around, is a date, a time, or both."""
    return _DATE.fullmatch(cell) is not None and not _PLAIN_DOTS.fullmatch(cell)


class TextColumn(NamedTuple):
    """What the distinct cells of a column of text are."""

    values: NDArray[np.float64] | None = None  # of each text, NaN where missing; None: not numbers
    note: str = ""  # how they were read, for people
    dates: bool = False
    fault: str = ""  # what keeps them from being numbers, although most are
    odd: tuple[int, ...] = ()  # the texts that do
    is_word: bool = False  # they are no numbers
    doubt: bool = False  # the decimal mark is in doubt


def read_texts(texts: Sequence[str], na: Iterable[str], decimal: str | None) -> TextColumn:
    """Read the distinct texts of a column as numbers, where all agree.

    Args:
        texts: stripped, in the order of their rows.
        na: texts that mean a missing value, besides the common words.
        decimal: the decimal mark of numbers that show no other; None where that is not known.
    """
    missing = NO_VALUE.union(na)
    places = [i for i, text in enumerate(texts) if text not in missing]
    known = [texts[i] for i in places]
    values = np.full(len(texts), np.nan)
    if not known:
        return TextColumn(values)
    if flags := _flags(known):
        values[places] = [float(text.lower() == flags[1]) for text in known]
        return TextColumn(values, f"{flags[0]} and {flags[1]} read as 0 and 1")
    numbers = [_parse(text) for text in known]
    odd = tuple(place for place, number in zip(places, numbers, strict=True) if number is None)
    if len(odd) == len(known) and sum(map(is_date, known)) >= _SAME_UNIT * len(known):
        return TextColumn(dates=True)
    if 2 * len(odd) >= len(known):
        return TextColumn()
    found = [number for number in numbers if number is not None]
    if odd:
        return TextColumn(fault=f"{texts[odd[0]][:40]!r} is not a number", odd=odd, is_word=True)
    return _agreed(texts, places, found, values, decimal)


def _agreed(
    texts: Sequence[str],
    places: Sequence[int],
    found: Sequence[_Number],
    values: NDArray[np.float64],
    decimal: str | None,
) -> TextColumn:
    """Return the numbers of a column if one notation fits all of them."""
    pairs = list(zip(places, found, strict=True))
    units = Counter(number.unit for number in found if any(number.values.values()))
    named = {number.unit: number.is_currency for number in found if number.unit}
    if len(units) > 1 and not (len(named) == 1 and all(named.values())):  # $5 and 5 are the same
        if len(named) > 2 and units.most_common(1)[0][1] < _SAME_UNIT * units.total():
            return TextColumn()  # codes, rather
        unit = units.most_common(1)[0][0]
        place = next(place for place, number in pairs if number.unit == unit)
        other = next(place for place, number in pairs if number.unit != unit and any(number.values.values()))
        return _fault(texts, place, other, "have different units")
    marks = [mark for mark in ".," if all(mark in number.values for number in found)]
    if not marks:
        place = next(place for place, number in pairs if "," not in number.values)
        other = next(place for place, number in pairs if "." not in number.values)
        return _fault(texts, place, other, "have different decimal marks")
    doubtful = [(place, number) for place, number in pairs if len(set(number.values.values())) > 1]
    if len(marks) > 1 and doubtful and decimal is None:
        place, number = doubtful[0]
        point, comma = number.values["."], number.values[","]
        fault = f"{texts[place][:40]!r} may be {point:g} (--decimal .) or {comma:g} (--decimal ,)"
        return TextColumn(fault=fault, odd=(place,), doubt=True)
    mark = decimal if decimal in marks else marks[0]
    values[list(places)] = [number.values[mark] for number in found]
    signs = [len(re.sub(r"^-|\d", "", texts[place])) for place, _ in pairs]
    shown = doubtful[0][0] if doubtful else pairs[signs.index(max(signs))][0]  # what is most unlike a plain number
    return TextColumn(values, f"{texts[shown][:20]!r} read as {values[shown]:.15g}")


def _fault(texts: Sequence[str], place: int, other: int, what: str) -> TextColumn:
    return TextColumn(fault=f"{texts[place][:40]!r} and {texts[other][:40]!r} {what}", odd=(other,))


def _flags(known: Sequence[str]) -> tuple[str, str] | None:
    words = {text.lower() for text in known}
    return next((pair for pair in FLAGS if words <= set(pair)), None)
