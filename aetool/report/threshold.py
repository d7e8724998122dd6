"""The scores, and a threshold that can be moved over them."""

import json
from collections.abc import Sequence

from aetool.portrait.records import Portrait
from aetool.report import svg
from aetool.report.curve import curves
from aetool.report.markup import Markup, joined, tag
from aetool.report.tables import Cell, table
from aetool.report.ticks import linear_ticks, log_ticks
from aetool.report.units import NO_BREAK, count, figure, percent, rows

_LEFT, _TOP, _BOTTOM = 60.0, 22.0, 170.0
_SHARES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
"""To flag at most: what other thresholds would do is told of these."""


def figures(portrait: Portrait) -> Markup:
    """The histogram with its threshold, what the threshold does, and the curves where there are labels."""
    return tag("div", _histogram(portrait), _does(portrait), *curves(portrait), class_="pairs")


def _histogram(portrait: Portrait) -> Markup:
    found = portrait.histogram
    scale = svg.Scale(found.edges[0], found.edges[-1], _LEFT, svg.WIDTH - svg.EDGE)
    x = scale(portrait.threshold)
    own = portrait.sweep.own
    flagged = portrait.sweep.flagged[own]
    groups = [(found.counts, "s0", "rows" if found.anomalies is None else "normal rows")]
    if found.anomalies is not None:
        groups.append((found.anomalies, "s1", "labelled anomalies"))
    # Of two groups the shares, so that a few anomalies are seen beside many normal rows.
    sizes = [1 if found.anomalies is None else max(sum(counts), 1) for counts, _, _ in groups]
    highest = max(max(counts) / size for (counts, _, _), size in zip(groups, sizes, strict=True)) or 1.0
    up = svg.Scale(0.0, highest, _BOTTOM, _TOP, log=False)
    unit, tick = ("rows", count) if found.anomalies is None else ("share of its kind", _rounded)
    picture = svg.picture(
        "scores",
        "Distribution of the scores",
        f"{rows(portrait.rows)} on a logarithmic axis from {figure(scale.low)} to {figure(scale.high)}; "
        f"{flagged:,} lie above the threshold {figure(portrait.threshold, 6)}.",
        _BOTTOM + 40,
        tag(
            "g",
            svg.axis_below(scale, log_ticks(scale.low, scale.high), _BOTTOM, _TOP, _score),
            *(_level(up(level), tick(level)) for level in linear_ticks(0.0, highest, 4)),
            class_="grid",
        ),
        svg.label((_LEFT + svg.WIDTH) / 2, _BOTTOM + 35, "score, more abnormal to the right", "tick", "middle"),
        tag("text", unit, transform=f"translate(10,{(_TOP + _BOTTOM) / 2:.0f}) rotate(-90)", class_="tick middle"),
        *(
            _shape([count / size for count in counts], colour, scale, up, found.edges)
            for (counts, colour, _), size in zip(groups, sizes, strict=True)
        ),
        tag(
            "g",
            svg.line(0, _TOP - 10, 0, _BOTTOM, "threshold"),
            tag("path", d=f"M-6,{_TOP - 18:.0f}h12v6l-6,7l-6,-7Z", class_="handle"),
            id="threshold-line",
            transform=f"translate({x:.1f},0)",
        ),
    )
    slider = tag(
        "p",
        tag("label", "Threshold", for_="threshold-slider"),
        tag(
            "input",
            type="range",
            id="threshold-slider",
            min=0,
            max=len(portrait.sweep.thresholds) - 1,
            step=1,
            value=own,
            data_own=own,
            data_rows=portrait.rows,
            data_anomalies=portrait.anomalies,
            data_thresholds=json.dumps([float(f"{value:.6g}") for value in portrait.sweep.thresholds]),
            data_flagged=json.dumps(portrait.sweep.flagged, separators=(",", ":")),
            data_hits=None
            if portrait.sweep.hits is None
            else json.dumps(portrait.sweep.hits, separators=(",", ":")),
            data_line=f"{scale.start:.0f},{scale.end:.0f}",
        ),
        tag("button", "Back to the bundle's", type="button", id="threshold-reset"),
        class_="slider",
        hidden=True,
    )
    legend = tag("ul", *(_sign(colour, words) for _, colour, words in groups), class_="legend")
    return tag("figure", tag("figcaption", "Scores and threshold"), picture, slider, legend)


def _does(portrait: Portrait) -> Markup:
    """What the threshold does, in numbers; the page's script keeps them up to date."""
    sweep, own = portrait.sweep, portrait.sweep.own
    flagged = sweep.flagged[own]
    facts = {
        "threshold": ("threshold", figure(portrait.threshold, 6)),
        "flagged": ("rows flagged", f"{flagged:,} of {portrait.rows:,} ({percent(flagged / portrait.rows)})"),
    }
    if sweep.hits is not None and portrait.anomalies is not None:
        hits, normal = sweep.hits[own], portrait.rows - portrait.anomalies
        facts |= {
            "precision": ("precision", f"{_share(hits, flagged)} of the flagged rows are anomalies"),
            "recall": ("recall", f"{_share(hits, portrait.anomalies)} of the anomalies are flagged"),
            "false": ("false alarms", f"{flagged - hits:,}, {_share(flagged - hits, normal)} of the normal rows"),
        }
    pairs = (joined([tag("dt", name), tag("dd", text, id=f"does-{key}")]) for key, (name, text) in facts.items())
    return tag(
        "div",
        tag("h3", "What this threshold does"),
        tag("dl", *pairs, class_="does"),
        tag("h3", "What others would flag"),
        _others(portrait),
        tag("p", "", class_="unseen", id="threshold-said", role="status"),
    )


def _others(portrait: Portrait) -> Markup:
    """The lowest threshold that flags no more than a share."""
    flagged, thresholds = portrait.sweep.flagged, portrait.sweep.thresholds
    lines: list[list[Cell | None]] = []
    for share in _SHARES:
        place = next((i for i, many in enumerate(flagged) if many <= share * portrait.rows), None)
        if place is not None:
            value = float(f"{thresholds[place]:.6g}")
            told = f"{flagged[place]:,} ({percent(flagged[place] / portrait.rows)})"
            lines.append([percent(share), (figure(value, 6), value), (told, flagged[place])])
    return table("What other thresholds would flag", ("to flag at most", "threshold", "flags rows"), lines)


def _rounded(share: float) -> str:
    return f"{share * 100:.3g}{NO_BREAK}%"


def _level(y: float, name: str) -> Markup:
    return joined(
        [svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, "grid"), svg.label(_LEFT - 5, y + 4, name, "tick", "end")]
    )


def _share(part: int, of: int) -> str:
    return percent(part / of) if of else "none"


def _score(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= value < 1e6 else f"{value:.3g}"


def _shape(
    heights: Sequence[float], colour: str, scale: svg.Scale, up: svg.Scale, edges: Sequence[float]
) -> Markup | None:
    """A histogram as steps."""
    if not max(heights):
        return None
    points = [(scale(edges[0]), _BOTTOM)]
    for place, height in enumerate(heights):
        y = up(height)
        if y != points[-1][1]:
            points.append((scale(edges[place]), points[-1][1]))
            points.append((scale(edges[place]), y))
    points += [(scale(edges[-1]), points[-1][1]), (scale(edges[-1]), _BOTTOM)]
    return svg.path(points, f"{colour} ridge", closed=True)


def _sign(colour: str, words: str) -> Markup:
    square = svg.marker(1, 7, 7, f"{colour} ridge", radius=6)
    return tag("li", tag("svg", square, viewBox="0 0 14 14", class_="sign", aria_hidden="true"), words)
