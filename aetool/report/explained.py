"""Single rows: what was found against what was expected, feature by feature."""

from collections.abc import Sequence

from aetool.portrait.records import ExplainedRow, FeatureOfRow
from aetool.report import svg
from aetool.report.markup import Markup, joined, tag
from aetool.report.tables import Cell, table
from aetool.report.units import figure, percent

_DRAWN = 6
"""Features in the picture; the table below has more."""
_ROW, _HEAD = 38.0, 16.0
_AXIS, _BAR = 262.0, 276.0
"""Where the axis of a feature ends, and the bar of its share begins."""


def figures(key: str, rows: Sequence[ExplainedRow]) -> Markup:
    """A figure for every row."""
    return tag("div", *(_figure(f"{key}-{i}", row) for i, row in enumerate(rows)), class_="grid explained")


def key_to_marks() -> Markup:
    """What the marks mean."""
    marks = {
        "found": svg.marker(0, 7, 7, "s1 dot", radius=5),
        "expected": svg.marker(1, 7, 7, "s0 open", radius=4.5),
        "98 % of the rows": svg.line(0, 7, 14, 7, "usual"),
        "share of the score": svg.bar(0, 4, 14, 7, "s1 ridge"),
    }
    items = (
        tag("li", tag("svg", mark, viewBox="0 0 14 14", class_="sign", aria_hidden="true"), name)
        for name, mark in marks.items()
    )
    return tag("ul", *items, class_="legend")


def _figure(key: str, row: ExplainedRow) -> Markup:
    drawn = row.features[:_DRAWN]
    told = "; ".join(f"{one.name}: found {one.found}, expected {one.expected}" for one in drawn)
    flagged = "flagged" if row.is_anomaly else "not flagged"
    label = "" if row.label is None else ", labelled an anomaly" if row.label else ", labelled normal"
    title = f"Row {row.number:,}: score {figure(row.score)}, {flagged}{label}"
    picture = svg.picture(
        key,
        title,
        f"{told}.",
        _HEAD + _ROW * len(drawn),
        svg.label(svg.WIDTH - svg.EDGE, 11, "share of the score", "tick", "end"),
        *(_line(one, _HEAD + _ROW * i) for i, one in enumerate(drawn)),
    )
    columns = ("feature", "found", "expected", "share of the score")
    lines: list[list[Cell | None]] = [
        [one.name, one.found, one.expected, (percent(one.share), one.share)] for one in row.features
    ]
    opened = tag("details", tag("summary", "As a table"), table(f"Row {row.number:,}", columns, lines))
    return tag("figure", tag("figcaption", title), picture, opened)


def _line(one: FeatureOfRow, top: float) -> Markup:
    y = top + 26
    # Of a number both stand above its axis; of a category what was expected stands in the axis' place.
    values = one.found if one.places is None else f"{one.found}, expected {one.expected}"
    values = svg.shortened(values, 190)
    name = svg.shortened(one.name, _AXIS - svg.text_width(values) - 14)
    shapes: list[Markup | None] = [
        svg.label(svg.EDGE, top + 12, name, "name"),
        svg.label(_AXIS, top + 12, values, "value", "end"),
    ]
    if one.places is not None:
        found, expected, low, high = (svg.EDGE + 6 + place * (_AXIS - svg.EDGE - 12) for place in one.places)
        shapes += [
            svg.line(svg.EDGE, y, _AXIS, y, "reach"),
            svg.line(low, y, high, y, "usual"),
            svg.line(expected, y, found, y, "s1 difference"),
            svg.marker(1, expected, y, "s0 open", f"expected {one.expected}", 4.5),
            svg.marker(0, found, y, "s1 dot", f"found {one.found}", 5),
        ]
    else:
        told = "as expected" if one.found == one.expected else f"expected {one.expected}"
        shapes.append(svg.label(_AXIS, y + 4, svg.shortened(told, _AXIS - svg.EDGE), "tick", "end"))
    share = min(max(one.share, 0.0), 1.0)
    shapes += [
        svg.bar(_BAR, y - 6, share * 76, 10, "s1 ridge", f"{percent(one.share)} of the score"),
        svg.label(svg.WIDTH - svg.EDGE, y + 3, percent(one.share), "value", "end"),
    ]
    return tag("g", joined(shapes))
