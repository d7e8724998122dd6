"""The map of embeddings: one dot a row, drawn compactly, by score and by segment."""

import json
from collections.abc import Callable, Sequence

from aetool.portrait.records import EmbeddingMap, Point
from aetool.report import svg
from aetool.report.markup import Markup, number, tag

_SIZE, _MARGIN = 384.0, 12.0
_LEVELS = ("lowest quarter of scores", "second quarter", "third quarter", "highest quarter")


def figures(found: EmbeddingMap, threshold: float) -> Markup:
    """Coloured by score, and by segment where there are segments; told point by point by the page's script."""
    kinds = [_by_score(found.points)]
    if any(point.segment is not None for point in found.points):
        kinds.append(_by_segment(found.points))
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
        tag("div", *(_figure(f"map-{i}", *kind, found.points) for i, kind in enumerate(kinds)), class_="pairs"),
        slider,
        tag("div", "", class_="tip", id="map-tip", hidden=True, aria_hidden="true"),
        id="map",
        class_="map",
        data_threshold=f"{threshold:.6g}",
        data_points=json.dumps(compact, separators=(",", ":")),
    )


_Group = tuple[str, str, Callable[[Point], bool]]  # class, words, whose


def _by_score(points: Sequence[Point]) -> tuple[str, list[_Group], bool]:
    normal = sorted(point.score for point in points if point.score is not None and not point.is_anomaly)
    cuts = [normal[len(normal) * i // 4] for i in (1, 2, 3)] if normal else []

    def level(point: Point) -> int:
        return -1 if point.is_anomaly or point.score is None else sum(point.score >= cut for cut in cuts)

    groups: list[_Group] = [
        (f"q{i} dots", words, lambda point, i=i: level(point) == i)  # type: ignore[misc]
        for i, words in enumerate(_LEVELS)
    ]
    return "By score", [*groups, ("flagged dots", "flagged", lambda point: point.is_anomaly)], False


def _by_segment(points: Sequence[Point]) -> tuple[str, list[_Group], bool]:
    segments = sorted({point.segment for point in points if point.segment is not None})
    groups: list[_Group] = [
        (
            "s5 dots" if segment < 0 else f"s{segment % 8} dots",
            "none" if segment < 0 else f"segment {segment}",
            lambda point, segment=segment: point.segment == segment,  # type: ignore[misc]
        )
        for segment in segments
    ]
    return "By segment", groups, True


def _figure(key: str, title: str, groups: list[_Group], is_named: bool, points: Sequence[Point]) -> Markup:
    clouds, names, told, signs = [], [], [], []
    for class_, words, is_of in groups:
        own = [point for point in points if is_of(point)]
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
        f"{len(points):,} rows; {', '.join(told)}.",
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
