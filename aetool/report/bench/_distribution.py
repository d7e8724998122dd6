"""Latency distributions: for every case one ridge per contestant, on one axis."""

import itertools
from collections.abc import Sequence
from functools import partial

from aetool.bench.result import Measured
from aetool.report.bench.series import Case, Lineup, Plotted
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.svg import log_ticks
from aetool.report.draw.units import seconds

_NAME, _RIDGE = 17.0, 32.0  # heights: the line of text, and the shape below it
_ROW = _NAME + _RIDGE + 6


def figure(key: str, case: Case, measurements: Sequence[Measured], lineup: Lineup) -> Markup:
    """Return the distributions of one case as a figure."""
    scale = svg.log_scale(
        [edge for measured in measurements for edge in _ends(measured)], svg.EDGE, svg.WIDTH - svg.EDGE
    )
    bottom = _ROW * len(measurements) + 2
    ridges = [_row(measured, lineup.of(measured), scale, i * _ROW) for i, measured in enumerate(measurements)]
    words = "; ".join(f"{lineup.of(measured).name}: {_spoken(measured)}" for measured in measurements)
    picture = svg.picture(
        key,
        f"Latency of {case.words}",
        f"Histograms on one logarithmic axis from {seconds(scale.low)} to {seconds(scale.high)}. {words}.",
        bottom + 24,
        svg.axis_below(scale, log_ticks(scale.low, scale.high), bottom, 0, partial(seconds, exact=True)),
        *ridges,
    )
    return tag("figure", tag("figcaption", case.words + _arrivals(measurements)), picture)


def key_to_marks() -> Markup:
    """Return the legend of the marks on a ridge."""
    marks = {
        "p50": _p50(7, 12, 10),
        "p90": _p90(7, 7),
        "p99": _p99(7, 7),
        "fastest to slowest call": svg.line(0, 7, 14, 7, "whisker"),
        "slowest lies beyond the axis": _beyond(5, 7),
    }
    return svg.legend((mark, name) for name, mark in marks.items())


def _arrivals(measurements: Sequence[Measured]) -> str:
    """Return `, 9,000 arrivals/s` for the server scenario."""
    rates = sorted(
        {
            f"{measured.arrivals_per_s:,.0f}": measured.arrivals_per_s
            for measured in measurements
            if measured.arrivals_per_s
        }.items(),
        key=lambda rate: rate[1],
    )
    if not rates:
        return ""
    return f", {' to '.join(dict.fromkeys((rates[0][0], rates[-1][0])))} arrivals/s"


def _ends(measured: Measured) -> tuple[float, float]:
    """Return the ends of the axis: half as far again as p99; the slowest call may lie far beyond."""
    times = measured.latency_s
    return times.min, min(times.max, times.p99 * 1.5) if times.p99 else times.max


def _row(measured: Measured, series: Plotted, scale: svg.Scale, top: float) -> Markup:
    times, base = measured.latency_s, top + _NAME + _RIDGE
    middle = base - _RIDGE / 2
    values = f"p50 {seconds(times.p50)}" + (f" \N{MIDDLE DOT} p99 {seconds(times.p99)}" if times.p99 else "")
    room = svg.WIDTH - svg.EDGE * 2 - 20 - svg.text_width(values)
    return tag(
        "g",
        series.sign(svg.EDGE + 5, top + 9),
        svg.label(svg.EDGE + 15, top + 13, svg.shortened(series.name, room), "name ridge-name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 13, values, "value", "end"),
        _shape(measured, series, scale, base),
        svg.line(scale(times.min), base, scale(times.max), base, "whisker", f"{series.name}: {_spoken(measured)}"),
        _beyond(scale.end, base, f"slowest call {seconds(times.max)}") if times.max > scale.high else None,
        _p50(scale(times.p50), base, _RIDGE),
        _p90(scale(times.p90), middle + 8) if times.p90 else None,
        _p99(scale(times.p99), middle + 8) if times.p99 else None,
    )


def _shape(measured: Measured, series: Plotted, scale: svg.Scale, base: float) -> Markup | None:
    """Draw the histogram as steps, as high as the row where it is highest."""
    counts, edges = measured.histogram.counts, measured.histogram.edges_s
    highest = max(counts)
    if not highest:
        return None
    points: list[tuple[float, float]] = []
    for (low, high), count in zip(itertools.pairwise(edges), counts, strict=True):
        if high < scale.low or low > scale.high:
            continue
        y = base - _RIDGE * count / highest
        points += [(scale(low), y), (scale(high), y)]
    if not points:
        return None
    outline = [(points[0][0], base), *points, (points[-1][0], base)]
    return svg.path(_without_repeats(outline), f"{series.colour} ridge", closed=True)


def _without_repeats(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join bins of one height into one step."""
    kept = points[:1]
    for point, after in itertools.pairwise(points[1:]):
        if not kept[-1][1] == point[1] == after[1]:
            kept.append(point)
    return [*kept, points[-1]]


def _p50(x: float, base: float, height: float) -> Markup:
    return svg.line(x, base, x, base - height, "mark p50")


def _p90(x: float, y: float) -> Markup:
    return svg.marker(4, x, y, "mark", radius=3)


def _p99(x: float, y: float) -> Markup:
    return svg.marker(3, x, y, "mark", radius=3.2)


def _beyond(x: float, y: float, hint: str | None = None) -> Markup:
    return tag(
        "path", tag("title", hint) if hint else None, d=f"M{x - 2:.1f},{y - 5:.1f}l8,5l-8,5Z", class_="mark"
    )


def _spoken(measured: Measured) -> str:
    times = measured.latency_s
    percentiles = {"p50": times.p50, "p90": times.p90, "p99": times.p99, "p99.9": times.p99_9}
    shown = ", ".join(f"{name} {seconds(value)}" for name, value in percentiles.items() if value is not None)
    return f"{shown}, fastest {seconds(times.min)}, slowest {seconds(times.max)}, {measured.samples:,} samples"
