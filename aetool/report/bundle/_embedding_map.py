"""The map of embeddings, one dot a row."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from aetool.report.bundle.records import EmbeddingMap, MapPoint
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, number, tag
from aetool.report.draw.svg import Box, spread

_SIZE, _MARGIN = 384.0, 12.0
_DOT = "h0"  # the round end of a line
_SHAPES = (
    (_DOT, ""),
    ("m0,-2.4l2.3,4h-4.6z", " solid"),  # triangle
    ("m-1.7,-1.7h3.4v3.4h-3.4z", " solid"),  # square
    ("m-1.9,-1.9l3.8,3.8m0,-3.8l-3.8,3.8", " cross"),
    ("m0,-2.6l2.6,2.6l-2.6,2.6l-2.6,-2.6z", " solid"),  # diamond
)
_LETTER = 15.0  # size of a name on the map
_BOLD = 1.15  # as wide as text that is not
_FAR = 10.0  # from its segment's middle: a name gets a line to it
_LEVELS = ("lowest quarter of scores", "second quarter", "third quarter", "highest quarter")


def figures(
    shown: EmbeddingMap, kept: Sequence[str] = (), names: Mapping[int, str] = MappingProxyType({})
) -> Markup:
    """Draw the map coloured by score, and by segment where there are segments.

    The page's script shows the points one by one.

    Args:
        shown: the points.
        kept: names of the columns that the points keep.
        names: segment -> given name.
    """
    drawn = [_figure("map-score", "By score", _by_score(shown.points), is_named=False)]
    if segments := _by_segment(shown.points, names):
        drawn.append(_figure("map-segment", "By segment", segments, is_named=True))
    compact = [
        [
            round(_x(point), 1),
            round(_y(point), 1),
            point.number + 1,
            None if point.score is None else float(f"{point.score:.4g}"),
            int(point.is_anomaly),
            None if point.label is None else int(point.label),
            point.segment,
            *point.kept,
        ]
        for point in sorted(
            shown.points, key=lambda point: -(float("inf") if point.score is None else point.score)
        )
    ]
    slider = tag(
        "p",
        tag("label", "Row by row, the highest score first", for_="map-slider"),
        tag("input", type="range", id="map-slider", min=0, max=len(compact) - 1, step=1, value=0),
        tag("output", "", id="map-row", for_="map-slider"),
        class_="slider",
        hidden=True,
    )
    return tag(
        "div",
        tag("div", *drawn, class_="pairs"),
        tag("p", _axes(shown.method), class_="note"),
        slider,
        tag("div", "", class_="tip", id="map-tip", hidden=True, aria_hidden="true"),
        id="map",
        class_="map",
        data_kept=json.dumps(kept),
        data_points=json.dumps(compact, separators=(",", ":")),
    )


def _axes(method: str) -> str:
    if method.startswith("UMAP"):
        return "The axes of UMAP have no unit."
    return "Across: first principal component, up: second. Neither has a unit."


class _Group(NamedTuple):
    class_: str
    words: str
    points: list[MapPoint]
    shape: str = _DOT
    """SVG path of one dot."""


def _by_score(points: Sequence[MapPoint]) -> list[_Group]:
    normal = sorted(point.score for point in points if point.score is not None and not point.is_anomaly)
    cuts = [normal[len(normal) * i // len(_LEVELS)] for i in range(1, len(_LEVELS))] if normal else []
    levels: list[list[MapPoint]] = [[] for _ in _LEVELS]
    flagged: list[MapPoint] = []
    for point in points:
        if point.is_anomaly or point.score is None:
            flagged.append(point)
        else:
            levels[sum(point.score >= cut for cut in cuts)].append(point)
    quarters = [_Group(f"q{i} dots", words, levels[i]) for i, words in enumerate(_LEVELS)]
    return [*quarters, _Group("flagged dots", "flagged", flagged)]


def _by_segment(points: Sequence[MapPoint], names: Mapping[int, str]) -> list[_Group]:
    segments: dict[int, list[MapPoint]] = {}
    for point in points:
        if point.segment is not None:
            segments.setdefault(point.segment, []).append(point)
    return [
        _Group("s5 dots", "no segment", own) if segment < 0 else _segment(segment, own, names.get(segment, ""))
        for segment, own in sorted(segments.items())
    ]


def _segment(number: int, own: list[MapPoint], name: str) -> _Group:
    """Return a group; the first fifty differ in colour and shape."""
    shape, class_ = _SHAPES[(number + number // svg.SEGMENT_COLOURS) % len(_SHAPES)]
    return _Group(
        f"g{number % svg.SEGMENT_COLOURS} dots{class_}", f"segment {number}{f', {name}' * bool(name)}", own, shape
    )


def _figure(key: str, title: str, groups: list[_Group], *, is_named: bool) -> Markup:
    counts = ", ".join(f"{group.words}: {len(group.points):,}" for group in groups)
    drawn = [group for group in groups if group.points]
    clouds = (
        tag(
            "path",
            d="".join(f"M{number(_x(point))},{number(_y(point))}{group.shape}" for point in group.points),
            class_=group.class_,
        )
        for group in drawn
    )
    picture = svg.picture(
        key,
        f"Map of embeddings, {title.lower()}",
        f"Rows: {counts}.",
        _SIZE,
        tag("rect", x=0.5, y=0.5, width=svg.WIDTH - 1, height=_SIZE - 1, class_="frame"),
        *clouds,
        _names(drawn) if is_named else None,
        svg.marker(0, 0, 0, "ring", radius=7),
    )
    return tag(
        "figure", tag("figcaption", title), picture, svg.legend((_sign(group), group.words) for group in groups)
    )


def _names(groups: Sequence[_Group]) -> Markup:
    """Draw the segments' numbers in their middles, or beside them with a line where one is taken."""
    ordered = sorted(groups, key=lambda group: -len(group.points))
    words = [group.words.removeprefix("segment ").partition(",")[0] for group in ordered]
    wanted = [
        Box(*_middle(group.points), svg.text_width(text, _LETTER) * _BOLD + 6, _LETTER + 3)
        for group, text in zip(ordered, words, strict=True)
    ]
    places = spread(wanted, svg.WIDTH, _SIZE)
    lines = (
        svg.line(box.x, box.y, near.x, near.y, "leader")
        for box, near in zip(places, wanted, strict=True)
        if math.hypot(box.x - near.x, box.y - near.y) > _FAR
    )
    names = (
        svg.label(box.x, box.y + _LETTER * 0.36, text, "name over large", "middle")
        for box, text in zip(places, words, strict=True)
    )
    return joined([*lines, *names])


def _middle(points: Sequence[MapPoint]) -> tuple[float, float]:
    return statistics.median(map(_x, points)), statistics.median(map(_y, points))


def _x(point: MapPoint) -> float:
    return _MARGIN + point.x * (svg.WIDTH - 2 * _MARGIN)


def _y(point: MapPoint) -> float:
    return _MARGIN + (1 - point.y) * (_SIZE - 2 * _MARGIN)


def _sign(group: _Group) -> Markup:
    return tag(
        "path", d=f"M0,0{group.shape}", class_=f"{group.class_} single", transform="translate(7,7) scale(2.5)"
    )
