"""Explanations of single rows: found against expected values, feature by feature."""

from collections.abc import Iterable, Sequence

from aetool.report.bundle.records import ExplainedRow, FeatureOfRow
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, tag
from aetool.report.draw.tables import Cell, table
from aetool.report.draw.units import figure, percent, row_number

_TOLD = 0.9
"""Share of the score that drawn features add up to; the table below has more."""
_HEIGHT = 20.0
_AXIS, _BAR, _LONGEST = 262.0, 276.0, 60.0
"""End of the axis of a feature, start of the bar of its share, and length of the bar of a whole score."""


def cards(rows: Sequence[ExplainedRow], kept: Sequence[str], most: int) -> Markup:
    """Return a card per row with up to `most` features; `kept` are the identifying columns."""
    return tag("div", *(_card(row, kept, most) for row in rows), class_="grid explained")


def key_to_marks() -> Markup:
    """Return the legend of the marks."""
    marks = {
        "found": svg.marker(0, 7, 7, "s1 dot", radius=5),
        "expected": svg.marker(1, 7, 7, "s0 open", radius=4.5),
        "98\N{NO-BREAK SPACE}% of the rows": svg.line(0, 7, 14, 7, "usual"),
        "share of the score": svg.bar(0, 4, 14, 7, "s1 ridge"),
    }
    return svg.legend((mark, name) for name, mark in marks.items())


def _card(row: ExplainedRow, kept: Sequence[str], most: int) -> Markup:
    flagged = "flagged" if row.is_anomaly else "not flagged"
    label = "" if row.label is None else ", labelled an anomaly" if row.label else ", labelled normal"
    name = f"Row {row_number(row.number)}"
    which = ", ".join(f"{column} {text}" for column, text in zip(kept, row.kept, strict=True))
    columns = ("feature", "found", "expected", "share")
    lines: list[list[Cell | None]] = [
        [one.name, one.found, one.expected, (percent(one.share), one.share)] for one in row.features
    ]
    return tag(
        "article",
        tag("h4", f"{name}: score {figure(row.score)}, {flagged}{label}"),
        tag("p", which, class_="which") if which else None,
        tag("ul", *map(_line, _drawn(row.features[:most]))),
        tag("details", tag("summary", "As a table"), table(name, columns, lines)),
    )


def _drawn(features: Sequence[FeatureOfRow]) -> Iterable[FeatureOfRow]:
    told = 0.0
    for one in features:
        if told >= _TOLD:
            return
        yield one
        told += one.share


def _line(one: FeatureOfRow) -> Markup:
    """Draw one feature; numbers stand above their picture, so that long names have room."""
    expected = "as expected" if one.found == one.expected else f"expected {one.expected}"
    share = tag("span", f", {percent(one.share)} of the score", class_="unseen")
    return tag(
        "li",
        tag(
            "p",
            tag("strong", one.name),
            " ",
            tag("span", f"{one.found}, {expected}", share),
        ),
        tag("svg", *_marks(one), *_share(one), viewBox=f"0 0 {svg.WIDTH} {_HEIGHT:.0f}", aria_hidden="true"),
    )


def _marks(one: FeatureOfRow) -> list[Markup]:
    """Draw found and expected on an axis of the column; None for categories."""
    if one.places is None:
        return []
    y = _HEIGHT / 2
    found, expected, low, high = (svg.EDGE + place * (_AXIS - svg.EDGE - 12) for place in one.places)
    return [
        svg.line(0, y, _AXIS, y, "reach"),
        svg.line(low, y, high, y, "usual"),
        svg.line(expected, y, found, y, "s1 difference"),
        svg.marker(1, expected, y, "s0 open", f"expected {one.expected}", 4.5),
        svg.marker(0, found, y, "s1 dot", f"found {one.found}", 5),
    ]


def _share(one: FeatureOfRow) -> list[Markup]:
    share = min(max(one.share, 0.0), 1.0)
    return [
        svg.bar(_BAR, _HEIGHT / 2 - 5, share * _LONGEST, 10, "s1 ridge", f"{percent(one.share)} of the score"),
        svg.label(svg.WIDTH - 1, _HEIGHT / 2 + 4, percent(one.share), "value", "end"),
    ]
