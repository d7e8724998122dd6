"""Embeddings sent instead of rows: bytes of a row against what is lost, as a picture of its own."""

from collections.abc import Sequence
from typing import NamedTuple

from aetool.report import svg
from aetool.report.markup import Markup, joined, tag
from aetool.report.page import style
from aetool.report.ticks import linear_ticks, log_ticks
from aetool.report.units import size

_LEFT, _TOP, _BOTTOM = 46.0, 26.0, 230.0
_HEIGHT = _BOTTOM + 40


class Sent(NamedTuple):
    """One format."""

    name: str
    bytes_per_row: int
    error: float


def embeddings_picture(title: str, features_bytes: int, sent: Sequence[Sent]) -> str:
    """A whole SVG file, complete without the network.

    Args:
        features_bytes: of a row as it is, whose error is 0.
    """
    across = svg.log_scale(
        [features_bytes, *(one.bytes_per_row for one in sent)], _LEFT + 8, svg.WIDTH - svg.EDGE - 30, 1.3
    )
    up = svg.Scale(0.0, max(1e-9, *(one.error for one in sent)) * 1.3, _BOTTOM, _TOP, log=False)
    points = [(across(one.bytes_per_row), up(one.error)) for one in sent]
    x = across(features_bytes)
    told = "; ".join(f"{one.name}: {size(one.bytes_per_row)}, error {one.error:.3g}" for one in sent)
    return svg.picture(
        "embeddings",
        title,
        f"{told}; the features themselves: {size(features_bytes)}, error 0",
        _HEIGHT,
        tag("style", Markup(f"{style()} text {{ font-family: sans-serif }}")),
        tag("rect", width=svg.WIDTH, height=_HEIGHT, fill="var(--page)"),
        svg.label(4, 14, svg.shortened(title, svg.WIDTH - 8), "name"),
        tag(
            "g",
            _axis_beside(up),
            svg.axis_below(across, log_ticks(across.low, across.high, 6), _BOTTOM, _TOP, size),
            class_="grid",
        ),
        svg.label(svg.WIDTH / 2 + 20, _BOTTOM + 34, "bytes of a row", "tick", "middle"),
        svg.path(sorted(points), "front"),
        svg.marker(1, x, up(0.0), "s5 dot", f"features: {size(features_bytes)}"),
        svg.label(x, up(0.0) - 9, "features", "name over", "middle"),
        *(svg.marker(0, *point, "s0 dot", one.name, 4.5) for one, point in zip(sent, points, strict=True)),
        *(
            svg.label(point[0], point[1] - 10, one.name, "name over", "middle")
            for one, point in zip(sent, points, strict=True)
        ),
    )


def _axis_beside(up: svg.Scale) -> Markup:
    shapes = [svg.line(_LEFT, _TOP, _LEFT, _BOTTOM, "axis")]
    for tick in linear_ticks(up.low, up.high, 5):
        shapes.append(svg.line(_LEFT - 4, up(tick), svg.WIDTH - svg.EDGE, up(tick), "grid"))
        shapes.append(svg.label(_LEFT - 6, up(tick) + 4, f"{tick:.3g}", "tick", "end"))
    return joined(shapes)
