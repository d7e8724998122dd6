"""The scores, a threshold that can be moved over them, ROC and precision-recall."""

import itertools
import json
import shlex
from collections.abc import Sequence

from aetool.report.bundle.facts import threshold_text
from aetool.report.bundle.records import Portrait
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, joined, table, tag
from aetool.report.draw.svg import linear_ticks, log_ticks
from aetool.report.draw.units import NO_BREAK, count, counted, figure, percent, rows

# ROC and precision-recall, with a mark where the threshold stands.

_CURVE_LEFT, _CURVE_RIGHT, _CURVE_TOP, _CURVE_BOTTOM = 46.0, 386.0, 10.0, 240.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_HINTS = 60


def _curves(portrait: Portrait) -> list[Markup]:
    """Draw ROC and precision-recall; nothing without labels of both kinds."""
    curves, sweep, anomalies = portrait.curves, portrait.sweep, portrait.anomalies
    if curves is None or sweep.hits is None or anomalies is None:
        return []
    flagged, hits = sweep.flagged[sweep.own], sweep.hits[sweep.own]
    recall = hits / anomalies
    roc = (flagged - hits) / (portrait.rows - anomalies), recall
    base = anomalies / portrait.rows
    return [
        _figure(
            "roc",
            f"ROC, area {curves.auroc:.4f}",
            ("false positive rate", "recall"),
            curves.roc,
            [(0.0, 0.0), (1.0, 1.0)],
            roc,
        ),
        _figure(
            "precision-recall",
            f"Average precision {curves.average_precision:.4f}",
            ("recall", "precision"),
            curves.precision_recall,
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
        _unit_square(across, up, axes),
        svg.path(placed(chance), "even"),
        svg.path(placed(points), "s0 line"),
        _curve_hints(placed(points), points, axes),
        tag(
            "g",
            svg.marker(3, 0, 0, "mark", "the threshold", 6),
            id=f"{key}-mark",
            transform=f"translate({x:.1f},{y:.1f})",
            data_box=f"{_CURVE_LEFT:.0f},{_CURVE_RIGHT:.0f},{_CURVE_BOTTOM:.0f},{_CURVE_TOP:.0f}",
        ),
    )
    return tag("figure", tag("figcaption", title), picture)


def _curve_hints(
    places: Sequence[tuple[float, float]], points: Sequence[tuple[float, float]], axes: tuple[str, str]
) -> Markup:
    """Cover some points of a curve with unseen dots that have tooltips."""
    step = -(-len(points) // _MOST_HINTS)
    return joined(
        svg.marker(0, x, y, "hover", f"{axes[0]} {percent(first)}, {axes[1]} {percent(second)}", 9)
        for (x, y), (first, second) in zip(places[::step], points[::step], strict=True)
    )


_LEFT, _TOP, _BOTTOM = 60.0, 22.0, 170.0
_SHARES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Largest shares of rows to flag that other thresholds are listed for."""


def figures(portrait: Portrait) -> Markup:
    """Draw the histogram with its threshold, the effect of the threshold, and curves where there are labels."""
    return tag(
        "div",
        _histogram(portrait),
        _does(portrait),
        _others(portrait),
        *_curves(portrait),
        _reliability(portrait),
        class_="pairs scores",
    )


def _reliability(portrait: Portrait) -> Markup | None:
    """Draw stated probabilities against the shares of anomalies; None where the bundle has no probabilities."""
    bins = portrait.manifest.calibration.get("reliability") or ()
    try:
        found = [(float(each["stated"]), float(each["actual"]), int(each["rows"])) for each in bins]
    except (KeyError, TypeError, ValueError):  # changed by hand
        return None
    if not found:
        return None
    across = svg.Scale(0.0, 1.0, _CURVE_LEFT, _CURVE_RIGHT, log=False)
    up = svg.Scale(0.0, 1.0, _CURVE_BOTTOM, _CURVE_TOP, log=False)
    points = [(across(stated), up(actual)) for stated, actual, _ in found]
    hints = [f"stated {percent(stated)}, {percent(actual)} of {rows(count)}" for stated, actual, count in found]
    title = "Reliability of the probabilities"
    picture = svg.picture(
        "reliability",
        title,
        "On the diagonal, as many rows are anomalies as the probability says.",
        _CURVE_BOTTOM + 40,
        _unit_square(across, up, ("stated probability", "share of anomalies")),
        svg.path([(across(0), up(0)), (across(1), up(1))], "even"),
        svg.path(points, "s0 line"),
        joined(svg.marker(0, x, y, "dot s0", hint, 4) for (x, y), hint in zip(points, hints, strict=True)),
    )
    return tag("figure", tag("figcaption", f"{title}, on the labelled rows that they were fitted to"), picture)


def _unit_square(across: svg.Scale, up: svg.Scale, axes: tuple[str, str]) -> Markup:
    """Draw the grid and the names of two axes from 0 to 1."""
    return joined(
        [
            tag(
                "g",
                joined(svg.line(_CURVE_LEFT, up(tick), _CURVE_RIGHT, up(tick), "grid") for tick in _TICKS),
                joined(svg.line(across(tick), _CURVE_TOP, across(tick), _CURVE_BOTTOM, "grid") for tick in _TICKS),
                joined(svg.label(_CURVE_LEFT - 6, up(tick) + 4, f"{tick:g}", "tick", "end") for tick in _TICKS),
                joined(
                    svg.label(across(tick), _CURVE_BOTTOM + 17, f"{tick:g}", "tick", "middle") for tick in _TICKS
                ),
                class_="grid",
            ),
            svg.label((_CURVE_LEFT + _CURVE_RIGHT) / 2, _CURVE_BOTTOM + 35, axes[0], "tick", "middle"),
            tag(
                "text",
                axes[1],
                transform=f"translate(11,{(_CURVE_TOP + _CURVE_BOTTOM) / 2:.0f}) rotate(-90)",
                class_="tick middle",
            ),
        ]
    )


def _histogram(portrait: Portrait) -> Markup:
    histogram = portrait.histogram
    scale = svg.Scale(histogram.edges[0], histogram.edges[-1], _LEFT, svg.WIDTH - svg.EDGE)
    x = scale(portrait.threshold)
    own = portrait.sweep.own
    flagged = portrait.sweep.flagged[own]
    groups = [(histogram.counts, "s0", f"{'' if histogram.anomalies is None else 'normal '}{portrait.things}")]
    if histogram.anomalies is not None:
        groups.append((histogram.anomalies, "s1", "labelled anomalies"))
    # Of two groups the shares, so that a few anomalies are seen beside many normal rows.
    sizes = [1 if histogram.anomalies is None else max(sum(counts), 1) for counts, _, _ in groups]
    highest = max(max(counts) / size for (counts, _, _), size in zip(groups, sizes, strict=True)) or 1.0
    up = svg.Scale(0.0, highest, _BOTTOM, _TOP, log=False)
    unit, tick = (portrait.things, count) if histogram.anomalies is None else ("share of its kind", _rounded)
    picture = svg.picture(
        "scores",
        "Distribution of the scores",
        f"{portrait.rows:,} {portrait.things} on a logarithmic axis from {figure(scale.low)} to "
        f"{figure(scale.high)}; "
        + (
            f"{flagged:,} lie above the threshold {threshold_text(portrait.threshold)}."
            if portrait.has_threshold
            else "no threshold is set."
        ),
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
            _shape([count / size for count in counts], colour, scale, up, histogram.edges)
            for (counts, colour, _), size in zip(groups, sizes, strict=True)
        ),
        svg.strips(list(map(scale, histogram.edges)), _TOP, _BOTTOM, _hints(portrait)),
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
            data_things=portrait.things,
            data_anomalies=portrait.anomalies,
            data_thresholds=json.dumps([float(f"{value:.6g}") for value in portrait.sweep.thresholds]),
            data_flagged=json.dumps(portrait.sweep.flagged, separators=(",", ":")),
            data_hits=None
            if portrait.sweep.hits is None
            else json.dumps(portrait.sweep.hits, separators=(",", ":")),
            data_line=f"{scale.start:.0f},{scale.end:.0f}",
        ),
        tag("button", "Reset to the bundle's threshold", type="button", id="threshold-reset"),
        class_="slider",
        hidden=True,
    )
    legend = svg.legend((svg.marker(1, 7, 7, f"{colour} ridge", radius=6), words) for _, colour, words in groups)
    return tag("figure", tag("figcaption", "Scores and threshold"), picture, slider, legend)


def _hints(portrait: Portrait) -> list[str]:
    """Return what each bin holds."""
    histogram = portrait.histogram
    hints = []
    for i, (low, high) in enumerate(itertools.pairwise(histogram.edges)):
        counts = rows(histogram.counts[i])
        if histogram.anomalies is not None:
            anomalies = counted(histogram.anomalies[i], "labelled anomaly", "labelled anomalies")
            counts = f"{histogram.counts[i]:,} normal, {anomalies}"
        hints.append(f"score {figure(low, 3)} to {figure(high, 3)}: {counts}")
    return hints


def _does(portrait: Portrait) -> Markup:
    """Return the effect of the threshold in numbers, which the script updates."""
    sweep, own = portrait.sweep, portrait.sweep.own
    flagged = sweep.flagged[own]
    facts = {
        "threshold": ("threshold", threshold_text(portrait.threshold)),
        "flagged": (
            f"{portrait.things} flagged",
            f"{flagged:,} of {portrait.rows:,} ({percent(flagged / portrait.rows)})",
        ),
    }
    if sweep.hits is not None and portrait.anomalies is not None:
        hits, normal = sweep.hits[own], portrait.rows - portrait.anomalies
        facts |= {
            "precision": ("precision", f"{_share(hits, flagged)} of the flagged {portrait.things} are anomalies"),
            "recall": ("recall", f"{_share(hits, portrait.anomalies)} of the anomalies are flagged"),
            "false": (
                "false alarms",
                f"{flagged - hits:,}, {_share(flagged - hits, normal)} of the normal {portrait.things}",
            ),
        }
    pairs = (joined([tag("dt", name), tag("dd", text, id=f"does-{key}")]) for key, (name, text) in facts.items())
    return tag(
        "div",
        tag("h3", "Effect of this threshold"),
        tag("dl", *pairs, class_="does"),
        _confusion(portrait),
        _command(portrait),
        tag("p", "", class_="unseen", id="threshold-said", role="status"),
    )


def _command(portrait: Portrait) -> Markup | None:
    """Return the command that makes the threshold that of the bundle, which the script updates; for fp32 alone."""
    if portrait.precision != "fp32" or not portrait.has_threshold:
        return None
    start = f"aetool calibrate {shlex.quote(portrait.place)} --threshold "
    return tag(
        "p",
        "To keep this threshold: ",
        tag("code", f"{start}{portrait.threshold:.6g}", id="does-command", data_start=start),
        " ",
        tag("button", "Copy", type="button", id="threshold-copy", hidden=True),
    )


def _confusion(portrait: Portrait) -> Markup | None:
    """Return the confusion matrix, which the script updates; None without labels."""
    sweep, own, anomalies = portrait.sweep, portrait.sweep.own, portrait.anomalies
    if sweep.hits is None or anomalies is None:
        return None
    flagged, hits = sweep.flagged[own], sweep.hits[own]
    normal = portrait.rows - anomalies
    lines = (
        ("anomaly", ("true-positives", hits), ("false-negatives", anomalies - hits)),
        ("normal", ("false-positives", flagged - hits), ("true-negatives", normal - (flagged - hits))),
    )
    heads = (tag("th", name, scope="col") for name in ("labelled", "flagged", "not flagged"))
    body = (
        tag(
            "tr",
            tag("th", label, scope="row"),
            *(
                tag("td", tag("strong", f"{count:,}", id=f"does-{key}"), " ", tag("small", key.replace("-", " ")))
                for key, count in cells
            ),
        )
        for label, *cells in lines
    )
    return tag(
        "table",
        tag("caption", "Confusion matrix"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        class_="matrix",
    )


def _others(portrait: Portrait) -> Markup:
    """Return the lowest threshold that flags at most each share."""
    flagged, thresholds = portrait.sweep.flagged, portrait.sweep.thresholds
    lines: list[list[Cell | None]] = []
    for share in _SHARES:
        stop = next((i for i, count in enumerate(flagged) if count <= share * portrait.rows), None)
        if stop is not None:
            value = float(f"{thresholds[stop]:.6g}")
            effect = f"{flagged[stop]:,} ({percent(flagged[stop] / portrait.rows)})"
            lines.append([percent(share), (threshold_text(value), value), (effect, flagged[stop])])
    title = "Other thresholds"
    return tag(
        "div",
        tag("h3", title),
        table(title, ("to flag at most", "threshold", f"{portrait.things} flagged"), lines),
    )


def _rounded(share: float) -> str:
    return f"{share * 100:.3g}{NO_BREAK}%"


def _level(y: float, name: str) -> Markup:
    return joined(
        [svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, "grid"), svg.label(_LEFT - 5, y + 4, name, "tick", "end")]
    )


def _share(part: int, of: int) -> str:
    return percent(part / of) if of else "none"


def _score(value: float) -> str:
    return count(value) if value >= 1e6 else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _shape(
    heights: Sequence[float], colour: str, scale: svg.Scale, up: svg.Scale, edges: Sequence[float]
) -> Markup | None:
    """Draw a histogram as steps."""
    if not max(heights):
        return None
    points = [(scale(edges[0]), _BOTTOM)]
    for i, height in enumerate(heights):
        y = up(height)
        if y != points[-1][1]:
            points.append((scale(edges[i]), points[-1][1]))
            points.append((scale(edges[i]), y))
    points += [(scale(edges[-1]), points[-1][1]), (scale(edges[-1]), _BOTTOM)]
    return svg.path(points, f"{colour} ridge", closed=True)
