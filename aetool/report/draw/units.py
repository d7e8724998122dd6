"""Numbers and times as text: 8.14 µs, 1.2M rows/s, 15.8 KiB, 30 November 2026, 00:12 UTC."""

import math
from datetime import UTC, datetime

MISSING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
_MONTHS = (  # not those of the process's locale
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def seconds(value: float, exact: bool = False) -> str:
    """Return `8.10 µs`: three digits as measured; an `exact` value needs no trailing zeros."""
    return _scaled(value, ((1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")), zeros=not exact)


def count(value: float) -> str:
    """Return `512`, `4.1k`, `1.23M`."""
    return _scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))


def rate(value: float) -> str:
    """Return `1.23M rows/s`."""
    return f"{count(value)} rows/s"


def size(value: float) -> str:
    """Return `15.8 KiB`."""
    return _scaled(value, ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1.0, " B")))


def percent(value: float, signed: bool = False) -> str:
    """Return `2.1 %`, `34.0 %` of a share of 1; number and sign stay on one line."""
    percentage = round(value * 100, 1)
    sign = "" if not percentage else "\N{MINUS SIGN}" if value < 0 else "+" if signed else ""
    return f"{sign}{abs(percentage):,.1f}{NO_BREAK}%"


def ratio(value: float) -> str:
    """Return `0.71x`, with a multiplication sign."""
    digits = f"{value:.2f}" if 0.1 <= value < 100 else f"{value:.0f}" if value >= 100 else f"{value:.2g}"
    return digits + TIMES


def speed(value: float) -> str:
    """Return `1.50x faster`, `1.75x slower` for a ratio of rates; `the same` where two digits are."""
    if f"{value:.2f}" == "1.00" or value <= 0:
        return "the same" if value > 0 else MISSING
    return f"{ratio(value)} faster" if value > 1 else f"{ratio(1 / value)} slower"


def figure(value: float, digits: int = 4) -> str:
    """Return `0.01197`, `1.607`, `4,980`, `47,943`: so many digits, whole from 1,000 on, with commas."""
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if 1e3 <= abs(float(shown)) < 1e9 else shown


def moment(iso: str) -> str:
    """Return `30 November 2026, 00:12 UTC` for a time in ISO 8601; any other text as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    when = when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC)
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"


def row_number(index: int) -> str:
    """Return the number of the row at `index`, counted from 1."""
    return f"{index + 1:,}"


def rows(value: int) -> str:
    """Return `one row`, `4,096 rows`."""
    return "one row" if value == 1 else f"{value:,} rows"


def counted(value: int, thing: str, things: str | None = None) -> str:
    """Return `1 case`, `3 cases`; `things` is the plural where it is not `thing` with an s."""
    return f"{value:,} {thing if value == 1 else things or f'{thing}s'}"


def _scaled(value: float, units: tuple[tuple[float, str], ...], zeros: bool = False) -> str:
    """Write a value in the largest unit with a whole part, after rounding."""
    if not value:
        return f"0{units[-1][1]}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    factor, unit = next(((f, u) for f, u in units if abs(rounded) >= f * (1 - 1e-12)), units[-1])
    inside = rounded / factor
    if abs(inside) >= 1000 or (inside == int(inside) and not zeros):
        return f"{inside:.0f}{unit}"
    return (f"{inside:#.3g}".removesuffix(".") if zeros else f"{inside:.3g}") + unit
