"""Numbers as people read them: 8.14 µs, 1.2M rows/s, 15.8 KiB."""

import math

MISSING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def seconds(value: float, exact: bool = False) -> str:
    """`8.10 µs`: three digits, as they were measured; an `exact` value needs no zeros at its end."""
    return _scaled(value, ((1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")), zeros=not exact)


def count(value: float) -> str:
    """`512`, `4.1k`, `1.23M`."""
    return _scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))


def rate(value: float) -> str:
    """`1.23M rows/s`."""
    return f"{count(value)} rows/s"


def size(value: float) -> str:
    """`15.8 KiB`."""
    return _scaled(value, ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1.0, " B")))


def percent(value: float, signed: bool = False) -> str:
    """`2.1 %`, `34.0 %` of a share of 1; number and sign stay on one line."""
    shown = f"{value * 100:,.1f}"
    sign = "" if not float(shown) else "\N{MINUS SIGN}" if value < 0 else "+" if signed else ""
    return f"{sign}{shown.removeprefix('-')}{NO_BREAK}%"


def ratio(value: float) -> str:
    """`0.71x`, with the sign of multiplication."""
    digits = f"{value:.2f}" if 0.1 <= value < 100 else f"{value:.0f}" if value >= 100 else f"{value:.2g}"
    return digits + TIMES


def figure(value: float, digits: int = 4) -> str:
    """`0.01197`, `1.607`, `4,980`, `47,943`: so many digits, whole from 1,000 on, with commas."""
    shown = f"{value:.{digits}g}"
    return f"{value:,.0f}" if 1e3 <= abs(float(shown)) < 1e9 else shown


def row_number(place: int) -> str:
    """Of the row at `place`, from 0, as messages and people count: from 1, the line of names left out."""
    return f"{place + 1:,}"


def rows(value: int) -> str:
    """`one row`, `4,096 rows`."""
    return "one row" if value == 1 else f"{value:,} rows"


def counted(value: int, thing: str) -> str:
    """`1 case`, `3 cases`."""
    return f"{value:,} {thing}{'' if value == 1 else 's'}"


def _scaled(value: float, units: tuple[tuple[float, str], ...], zeros: bool = False) -> str:
    """In the largest unit that leaves a whole part; what rounds up to the next unit is shown in that."""
    if not value:
        return f"0{units[-1][1]}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    factor, unit = next(((f, u) for f, u in units if abs(rounded) >= f * (1 - 1e-12)), units[-1])
    inside = rounded / factor
    if abs(inside) >= 1000 or (inside == int(inside) and not zeros):
        return f"{inside:.0f}{unit}"
    return (f"{inside:#.3g}".removesuffix(".") if zeros else f"{inside:.3g}") + unit
