"""What the text of one cell means, in a table as in a message that is watched: a missing value, or a time."""

import math
from datetime import UTC, datetime

from aetool.runtime.categories import MISSING

NO_VALUE = MISSING | {
    *("?", "*", "-", "--", "---", ".", "..", "\N{EN DASH}", "\N{EM DASH}", "None", "none", "NONE", "nil", "NIL"),
    *("Null", "N.A.", "n.a.", "na", "Na", "NAN", "Nan", "NaT", "<NA>", "missing", "Missing", "MISSING"),
    *("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "-nan(ind)", "nan(ind)"),
    *(r"\N", "(null)", "(NULL)", "[NULL]", "k.A.", "k. A."),
}
"""Cells of a column of numbers that mean a missing value."""
UNIX_SECONDS = (946_684_800, 2_208_988_800)
"""2000 to 2040, in seconds since 1970."""
TIME_FORMS = ("%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M", "%Y%m%dT%H%M%S")
"""Dates in text that are read besides ISO 8601, as strptime has them; no text fits two of them."""


def seconds_of(when: str | float, form: str | None = None) -> float:
    """Return a time in seconds since 1970, UTC where it does not say otherwise.

    Args:
        when: a number of seconds, or Unix time in s, ms, us or ns; or a date and time in ISO 8601 or another of
            the forms that a log is read in.
        form: the form that is most likely, as strptime has it.

    Raises:
        ValueError: it is no time.
    """
    if isinstance(when, str):
        text = when.strip()
        try:
            number = float(text)
        except ValueError:
            return _date(text, form).timestamp()
    else:
        number = float(when)
    if not math.isfinite(number):
        raise ValueError(when)
    for power in (3, 6, 9):
        if UNIX_SECONDS[0] * 10.0**power <= abs(number) <= UNIX_SECONDS[1] * 10.0**power:
            return number / 10.0**power
    return number


def _date(text: str, form: str | None) -> datetime:
    if form is None:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    for each in TIME_FORMS if form is None else (form,):
        try:
            return datetime.strptime(text, each).replace(tzinfo=UTC)
        except ValueError:
            continue
    if form is None:
        raise ValueError(text)
    return _date(text, None)


def example_of(form: str | None) -> str:
    """Return a time as a log of that form has it, for messages."""
    return datetime(2026, 1, 31, 12, tzinfo=UTC).strftime(form or "%Y-%m-%d %H:%M:%S")
