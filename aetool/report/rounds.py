"""The rounds, each a dot: how far a contestant is from itself."""

import statistics
from collections.abc import Sequence

from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.series import Case, Lineup
from aetool.report.source import Measurement
from aetool.report.ticks import linear_ticks
from aetool.report.units import percent, seconds

_NAME, _LEAST = 17.0, 18.0  # heights: the line of text, and the dots below it
_STEP = 3.0  # a later round lies lower, so that a drift is seen


def figure(key: str, case: Case, found: Sequence[Measurement], lineup: Lineup) -> Markup | None:
    """Every round's p50 against the median of the contestant's rounds."""
    found = [one for one in found if one.rounds]
    if not found:
        return None
    away = {id(one): _deviations(one) for one in found}
    widest = max(0.01, *(abs(share) for shares in away.values() for share in shares)) * 1.08
    scale = svg.Scale(-widest, widest, svg.EDGE, svg.WIDTH - svg.EDGE, log=False)
    shapes: list[Markup] = []
    top = 0.0
    for one in found:
        series, shares = lineup.of(one), away[id(one)]
        spread = f"{percent(min(shares), signed=True)} to {percent(max(shares), signed=True)}"
        room = svg.WIDTH - svg.EDGE * 2 - 20 - svg.text_width(spread)
        height = max(_LEAST, _STEP * len(shares) + 8)
        step = (height - 10) / max(len(shares) - 1, 1)
        shapes += [
            svg.label(svg.EDGE, top + 13, svg.shortened(series.name, room), "name"),
            svg.label(svg.WIDTH - svg.EDGE, top + 13, spread, "value", "end"),
        ]
        shapes += [
            series.sign(scale(share), top + _NAME + 5 + step * i, f"round {i + 1}: {_told(one, i)}", 3.2)
            for i, share in enumerate(shares)
        ]
        top += _NAME + height + 5
    picture = svg.picture(
        key,
        f"Rounds of {case.words}",
        "; ".join(
            f"{lineup.of(one).name}: {', '.join(_told(one, i) for i in range(len(one.rounds)))}" for one in found
        ),
        top + 26,
        svg.axis_below(scale, linear_ticks(-widest, widest), top + 2, 0, _tick),
        *shapes,
    )
    return tag("figure", tag("figcaption", case.words), picture)


def _deviations(found: Measurement) -> list[float]:
    middle = statistics.median(turn.p50_s for turn in found.rounds)
    return [turn.p50_s / middle - 1 for turn in found.rounds]


def _tick(share: float) -> str:
    return f"{share * 100:+.3g} %".replace("+0 ", "0 ").replace("-", "\N{MINUS SIGN}")


def _told(found: Measurement, i: int) -> str:
    return seconds(found.rounds[i].p50_s)
