"""Explanations of rows: found against expected values, as features, curves or images; errors row by feature."""

from collections.abc import Iterable, Sequence
from functools import partial

from aetool.report.bundle.records import ChannelPair, ErrorGrid, ExplainedRow, FeatureOfRow, ImagePair, Picture
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, heat, joined, table, tag
from aetool.report.draw.svg import linear_ticks
from aetool.report.draw.units import figure, percent, row_number

_SHOWN = 0.9
"""Share of the score that drawn features add up to; the table below has more."""
_HEIGHT = 20.0
_AXIS, _BAR, _LONGEST = 262.0, 276.0, 60.0
"""End of the axis of a feature, start of the bar of its share, and length of the bar of a whole score."""


def cards(rows: Sequence[ExplainedRow], kept: Sequence[str], most: int, *, has_threshold: bool = True) -> Markup:
    """Return a card per row with up to `most` features; `kept` are the identifying columns."""
    return tag(
        "div", *(_card(row, kept, most, has_threshold=has_threshold) for row in rows), class_="grid explained"
    )


def key_to_marks(row: ExplainedRow) -> Markup:
    """Return the legend of the marks on a card like that of `row`."""
    if row.image is not None:
        marks = {
            "higher than expected": svg.bar(1, 1, 12, 12, "share hot"),
            "lower": svg.bar(1, 1, 12, 12, "share cold"),
        }
    elif row.channels:
        marks = {
            "found": svg.line(0, 7, 14, 7, "s1 line"),
            "expected": svg.line(0, 7, 14, 7, "s0 line"),
        }
    else:
        marks = {
            "found": svg.marker(0, 7, 7, "s1 dot", radius=5),
            "expected": svg.marker(1, 7, 7, "s0 open", radius=4.5),
            "98\N{NO-BREAK SPACE}% of the rows": svg.line(0, 7, 14, 7, "usual"),
            "share of the score": svg.bar(0, 4, 14, 7, "s1 ridge"),
        }
    return svg.legend((mark, name) for name, mark in marks.items())


def _card(row: ExplainedRow, kept: Sequence[str], most: int, *, has_threshold: bool) -> Markup:
    flagged = "" if not has_threshold else ", flagged" if row.is_anomaly else ", not flagged"
    label = "" if row.label is None else ", labelled an anomaly" if row.label else ", labelled normal"
    name = f"{'Window' if row.channels else 'Row'} {row_number(row.number)}"
    identity = ", ".join(f"{column} {text}" for column, text in zip(kept, row.kept, strict=True))
    return tag(
        "article",
        tag("h4", f"{name}: score {figure(row.score)}{flagged}{label}"),
        tag("p", identity, class_="which") if identity else None,
        *(
            [_image(row.image, name)]
            if row.image is not None
            else map(partial(_channel, row=name), row.channels)
            if row.channels
            else _features(row.features, name, most)
        ),
    )


def _image(image: ImagePair, row: str) -> Markup:
    scale = f"{figure(image.low, 3)} (black) to {figure(image.high, 3)} (white)"
    largest = f"up to {figure(image.largest, 3)}"
    shown = (
        ("found", image.found, f"{row} as found: {scale}"),
        ("expected", image.expected, f"{row} as the model expects it"),
        (f"difference, {largest}", image.difference, f"{row}, found less expected: {largest}"),
    )
    return tag(
        "div",
        *(
            tag("div", drawn(picture, told, is_coloured=place == 2), tag("small", name))
            for place, (name, picture, told) in enumerate(shown)
        ),
        class_="arrays",
    )


def drawn(picture: Picture, told: str, *, is_coloured: bool = False) -> Markup:
    """Return a picture with its alternative text."""
    return tag(
        "img",
        src=f"data:image/png;base64,{picture.png}",
        alt=told,
        width=picture.width,
        height=picture.height,
        class_="accent" if is_coloured else None,
    )


# Curves of a window.

_LEFT, _TOP, _BOTTOM = 52.0, 8.0, 92.0
_MOST_HINTS = 60


def _channel(channel: ChannelPair, row: str) -> Markup:
    """Draw a channel as found and as expected, over time."""
    values = (*channel.found, *channel.expected)
    low, high = min(values), max(values)
    half = (high - low) / 2 or 1.0
    up = svg.Scale(low - half * 0.1, high + half * 0.1, _BOTTOM, _TOP, log=False)
    last = max(channel.steps[-1], 1)
    across = svg.Scale(0.0, last, _LEFT, svg.WIDTH - svg.EDGE, log=False)
    found, expected = (
        [(across(step), up(value)) for step, value in zip(channel.steps, part, strict=True)]
        for part in (channel.found, channel.expected)
    )
    thin = -(-len(channel.steps) // _MOST_HINTS)
    hints = [
        f"step {step}: found {figure(own, 3)}, expected {figure(other, 3)}"
        for step, own, other in zip(channel.steps, channel.found, channel.expected, strict=True)
    ]
    picture = tag(
        "svg",
        svg.axis_beside(up, linear_ticks(up.low, up.high, 3), _LEFT, lambda value: f"{value:.3g}"),
        svg.axis_below(across, linear_ticks(0, last, 5), _BOTTOM, _TOP, lambda step: f"{step:,.0f}"),
        svg.path([*found, *expected[::-1]], "between", closed=True),
        svg.path(expected, "s0 line"),
        svg.path(found, "s1 line"),
        svg.hover([x for x, _ in found][::thin], _TOP, _BOTTOM, hints[::thin]),
        viewBox=f"0 0 {svg.WIDTH} {_BOTTOM + 22:.0f}",
        class_="grid",
        role="img",
        aria_label=f"{row}, {channel.name}: found and expected over time",
    )
    return joined([tag("p", tag("strong", channel.name), ", by time step"), picture])


# Features of a table's row.


def _features(features: Sequence[FeatureOfRow], row: str, most: int) -> list[Markup]:
    columns = ("feature", "found", "expected", "share")
    lines: list[list[Cell | None]] = [
        [feature.name, feature.found, feature.expected, (percent(feature.share), feature.share)]
        for feature in features
    ]
    return [
        tag("ul", *map(_line, _drawn(features[:most]))),
        tag("details", tag("summary", "As a table"), table(row, columns, lines)),
    ]


def _drawn(features: Sequence[FeatureOfRow]) -> Iterable[FeatureOfRow]:
    total = 0.0
    for feature in features:
        if total >= _SHOWN:
            return
        yield feature
        total += feature.share


def _line(feature: FeatureOfRow) -> Markup:
    """Draw one feature; numbers stand above their picture, so that long names have room."""
    expected = "as expected" if feature.found == feature.expected else f"expected {feature.expected}"
    share = tag("span", f", {percent(feature.share)} of the score", class_="unseen")
    return tag(
        "li",
        tag(
            "p",
            tag("strong", feature.name),
            " ",
            tag("span", f"{feature.found}, {expected}", share),
        ),
        tag(
            "svg", *_marks(feature), *_share(feature), viewBox=f"0 0 {svg.WIDTH} {_HEIGHT:.0f}", aria_hidden="true"
        ),
    )


def _marks(feature: FeatureOfRow) -> list[Markup]:
    """Draw found and expected on an axis of the column; None for categories."""
    if feature.places is None:
        return []
    y = _HEIGHT / 2
    found, expected, low, high = (svg.EDGE + position * (_AXIS - svg.EDGE - 12) for position in feature.places)
    return [
        svg.line(0, y, _AXIS, y, "reach"),
        svg.line(low, y, high, y, "usual"),
        svg.line(expected, y, found, y, "s1 difference"),
        svg.marker(1, expected, y, "s0 open", f"expected {feature.expected}", 4.5),
        svg.marker(0, found, y, "s1 dot", f"found {feature.found}", 5),
    ]


def _share(feature: FeatureOfRow) -> list[Markup]:
    share = min(max(feature.share, 0.0), 1.0)
    return [
        svg.bar(_BAR, _HEIGHT / 2 - 5, share * _LONGEST, 10, "s1 ridge", f"{percent(feature.share)} of the score"),
        svg.label(svg.WIDTH - 1, _HEIGHT / 2 + 4, percent(feature.share), "value", "end"),
    ]


# Errors of the rows with the highest scores, feature by feature.

_FULL = 0.5
"""Share of the score from which a cell has the strongest colour."""


def error_grid(errors: ErrorGrid) -> Markup:
    """Return a table: a line for each feature, a column for each row."""
    numbers = [row_number(row) for row in errors.rows]
    lines = [
        tag(
            "tr",
            tag("th", feature, scope="row"),
            *(
                heat(
                    f"{share:.0%}"[:-1] if share >= 0.01 else "",
                    share / _FULL,
                    f"row {row}, {feature}: {percent(share)}",
                )
                for row, share in zip(numbers, shares, strict=True)
            ),
        )
        for feature, shares in zip(errors.features, errors.shares, strict=True)
    ]
    title = "Share of the score by feature and row, in percent"
    return tag(
        "div",
        tag(
            "table",
            tag("caption", title),
            tag(
                "thead",
                tag("tr", tag("th", "row", scope="col"), *(tag("th", row, scope="col") for row in numbers)),
            ),
            tag("tbody", *lines),
            class_="heat",
        ),
        class_="scroll whole",
        role="region",
        aria_label=title,
        tabindex="0",
    )
