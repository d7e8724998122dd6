"""Ratios against a peer: a dot at the median of the rounds, a line from the lowest to the highest."""

from collections.abc import Sequence

from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.source import Ratio
from aetool.report.ticks import log_ticks
from aetool.report.units import ratio, rows
from aetool.report.verdicts import in_order, sentence, setting_words, verdict

_ROW = 33.0
_HEAD = 16.0


def figures(found: Sequence[Ratio]) -> list[Markup]:
    """One figure a graph and peer."""
    groups: dict[tuple[str, str, str], list[Ratio]] = {}
    for one in in_order(found):
        groups.setdefault((one.graph, one.of, one.to), []).append(one)
    return [_figure(f"ratio-{i}", group, found) for i, group in enumerate(groups.values())]


def _figure(key: str, found: Sequence[Ratio], every: Sequence[Ratio]) -> Markup:
    first = found[0]
    scale = svg.log_scale(
        [1.0, *(edge for one in every for edge in one.spread)], svg.EDGE, svg.WIDTH - svg.EDGE, 1.06
    )
    bottom = _HEAD + _ROW * len(found) + 2
    even = scale(1.0)
    picture = svg.picture(
        key,
        f"Time of {first.of} as a multiple of {first.to}, {first.graph}",
        " ".join(f"{_name(one, every)}: {sentence(one)}." for one in found),
        bottom + 24,
        svg.axis_below(
            scale,
            log_ticks(scale.low, scale.high, 8),
            bottom,
            _HEAD,
            lambda value: f"{value:.3g}\N{MULTIPLICATION SIGN}",
        ),
        svg.line(even, _HEAD, even, bottom, "even"),
        svg.label(even - 6, 11, "less time", "tick", "end") if even > 80 else None,
        svg.label(even + 6, 11, "more time", "tick") if even < svg.WIDTH - 80 else None,
        *(_row(one, _name(one, every), scale, _HEAD + i * _ROW) for i, one in enumerate(found)),
    )
    return tag("figure", tag("figcaption", f"{first.graph}: {first.of} against {first.to}"), picture)


def _name(found: Ratio, every: Sequence[Ratio]) -> str:
    return f"{rows(found.batch)}, {found.scenario}{setting_words(found, every)}"


def _row(found: Ratio, name: str, scale: svg.Scale, top: float) -> Markup:
    low, high = (scale(edge) for edge in found.spread)
    y, kind = top + 23, verdict(found)
    return tag(
        "g",
        svg.label(svg.EDGE, top + 13, svg.shortened(name, svg.WIDTH - 70), "name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 13, ratio(found.p50), "value", "end"),
        svg.line(low, y, high, y, f"spread {kind}"),
        svg.marker(
            {"less": 4, "same": 0, "more": 2}[kind], scale(found.p50), y, f"verdict {kind}", sentence(found)
        ),
    )
