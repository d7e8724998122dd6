"""Where the time goes inside a graph: a bar a node."""

from collections.abc import Sequence

from aetool.bench.result import Measured, NodeTime
from aetool.report import svg
from aetool.report.markup import Markup, tag
from aetool.report.series import Lineup
from aetool.report.units import counted, percent, rows, seconds

_ROW = 30.0
_MOST = 12


def figures(found: Sequence[Measured], lineup: Lineup) -> list[Markup]:
    """One figure for every measurement that was profiled."""
    # A node does the same whatever the scenario: one figure for each contestant, graph and batch.
    profiled = {(lineup.of(one), one.graph, one.batch): one for one in reversed(found) if one.profile}
    return [_figure(f"profile-{i}", one, lineup) for i, one in enumerate(reversed(profiled.values()))]


def _figure(key: str, found: Measured, lineup: Lineup) -> Markup:
    series = lineup.of(found)
    nodes = _slowest(found.profile or ())
    total = sum(node.us for node in nodes) or 1.0
    longest = max(node.us for node in nodes) or 1.0
    shapes: list[Markup] = []
    for i, node in enumerate(nodes):
        value = f"{seconds(node.us * 1e-6)} \N{MIDDLE DOT} {percent(node.us / total)}"
        name = f"{node.op} {node.node}".strip()
        room = svg.WIDTH - svg.EDGE * 2 - svg.text_width(value) - 8
        top, width = i * _ROW, (svg.WIDTH - svg.EDGE * 2) * node.us / longest
        shapes += [
            svg.label(svg.EDGE, top + 13, svg.shortened(name, room), "name"),
            svg.label(svg.WIDTH - svg.EDGE, top + 13, value, "value", "end"),
            svg.bar(svg.EDGE, top + 18, width, 8, f"{series.colour} dot", f"{name}: {value}"),
        ]
    words = f"{series.name}: {found.graph}, {rows(found.batch)}"
    told = "; ".join(f"{node.op} {node.node} {seconds(node.us * 1e-6)}" for node in nodes)
    picture = svg.picture(key, f"Time of each node, {words}", told, len(nodes) * _ROW + 4, *shapes)
    return tag("figure", tag("figcaption", words), picture)


def _slowest(nodes: Sequence[NodeTime]) -> list[NodeTime]:
    """The slowest first; what is too much for a figure is one bar."""
    ordered = sorted(nodes, key=lambda node: -node.us)
    rest = ordered[_MOST:]
    if not rest:
        return ordered
    return [*ordered[:_MOST], NodeTime("", counted(len(rest), "other node"), sum(node.us for node in rest))]
