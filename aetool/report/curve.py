"""ROC and precision-recall, with a mark where the threshold stands."""

from collections.abc import Sequence

from aetool.portrait.records import Portrait
from aetool.report import svg
from aetool.report.markup import Markup, joined, tag

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 386.0, 10.0, 240.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def curves(portrait: Portrait) -> list[Markup]:
    """Both figures; none without labels of both kinds."""
    found, sweep, anomalies = portrait.curves, portrait.sweep, portrait.anomalies
    if found is None or sweep.hits is None or anomalies is None:
        return []
    flagged, hits = sweep.flagged[sweep.own], sweep.hits[sweep.own]
    recall = hits / anomalies
    roc = (flagged - hits) / (portrait.rows - anomalies), recall
    base = anomalies / portrait.rows
    return [
        _figure(
            "roc",
            f"ROC: area {found.auroc:.4f}",
            ("false positive rate", "recall"),
            found.roc,
            [(0.0, 0.0), (1.0, 1.0)],
            roc,
        ),
        _figure(
            "precision-recall",
            f"Precision and recall: average precision {found.average_precision:.4f}",
            ("recall", "precision"),
            found.precision_recall,
            [(0.0, base), (1.0, base)],
            (recall, hits / flagged if flagged else 1.0),
        ),
    ]


def _figure(
    key: str,
    title: str,
    axes: tuple[str, str],
    points: Sequence[tuple[float, float]],
    chance: Sequence[tuple[float, float]],
    mark: tuple[float, float],
) -> Markup:
    across = svg.Scale(0.0, 1.0, _LEFT, _RIGHT, log=False)
    up = svg.Scale(0.0, 1.0, _BOTTOM, _TOP, log=False)

    def placed(some: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(across(x), up(y)) for x, y in some]

    ((x, y),) = placed([mark])
    picture = svg.picture(
        key,
        title,
        f"The bundle's threshold has {axes[0]} {mark[0]:.3f} and {axes[1]} {mark[1]:.3f}.",
        _BOTTOM + 40,
        tag(
            "g",
            joined(svg.line(_LEFT, up(tick), _RIGHT, up(tick), "grid") for tick in _TICKS),
            joined(svg.line(across(tick), _TOP, across(tick), _BOTTOM, "grid") for tick in _TICKS),
            joined(svg.label(_LEFT - 6, up(tick) + 4, f"{tick:g}", "tick", "end") for tick in _TICKS),
            joined(svg.label(across(tick), _BOTTOM + 17, f"{tick:g}", "tick", "middle") for tick in _TICKS),
            class_="grid",
        ),
        svg.label((_LEFT + _RIGHT) / 2, _BOTTOM + 35, axes[0], "tick", "middle"),
        tag(
            "text",
            axes[1],
            transform=f"translate(11,{(_TOP + _BOTTOM) / 2:.0f}) rotate(-90)",
            class_="tick middle",
        ),
        svg.path(placed(chance), "even"),
        svg.path(placed(points), "s0 line"),
        tag(
            "g",
            svg.marker(3, 0, 0, "mark", "the threshold", 6),
            id=f"{key}-mark",
            transform=f"translate({x:.1f},{y:.1f})",
            data_box=f"{_LEFT:.0f},{_RIGHT:.0f},{_BOTTOM:.0f},{_TOP:.0f}",
        ),
    )
    return tag("figure", tag("figcaption", title), picture)
