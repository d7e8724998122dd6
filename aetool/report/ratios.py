"""Ratios against a peer: a sign at the median of the rounds, a line from the lowest to the highest."""

from collections.abc import Sequence

from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.ticks import log_ticks
from aetool.report.units import TIMES, ratio, rows
from aetool.report.verdicts import LESS, MORE, NONE, SAME, Verdict

_ROW = 33.0
_HEAD = 16.0
_SHAPES = {LESS: 4, MORE: 2, SAME: 0, NONE: 5}


def figures(found: Sequence[Verdict]) -> list[Markup]:
    """One figure a graph and peer, all on one scale."""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for one in found:
        groups.setdefault((one.ratio.graph, one.ratio.of, one.ratio.to), []).append(one)
    edges = [edge for one in found for edge in one.ratio.spread]
    scale = svg.log_scale([1.0, *edges], svg.EDGE, svg.WIDTH - svg.EDGE, 1.06)
    return [_figure(f"ratio-{i}", *key, group, scale) for i, (key, group) in enumerate(groups.items())]


def _figure(key: str, graph: str, of: str, to: str, found: Sequence[Verdict], scale: svg.Scale) -> Markup:
    bottom = _HEAD + _ROW * len(found) + 2
    even = scale(1.0)
    picture = svg.picture(
        key,
        f"Time of {of} as a multiple of {to}, {graph}",
        " ".join(f"{_name(one)}: {one.sentence}." for one in found),
        bottom + 24,
        svg.axis_below(scale, log_ticks(scale.low, scale.high, 8), bottom, _HEAD, _tick),
        svg.line(even, _HEAD, even, bottom, "even"),
        svg.label(even - 6, 11, "less time", "tick", "end") if even > 80 else None,
        svg.label(even + 6, 11, "more time", "tick") if even < svg.WIDTH - 80 else None,
        *(_row(one, scale, _HEAD + i * _ROW) for i, one in enumerate(found)),
    )
    return tag("figure", tag("figcaption", f"{graph}: {of} against {to}"), picture)


def _row(found: Verdict, scale: svg.Scale, top: float) -> Markup:
    low, high = (scale(edge) for edge in found.ratio.spread)
    y, sign = top + 23, _SHAPES[found.kind]
    return tag(
        "g",
        svg.label(svg.EDGE, top + 13, svg.shortened(_name(found), svg.WIDTH - 70), "name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 13, ratio(found.ratio.p50), "value", "end"),
        svg.line(low, y, high, y, f"spread {found.kind}"),
        svg.marker(sign, scale(found.ratio.p50), y, f"verdict {found.kind}", found.sentence),
    )


def _name(found: Verdict) -> str:
    return f"{rows(found.ratio.batch)}, {found.ratio.scenario}{found.setting}"


def _tick(value: float) -> str:
    return f"{value:.3g}{TIMES}"
