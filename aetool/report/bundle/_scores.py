"""The scores, a threshold that can be moved over them, ROC and precision-recall."""

import json
from collections.abc import Sequence

from aetool.report.bundle.records import Portrait
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.svg import linear_ticks, log_ticks
from aetool.report.draw.tables import Cell, table
from aetool.report.draw.units import NO_BREAK, count, figure, percent, rows

# ROC and precision-recall, with a mark where the threshold stands.

_CURVE_LEFT, _CURVE_RIGHT, _CURVE_TOP, _CURVE_BOTTOM = 46.0, 386.0, 10.0, 240.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def curves(portrait: Portrait) -> list[Markup]:
    """Draw ROC and precision-recall; nothing without labels of both kinds."""
    found, sweep, anomalies = portrait.curves, portrait.sweep, portrait.anomalies
    if found is None or sweep.hits is None or anomalies is None:
        return []
    flagged, hits = sweep.flagged[sweep.own], sweep.hits[sweep.own]
    recall = hits / anomalies
    roc = (flagged - hits) / (portrait.rows - anomalies), recall
    base = anomalies / portrait.rows
    return [
        _figure(
            "roc",
            f"ROC: area {found.auroc:.4f}",
            ("false positive rate", "recall"),
            found.roc,
            [(0.0, 0.0), (1.0, 1.0)],
            roc,
        ),
        _figure(
            "precision-recall",
            f"Precision and recall: average precision {found.average_precision:.4f}",
            ("recall", "precision"),
            found.precision_recall,
            [(0.0, base), (1.0, base)],
            (recall, hits / flagged if flagged else 1.0),
        ),
    ]


def _figure(
    key: str,
    title: str,
    axes: tuple[str, str],
    points: Sequence[tuple[float, float]],
    chance: Sequence[tuple[float, float]],
    mark: tuple[float, float],
) -> Markup:
    across = svg.Scale(0.0, 1.0, _CURVE_LEFT, _CURVE_RIGHT, log=False)
    up = svg.Scale(0.0, 1.0, _CURVE_BOTTOM, _CURVE_TOP, log=False)

    def placed(some: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(across(x), up(y)) for x, y in some]

    ((x, y),) = placed([mark])
    picture = svg.picture(
        key,
        title,
        f"The bundle's threshold has {axes[0]} {mark[0]:.3f} and {axes[1]} {mark[1]:.3f}.",
        _CURVE_BOTTOM + 40,
        tag(
            "g",
            joined(svg.line(_CURVE_LEFT, up(tick), _CURVE_RIGHT, up(tick), "grid") for tick in _TICKS),
            joined(svg.line(across(tick), _CURVE_TOP, across(tick), _CURVE_BOTTOM, "grid") for tick in _TICKS),
            joined(svg.label(_CURVE_LEFT - 6, up(tick) + 4, f"{tick:g}", "tick", "end") for tick in _TICKS),
            joined(svg.label(across(tick), _CURVE_BOTTOM + 17, f"{tick:g}", "tick", "middle") for tick in _TICKS),
            class_="grid",
        ),
        svg.label((_CURVE_LEFT + _CURVE_RIGHT) / 2, _CURVE_BOTTOM + 35, axes[0], "tick", "middle"),
        tag(
            "text",
            axes[1],
            transform=f"translate(11,{(_CURVE_TOP + _CURVE_BOTTOM) / 2:.0f}) rotate(-90)",
            class_="tick middle",
        ),
        svg.path(placed(chance), "even"),
        svg.path(placed(points), "s0 line"),
        tag(
            "g",
            svg.marker(3, 0, 0, "mark", "the threshold", 6),
            id=f"{key}-mark",
            transform=f"translate({x:.1f},{y:.1f})",
            data_box=f"{_CURVE_LEFT:.0f},{_CURVE_RIGHT:.0f},{_CURVE_BOTTOM:.0f},{_CURVE_TOP:.0f}",
        ),
    )
    return tag("figure", tag("figcaption", title), picture)


_LEFT, _TOP, _BOTTOM = 60.0, 22.0, 170.0
_SHARES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Largest shares of rows to flag that other thresholds are listed for."""


def figures(portrait: Portrait) -> Markup:
    """Draw the histogram with its threshold, the effect of the threshold, and curves where there are labels."""
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
    legend = svg.legend((svg.marker(1, 7, 7, f"{colour} ridge", radius=6), words) for _, colour, words in groups)
    return tag("figure", tag("figcaption", "Scores and threshold"), picture, slider, legend)


def _does(portrait: Portrait) -> Markup:
    """Return the effect of the threshold in numbers, which the script updates."""
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
    """Return the lowest threshold that flags at most each share."""
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
    """Draw a histogram as steps."""
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
