"""Figures of every round, and of where the time goes inside a graph."""

import statistics
from collections.abc import Sequence

from aetool.bench.result import Measured, NodeTime
from aetool.report.bench.series import Case, Lineup, Series
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.svg import linear_ticks, log_ticks
from aetool.report.draw.units import TIMES, counted, percent, ratio, rows, seconds

_NAME, _LEAST = 17.0, 18.0  # heights: the line of text, and the dots below it
_FAR = 1.5  # shown as multiples, nearer as percent
_STEP = 3.0  # a later round lies lower, so that a drift is seen


def figure(key: str, case: Case, found: Sequence[Measured], lineup: Lineup) -> Markup:
    """Every round's p50 against the median of the contestant's rounds."""
    rows = [(lineup.of(one), [turn.p50_s for turn in one.rounds]) for one in found]
    every = [_factor(time, times) for _, times in rows for time in times]
    widest = max(1.01, *every, 1 / min(every)) ** 1.08
    is_far = widest > _FAR
    scale = svg.Scale(1 / widest, widest, svg.EDGE, svg.WIDTH - svg.EDGE)
    ticks = linear_ticks(1 / widest - 1, widest - 1)
    shapes: list[Markup] = []
    top = 0.0
    for series, times in rows:
        shapes.append(_row(series, times, scale, top, is_far))
        top += _height(times)
    told = (f"{series.name}: {', '.join(map(seconds, times))}" for series, times in rows)
    picture = svg.picture(
        key,
        f"Rounds of {case.words}",
        "; ".join(told),
        top + 26,
        svg.axis_below(
            scale,
            log_ticks(scale.low, scale.high) if is_far else [1 + tick for tick in ticks],
            top + 2,
            0,
            _multiple if is_far else _percent,
        ),
        *shapes,
    )
    return tag("figure", tag("figcaption", case.words), picture)


def _row(series: Series, times: Sequence[float], scale: svg.Scale, top: float, is_far: bool) -> Markup:
    factors = [_factor(time, times) for time in times]
    spread = " to ".join(
        ratio(edge) if is_far else percent(edge - 1, signed=True) for edge in (min(factors), max(factors))
    )
    room = svg.WIDTH - svg.EDGE * 2 - 10 - svg.text_width(spread)
    step = (_height(times) - _NAME - 15) / max(len(times) - 1, 1)
    dots = (
        series.sign(scale(factor), top + _NAME + 5 + step * i, f"round {i + 1}: {seconds(times[i])}", 3.2)
        for i, factor in enumerate(factors)
    )
    return tag(
        "g",
        svg.label(svg.EDGE, top + 13, svg.shortened(series.name, room), "name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 13, spread, "value", "end"),
        *dots,
    )


def _height(times: Sequence[float]) -> float:
    return _NAME + max(_LEAST, _STEP * len(times) + 8) + 5


def _factor(time: float, times: Sequence[float]) -> float:
    return time / statistics.median(times)


def _percent(factor: float) -> str:
    return f"{(factor - 1) * 100:+.3g} %".replace("+0 ", "0 ").replace("-", "\N{MINUS SIGN}")


def _multiple(factor: float) -> str:
    return f"{factor:g}{TIMES}"


# Where the time goes inside a graph: a bar a node.

_ROW = 30.0
_MOST = 12


def figures(found: Sequence[Measured], lineup: Lineup) -> list[Markup]:
    """One figure for every measurement that was profiled."""
    # A node does the same whatever the scenario: one figure for each contestant, graph and batch.
    profiled = {(lineup.of(one), one.graph, one.batch): one for one in reversed(found) if one.profile}
    return [_figure(f"profile-{i}", one, lineup) for i, one in enumerate(reversed(profiled.values()))]


def _figure(key: str, found: Measured, lineup: Lineup) -> Markup:
    series = lineup.of(found)
    nodes = _slowest(found.profile or ())
    total = sum(node.us for node in nodes) or 1.0
    longest = max(node.us for node in nodes) or 1.0
    shapes: list[Markup] = []
    for i, node in enumerate(nodes):
        value = f"{seconds(node.us * 1e-6)} \N{MIDDLE DOT} {percent(node.us / total)}"
        name = f"{node.op} {node.node}".strip()
        room = svg.WIDTH - svg.EDGE * 2 - svg.text_width(value) - 8
        top, width = i * _ROW, (svg.WIDTH - svg.EDGE * 2) * node.us / longest
        shapes += [
            svg.label(svg.EDGE, top + 13, svg.shortened(name, room), "name"),
            svg.label(svg.WIDTH - svg.EDGE, top + 13, value, "value", "end"),
            svg.bar(svg.EDGE, top + 18, width, 8, f"{series.colour} dot", f"{name}: {value}"),
        ]
    words = f"{series.name}: {found.graph}, {rows(found.batch)}"
    told = "; ".join(f"{node.op} {node.node} {seconds(node.us * 1e-6)}" for node in nodes)
    picture = svg.picture(key, f"Time of each node, {words}", told, len(nodes) * _ROW + 4, *shapes)
    return tag("figure", tag("figcaption", words), picture)


def _slowest(nodes: Sequence[NodeTime]) -> list[NodeTime]:
    """The slowest first; what is too much for a figure is one bar."""
    ordered = sorted(nodes, key=lambda node: -node.us)
    rest = ordered[_MOST:]
    if not rest:
        return ordered
    return [*ordered[:_MOST], NodeTime("", counted(len(rest), "other node"), sum(node.us for node in rest))]
