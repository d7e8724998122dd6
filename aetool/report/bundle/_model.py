"""The model: the loss of every epoch of its training, and its layers with their widths."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aetool.bundle.manifest import Manifest
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.svg import linear_ticks, log_ticks
from aetool.report.draw.units import TIMES, percent

# The loss of every epoch.

_LEFT, _TOP, _BOTTOM = 46.0, 8.0, 190.0
_MOST_HINTS = 80
_LINES = (("train_loss", "training", "s1"), ("validation_loss", "held-out rows", "s0"))


def losses(provenance: Mapping[str, Any]) -> Markup | None:
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
    values = [epoch.get(name) for epoch in epochs if isinstance(epoch, Mapping)]
    return [float(loss) for loss in values if isinstance(loss, int | float) and 0 < loss < float("inf")]


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


# Layers and their widths.

_LAYERS_TOP, _LAYERS_BOTTOM = 24.0, 144.0
_LEAST = 12.0  # height of the smallest layer
_MOST_LAYERS = 9


class _Layer(NamedTuple):
    width: int
    name: str
    dropout: float = 0.0


def layers(manifest: Manifest) -> Markup | None:
    """Draw the layers; None where their widths are not known, or they are too many."""
    known = manifest.provenance.get("architecture")
    if isinstance(known, Mapping) and known.get("architecture", "dense") != "dense":
        known = None  # convolutions and the like have no widths
    layers = _known_layers(known) if isinstance(known, Mapping) else _ends(manifest)
    if layers is None or len(layers) > _MOST_LAYERS:
        return None
    step = (svg.WIDTH - 2 * svg.EDGE) / len(layers)
    widest = max(layer.width for layer in layers)
    middle = (_LAYERS_TOP + _LAYERS_BOTTOM) / 2
    bars, names = [], []
    for i, layer in enumerate(layers):
        x = svg.EDGE + (i + 0.5) * step
        height = max(_LEAST, (_LAYERS_BOTTOM - _LAYERS_TOP) * math.sqrt(layer.width / widest))
        ends = " ends" * (i in (0, len(layers) - 1))
        hint = f"{layer.name}: {layer.width:,} numbers"
        if i:
            bars.append(svg.line(x - step + 11, middle, x - 11, middle, "flow"))
        bars.append(svg.bar(x - 9, middle - height / 2, 18, height, f"layer{ends}", hint))
        names.append(svg.label(x, middle - height / 2 - 6, f"{layer.width:,}", "name", "middle"))
        name = layer.name if svg.text_width(layer.name) < step else ""
        names.append(svg.label(x, _LAYERS_BOTTOM + 17, name, "tick", "middle"))
    has_dropout = any(layer.dropout for layer in layers)
    picture = svg.picture(
        "layers",
        "Layers of the model",
        ", ".join(f"{layer.name} {layer.width:,}" for layer in layers),
        _LAYERS_BOTTOM + 22,
        *bars,
        *names,
    )
    dropout = next((layer.dropout for layer in layers if layer.dropout), 0.0)
    after = " and ".join(dict.fromkeys(layer.name for layer in layers if layer.dropout))
    notes = joined(
        [
            tag(
                "p",
                tag("s", f"dropout {percent(dropout)} after {after}"),
                " (training only, removed at export)",
                class_="note",
            )
            if has_dropout
            else None,
            None
            if isinstance(known, Mapping)
            else tag("p", "The bundle does not record the layers in between.", class_="note"),
        ]
    )
    return tag("figure", tag("figcaption", "Layers and their widths"), picture, notes)


def _known_layers(architecture: Mapping[str, Any]) -> list[_Layer] | None:
    """Return the layers of a network that aetool trained; the decoder mirrors the encoder."""
    features, embedding, hidden = (architecture.get(key) for key in ("n_features", "embedding_dim", "hidden_dims"))
    if not isinstance(hidden, list) or not all(isinstance(width, int) for width in (features, embedding, *hidden)):
        return None
    dropout = architecture.get("dropout")
    share = float(dropout) if isinstance(dropout, int | float) else 0.0
    position = architecture.get("dropout_on")
    inner = share if position in ("hidden", "both") else 0.0
    outer = share if position in ("embedding", "both") else 0.0
    encoder = [_Layer(width, "hidden", inner) for width in hidden]
    assert isinstance(features, int) and isinstance(embedding, int)
    shape = ""
    if isinstance(window := architecture.get("window"), int):
        features, shape = window * features, f" {window} {TIMES} {features}"
    return [
        _Layer(features, f"input{shape}"),
        *encoder,
        _Layer(embedding, "embedding", outer),
        *encoder[::-1],
        _Layer(features, f"output{shape}"),
    ]


def _ends(manifest: Manifest) -> list[_Layer] | None:
    """Return the widths of input, embedding and output, which every manifest holds."""
    if manifest.embedding_shape is None:
        return None
    numbers = math.prod(manifest.input_shape)
    return [_Layer(numbers, "input"), _Layer(manifest.embedding_dim, "embedding"), _Layer(numbers, "output")]
