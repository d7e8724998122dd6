"""Pictures of a log over time: its score, its channels with what was flagged, and their contributions."""

from collections.abc import Iterator, Sequence

from aetool.report.bundle.records import Signal, SignalChannel
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.units import figure

_LEFT, _TOP, _BOTTOM = 52.0, 8.0, 104.0
_LINE = 18.0
"""Height of a channel in the picture of contributions."""
_NAMES = 96.0


def figures(signal: Signal, threshold: float | None) -> Markup:
    """Return a picture of the score, one of each channel that is drawn, and one of all contributions."""
    marks = {
        "lowest to highest": svg.bar(0, 3, 14, 8, "s0 band"),
        "a window here is flagged": svg.bar(0, 0, 14, 14, "odd"),
    }
    if any(signal.labelled):
        marks["labelled as an anomaly"] = svg.bar(0, 9, 14, 5, "finding")
    if signal.breaks:
        marks["a gap in time"] = svg.line(7, 0, 7, 14, "break")
    drawn = [_channel(signal, channel) for channel in signal.channels if channel.low]
    return joined(
        [
            svg.legend((mark, name) for name, mark in marks.items()),
            tag("div", _score(signal, threshold), _contributions(signal), *drawn, class_="pairs"),
        ]
    )


def _score(signal: Signal, threshold: float | None) -> Markup:
    known = [value for value in signal.score if value is not None]
    top = max([*known, *([threshold] if threshold is not None else [])]) or 1.0
    up = svg.Scale(0.0, top * 1.08, _BOTTOM, _TOP, log=False)
    across = _across(signal, _LEFT)
    lines = [svg.path(part, "s1 line") for part in _parts(signal, signal.score, across, up)]
    limit = (
        None if threshold is None else svg.line(_LEFT, up(threshold), svg.WIDTH - svg.EDGE, up(threshold), "peak")
    )
    return tag(
        "figure",
        tag("h3", "Score of the windows"),
        _picture(signal, up, across, "score", *lines, limit),
        tag("p", "The highest of each stretch; the dashed line is the threshold.", class_="note"),
    )


def _channel(signal: Signal, channel: SignalChannel) -> Markup:
    known = [value for value in (*channel.low, *channel.high) if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = (high - low) * 0.06 or 1.0
    up, across = svg.Scale(low - room, high + room, _BOTTOM, _TOP, log=False), _across(signal, _LEFT)
    lows, highs = (_parts(signal, values, across, up) for values in (channel.low, channel.high))
    shapes = [
        svg.path([*upper, *lower[::-1]], "s0 band line", closed=True)
        for lower, upper in zip(lows, highs, strict=True)
    ]
    return tag("figure", tag("h3", channel.name), _picture(signal, up, across, channel.name, *shapes))


def _contributions(signal: Signal) -> Markup:
    """Draw a line of cells for each channel, the stronger the more it contributes."""
    across = _across(signal, _NAMES)
    width = (svg.WIDTH - svg.EDGE - _NAMES) / len(signal.score)
    shapes: list[Markup] = []
    for line, channel in enumerate(signal.channels):
        y = _TOP + line * _LINE
        shapes.append(svg.label(0, y + 13, svg.shortened(channel.name, _NAMES - 6), "tick"))
        for place, share in enumerate(channel.shares):
            if (strength := round(share * 8)) > 0:
                hint = f"{channel.name}, {signal.starts[place]}: {share:.0%} of the threshold"
                x = _NAMES + place * width
                shapes.append(svg.bar(x, y + 1, width, _LINE - 2, f"s1 heat{strength}", hint))
    bottom = _TOP + len(signal.channels) * _LINE
    more = f" {signal.left_out} channels that contribute less are left out." if signal.left_out else ""
    return tag(
        "figure",
        tag("h3", "Contributions by channel"),
        tag(
            "svg",
            *shapes,
            _ends(signal, across, bottom, 0.0),
            viewBox=f"0 0 {svg.WIDTH} {bottom + 22:.0f}",
            role="img",
            aria_label="contribution of each channel to the score over time",
        ),
        tag("p", f"The darkest reach the threshold alone.{more}", class_="note"),
    )


def _picture(signal: Signal, up: svg.Scale, across: svg.Scale, name: str, *shapes: Markup | None) -> Markup:
    ticks = svg.linear_ticks(up.low, up.high, 3)
    hints = [
        f"{start}: score {'none' if score is None else figure(score, 3)}{', flagged' if odd else ''}"
        for start, score, odd in zip(signal.starts, signal.score, signal.flagged, strict=True)
    ]
    edges = [across(place) for place in range(len(signal.score) + 1)]
    return tag(
        "svg",
        *_stretches(signal.flagged, across, _TOP, _BOTTOM - _TOP, "odd"),
        svg.axis_beside(up, ticks, _LEFT, lambda value: f"{value:.3g}"),
        *shapes,
        *(svg.line(across(place), _TOP, across(place), _BOTTOM, "break") for place in signal.breaks),
        *_stretches(signal.labelled, across, _BOTTOM - 6, 6, "finding"),
        _ends(signal, across, _BOTTOM),
        svg.strips(edges, _TOP, _BOTTOM, hints),
        viewBox=f"0 0 {svg.WIDTH} {_BOTTOM + 22:.0f}",
        class_="grid",
        role="img",
        aria_label=f"{name} over time, with the stretches that are flagged",
    )


def _across(signal: Signal, left: float) -> svg.Scale:
    return svg.Scale(0.0, float(len(signal.score)), left, svg.WIDTH - svg.EDGE, log=False)


def _stretches(
    marked: Sequence[bool], across: svg.Scale, top: float, height: float, class_: str
) -> Iterator[Markup]:
    """Draw a bar at each stretch that is marked."""
    begin = None
    for place, is_marked in enumerate((*marked, False)):
        if is_marked and begin is None:
            begin = place
        elif not is_marked and begin is not None:
            yield svg.bar(across(begin), top, across(place) - across(begin), height, class_)
            begin = None


def _ends(signal: Signal, across: svg.Scale, y: float, left: float = _LEFT) -> Markup:
    """Draw the axis, and below it the times at its ends, from `left` on."""
    right = across.end
    room = (right - left) / 2 - 4
    return joined(
        [
            svg.line(across.start, y, right, y, "axis"),
            svg.label(left, y + 17, svg.shortened(signal.start, room), "tick"),
            svg.label(right, y + 17, svg.shortened(signal.end, room), "tick", "end"),
        ]
    )


def _parts(
    signal: Signal, values: Sequence[float | None], across: svg.Scale, up: svg.Scale
) -> list[list[tuple[float, float]]]:
    """Return the points of a line, in a part for each stretch without a gap in which there are values."""
    parts: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None or place in signal.breaks:
            parts.append([])
        if value is not None:
            parts[-1].append((across(place + 0.5), up(value)))
    return [part for part in parts if part]
