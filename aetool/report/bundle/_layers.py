"""The model as a picture: its layers with their widths."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from aetool.bundle.manifest import Manifest
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.units import percent

_TOP, _BOTTOM = 24.0, 144.0
_LEAST = 12.0  # height of the smallest layer
_MOST_LAYERS = 9


class _Layer(NamedTuple):
    width: int
    name: str
    dropout: float = 0.0


def figure(manifest: Manifest) -> Markup | None:
    """Draw the layers; None where their widths are not known, or they are too many."""
    known = manifest.provenance.get("architecture")
    layers = _layers(known) if isinstance(known, Mapping) else _ends(manifest)
    if layers is None or len(layers) > _MOST_LAYERS:
        return None
    step = (svg.WIDTH - 2 * svg.EDGE) / len(layers)
    widest = max(layer.width for layer in layers)
    middle = (_TOP + _BOTTOM) / 2
    bars, names = [], []
    for i, layer in enumerate(layers):
        x = svg.EDGE + (i + 0.5) * step
        height = max(_LEAST, (_BOTTOM - _TOP) * math.sqrt(layer.width / widest))
        ends = " ends" * (i in (0, len(layers) - 1))
        hint = f"{layer.name}: {layer.width:,} numbers"
        if i:
            bars.append(svg.line(x - step + 11, middle, x - 11, middle, "flow"))
        bars.append(svg.bar(x - 9, middle - height / 2, 18, height, f"layer{ends}", hint))
        names.append(svg.label(x, middle - height / 2 - 6, f"{layer.width:,}", "name", "middle"))
        name = layer.name if svg.text_width(layer.name) < step else ""
        names.append(svg.label(x, _BOTTOM + 17, name, "tick", "middle"))
    has_dropout = any(layer.dropout for layer in layers)
    picture = svg.picture(
        "layers",
        "Layers of the model",
        ", ".join(f"{layer.name} {layer.width:,}" for layer in layers),
        _BOTTOM + 22,
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


def _layers(architecture: Mapping[str, Any]) -> list[_Layer] | None:
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
    return [
        _Layer(features, "input"),
        *encoder,
        _Layer(embedding, "embedding", outer),
        *encoder[::-1],
        _Layer(features, "output"),
    ]


def _ends(manifest: Manifest) -> list[_Layer] | None:
    """Return the widths of input, embedding and output, which every manifest holds."""
    if manifest.embedding_shape is None:
        return None
    numbers = math.prod(manifest.input_shape)
    return [_Layer(numbers, "input"), _Layer(manifest.embedding_dim, "embedding"), _Layer(numbers, "output")]
