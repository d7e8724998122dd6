"""The map of embeddings: one dot a row, drawn compactly, by score and by segment."""

import json
from collections.abc import Sequence

from aetool.portrait.records import EmbeddingMap, Point
from aetool.report import svg
from aetool.report.markup import Markup, number, tag

_SIZE, _MARGIN = 384.0, 12.0
_LEVELS = ("lowest quarter of scores", "second quarter", "third quarter", "highest quarter")


def figures(found: EmbeddingMap) -> Markup:
    """Coloured by score, and by segment where there are segments; told point by point by the page's script."""
    drawn = [_figure("map-score", "By score", _by_score(found.points), is_named=False)]
    if segments := _by_segment(found.points):
        drawn.append(_figure("map-segment", "By segment", segments, is_named=True))
    compact = [
        [
            round(_x(point), 1),
            round(_y(point), 1),
            point.number,
            None if point.score is None else float(f"{point.score:.4g}"),
            int(point.is_anomaly),
            None if point.label is None else int(point.label),
            point.segment,
        ]
        for point in sorted(
            found.points, key=lambda point: -(float("inf") if point.score is None else point.score)
        )
    ]
    slider = tag(
        "p",
        tag("label", "Row by row, the highest score first", for_="map-slider"),
        tag("input", type="range", id="map-slider", min=0, max=len(compact) - 1, step=1, value=0),
        tag("output", "", id="map-told", for_="map-slider"),
        class_="slider",
        hidden=True,
    )
    return tag(
        "div",
        tag("div", *drawn, class_="pairs"),
        slider,
        tag("div", "", class_="tip", id="map-tip", hidden=True, aria_hidden="true"),
        id="map",
        class_="map",
        data_points=json.dumps(compact, separators=(",", ":")),
    )


_Group = tuple[str, str, list[Point]]  # class, words, whose


def _by_score(points: Sequence[Point]) -> list[_Group]:
    normal = sorted(point.score for point in points if point.score is not None and not point.is_anomaly)
    cuts = [normal[len(normal) * i // len(_LEVELS)] for i in range(1, len(_LEVELS))] if normal else []
    levels: list[list[Point]] = [[] for _ in _LEVELS]
    flagged: list[Point] = []
    for point in points:
        if point.is_anomaly or point.score is None:
            flagged.append(point)
        else:
            levels[sum(point.score >= cut for cut in cuts)].append(point)
    quarters = [(f"q{i} dots", words, levels[i]) for i, words in enumerate(_LEVELS)]
    return [*quarters, ("flagged dots", "flagged", flagged)]


def _by_segment(points: Sequence[Point]) -> list[_Group]:
    segments: dict[int, list[Point]] = {}
    for point in points:
        if point.segment is not None:
            segments.setdefault(point.segment, []).append(point)
    return [
        ("s5 dots", "no segment", own) if segment < 0 else (f"s{segment % 8} dots", f"segment {segment}", own)
        for segment, own in sorted(segments.items())
    ]


def _figure(key: str, title: str, groups: list[_Group], *, is_named: bool) -> Markup:
    clouds, names, told, signs = [], [], [], []
    for class_, words, own in groups:
        told.append(f"{words}: {len(own):,}")
        signs.append(_sign(class_, words))
        if not own:
            continue
        way = "".join(f"M{number(_x(point))},{number(_y(point))}h0" for point in own)
        clouds.append(tag("path", d=way, class_=class_))
        if is_named:  # colours begin anew after eight, and not everybody tells them apart
            middle = (
                sorted(_x(point) for point in own)[len(own) // 2],
                sorted(_y(point) for point in own)[len(own) // 2],
            )
            names.append(svg.label(*middle, words.removeprefix("segment "), "name over large", "middle"))
    picture = svg.picture(
        key,
        f"Map of embeddings, {title.lower()}",
        f"Rows: {', '.join(told)}.",
        _SIZE,
        *clouds,
        *names,
        svg.marker(0, 0, 0, "ring", radius=7),
    )
    return tag("figure", tag("figcaption", title), picture, tag("ul", *signs, class_="legend"))


def _x(point: Point) -> float:
    return _MARGIN + point.x * (svg.WIDTH - 2 * _MARGIN)


def _y(point: Point) -> float:
    return _MARGIN + (1 - point.y) * (_SIZE - 2 * _MARGIN)


def _sign(class_: str, words: str) -> Markup:
    dot = tag("path", d="M7,7h0", class_=f"{class_} single")
    return tag("li", tag("svg", dot, viewBox="0 0 14 14", class_="sign", aria_hidden="true"), words)
