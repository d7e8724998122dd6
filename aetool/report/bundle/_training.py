"""The loss of every epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.svg import linear_ticks, log_ticks

_LEFT, _TOP, _BOTTOM = 46.0, 8.0, 190.0
_MOST_HINTS = 80
_LINES = (("train_loss", "training", "s1"), ("validation_loss", "held-out rows", "s0"))


def figure(provenance: Mapping[str, Any]) -> Markup | None:
    """Draw the losses on a logarithmic axis; None where the bundle has no losses."""
    lines = {name: _losses(provenance.get("history"), name) for name, _, _ in _LINES}
    known = [loss for losses in lines.values() for loss in losses]
    if not known:
        return None
    up = svg.log_scale(known, _BOTTOM, _TOP)
    epochs = max(map(len, lines.values()))
    across = svg.Scale(0.0, max(epochs, 2), _LEFT, svg.WIDTH - svg.EDGE, log=False)
    drawn = [
        svg.path([(across(epoch), up(loss)) for epoch, loss in enumerate(lines[name], 1)], f"{colour} line")
        for name, _, colour in _LINES
        if len(lines[name]) > 1
    ]
    dots = [
        svg.marker(
            0, across(len(lines[name])), up(lines[name][-1]), f"{colour} dot", f"{words}: {_last(lines[name])}"
        )
        for name, words, colour in _LINES
        if lines[name]
    ]
    summary = "; ".join(f"{words} {_last(lines[name])}" for name, words, _ in _LINES if lines[name])
    picture = svg.picture(
        "training",
        "Loss of every epoch",
        f"After {epochs} epochs: {summary}.",
        _BOTTOM + 40,
        tag(
            "g",
            joined(_tick(tick, up) for tick in log_ticks(up.low, up.high, 5)),
            svg.axis_below(across, linear_ticks(0.0, max(epochs, 2), 6), _BOTTOM, _TOP, lambda at: f"{at:,.0f}"),
            class_="grid",
        ),
        svg.label((_LEFT + svg.WIDTH) / 2, _BOTTOM + 35, "epoch", "tick", "middle"),
        *drawn,
        *dots,
        _hover(lines, epochs, across),
    )
    legend = svg.legend((svg.marker(0, 7, 7, f"{colour} dot"), words) for _, words, colour in _LINES)
    return tag("figure", tag("figcaption", "Loss by epoch"), picture, legend)


def _hover(lines: Mapping[str, Sequence[float]], epochs: int, across: svg.Scale) -> Markup:
    """Return tooltips with the losses, for some of many epochs."""
    shown = range(1, epochs + 1, -(-epochs // _MOST_HINTS))
    hints = [
        f"epoch {epoch}: "
        + ", ".join(
            f"{words} {lines[name][epoch - 1]:.4g}" for name, words, _ in _LINES if epoch <= len(lines[name])
        )
        for epoch in shown
    ]
    return svg.hover([across(epoch) for epoch in shown], _TOP, _BOTTOM, hints)


def _losses(history: Any, name: str) -> list[float]:
    """Return the losses that fit on a logarithmic axis."""
    epochs = history if isinstance(history, list) else []
    losses = [epoch.get(name) for epoch in epochs if isinstance(epoch, Mapping)]
    return [float(loss) for loss in losses if isinstance(loss, int | float) and 0 < loss < float("inf")]


def _last(losses: list[float]) -> str:
    return f"{losses[-1]:.4g} (lowest {min(losses):.4g})"


def _tick(tick: float, up: svg.Scale) -> Markup:
    y = up(tick)
    return joined(
        [
            svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, "grid"),
            svg.label(_LEFT - 6, y + 4, f"{tick:.3g}", "tick", "end"),
        ]
    )
