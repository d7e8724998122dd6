"""The model card's facts, precisions and segments of a bundle, and segments in plain words."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aetool.bundle.images import shown_shape
from aetool.bundle.manifest import Manifest, Variant
from aetool.report.bundle.records import LARGEST
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, heat, joined, listed, table, tag
from aetool.report.draw.units import NO_BREAK, TIMES, moment, percent, size, speed
from aetool.report.draw.units import figure as number

# Traits of segments in plain words.

_GOOD = 0.8
_AGREEMENT = ((0.9, "excellent"), (_GOOD, "good"), (0.65, "moderate"))  # Steinley 2004, of adjusted Rand indexes
_STRUCTURE = ((0.71, "strong"), (0.51, "reasonable"), (0.26, "weak"))  # Kaufman & Rousseeuw 1990, of silhouettes
_NEAR = 0.9  # of the largest silhouette: numbers of segments that are about as good
_PARTS = {"half": 1 / 2, "a third": 1 / 3, "a quarter": 1 / 4, "a fifth": 1 / 5, "a tenth": 1 / 10}
_Percent = Callable[[float], str]


def title(entry: Mapping[str, Any]) -> str:
    """Return `Segment 0`, or with a given name `Segment 0, Small restaurants`."""
    return f"Segment {entry['segment']}" + (f", {entry['name']}" if entry.get("name") else "")


def names_of(segments: Mapping[str, Any]) -> dict[int, str]:
    """Return segment -> given name; `segments` as the manifest has them."""
    return {entry["segment"]: entry["name"] for entry in segments.get("segments", ()) if entry.get("name")}


def sentence(trait: Mapping[str, Any], percent: _Percent = "{:.0%}".format) -> tuple[str, str]:
    """Describe a trait: `fresh`, `typical 27,000, everybody 8,500 (3.2 times)`; typical is the median.

    Args:
        trait: one of a segment's `traits` in the manifest.
        percent: how to write a share of 1.
    """
    own, everybody, ratio = trait["of_segment"], trait["of_all"], trait["ratio"]
    if trait["statistic"] == "median":
        return trait["feature"], f"typical {_number(own)}, everybody {_number(everybody)}{_times(ratio, percent)}"
    if trait["statistic"] == "share":
        what = trait["category"]
    else:  # share above, share below
        what = f"{trait['statistic'].removeprefix('share ')} {_number(trait['value'])}"
    often = _times(ratio, percent) if ratio is not None and ratio >= 2 else ""
    return trait["feature"], f"{what} for {percent(own)}, everybody {percent(everybody)}{often}"


def _times(ratio: float | None, percent: _Percent) -> str:
    if ratio is None:
        return ""
    if ratio >= 2:
        return f" ({ratio:,.0f} times)" if ratio >= 10 else f" ({ratio:.2g} times)"
    if ratio >= 1:
        return f" ({percent(ratio - 1)} more)"
    near = [name for name, part in _PARTS.items() if abs(ratio / part - 1) <= 0.1]
    return f" ({near[0]})" if near else f" ({percent(1 - ratio)} less)"


def stability(figures: Mapping[str, Any]) -> str:
    """Describe the stability of segments: `0.87, good (adjusted Rand index of ...)`."""
    index = figures["adjusted_rand_index"]
    word = next((word for least, word in _AGREEMENT if index >= least), "poor: other rows would give other groups")
    return f"{index:.2f}, {word} (adjusted Rand index of {figures['refits']} bootstrap refits)"


def separation(silhouette: float) -> str:
    """Describe how separate segments are: `reasonable`."""
    return next((word for least, word in _STRUCTURE if silhouette >= least), "none to speak of")


def advice(chosen: int, index: float, silhouettes: Mapping[int, float]) -> list[str]:
    """Return what to try for better segments, one line each.

    Args:
        chosen: number of segments.
        index: adjusted Rand index of their stability.
        silhouettes: number of segments -> silhouette, of those that were tried.
    """
    lines = []
    best = silhouettes.get(chosen, 0.0)
    if silhouettes and chosen == max(silhouettes):
        lines.append(f"{chosen} is the most that was tried; give --clusters for more")
    if silhouettes and best < _STRUCTURE[-1][0]:
        lines.append(
            f"a silhouette of {best:.2f} means that the segments overlap; choose their number by what is useful"
        )
    if index < _GOOD:
        near = [str(count) for count, value in silhouettes.items() if count < chosen and value >= _NEAR * best]
        fewer = "fewer of them, or " if chosen > 2 else ""
        if near:
            fewer = f"--clusters {' or '.join(near)}, about as separate, or "
        lines.append(
            f"for steadier segments try {fewer}a model without columns that are bookkeeping or tell the outcome "
            "(aetool train --drop)"
        )
    return lines


def _number(value: float) -> str:
    """Return a short number with commas: `27,000`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


_LETTERS = 600
"""Most letters of feature names in the model card."""
_NAMES = {
    "rows_trained": "training rows",
    "rows_held_out": "held-out rows",
    "rows_labelled_anomalous": "labelled anomalies, not trained on",
    "validation_loss_of_mean": "loss if every row were the mean",
    "interrupted": "interrupted",
    "device": "device",
    "epochs": "epochs",
    "torch": "PyTorch",
}
_OF_WINDOWS = {
    "rows_trained": "training windows",
    "rows_held_out": "held-out windows",
    "rows_labelled_anomalous": "windows, one from each row on, with a labelled row, not trained on",
    "validation_loss_of_mean": "loss if every window were the mean",
}
_OF_TRAINING = tuple(name for name in _NAMES if name != "torch")
_DRAWN = ("n_features", "hidden_dims", "embedding_dim", "dropout", "dropout_on")
"""Options that the picture of the layers shows."""
_UNIMPORTANT = {"interrupted": False, "rows_labelled_anomalous": 0}
"""Values that go without saying."""


def threshold_text(value: float) -> str:
    """Return `0.253705`, or `none set`."""
    return number(value, 6) if value < LARGEST else "none set"


def training(manifest: Manifest) -> Markup:
    """Return the facts of the training."""
    return _pairs(
        {
            **_single(manifest, {name: manifest.provenance.get(name) for name in _OF_TRAINING}),
            "options": _options(manifest.provenance.get("training")),
            "architecture": _options(manifest.provenance.get("architecture")),
        }
    )


def card(manifest: Manifest, *, is_trained: bool) -> Markup:
    """Return the facts of the model card; `is_trained`: those of `training` are elsewhere."""
    categories = [f"{name} ({len(texts)} categories)" for name, texts in manifest.categories.items()]
    threshold, provenance = manifest.threshold, manifest.provenance
    promised, method = threshold.get("flagged_share"), str(threshold.get("method", "method not recorded"))
    chosen = f"{threshold_text(manifest.variants['fp32'].threshold)}: {method.removeprefix('none: ')}"
    if isinstance(promised, int | float):
        chosen += f", flags {percent(promised)} of {_text(threshold.get('rows', '?'))} rows"
    facts = {
        "features": _features(manifest),
        "categories": ", ".join(categories),
        "embedding": _shape(manifest.embedding_shape) if manifest.embedding_shape else "none",
        "score": str(manifest.score.get("definition", "not recorded")),
        "threshold": chosen,
        **_single(
            manifest,
            {name: value for name, value in provenance.items() if not is_trained or name not in _OF_TRAINING},
        ),
        "training": "" if is_trained else _options(provenance.get("training")),
        "architecture": "" if is_trained else _options(provenance.get("architecture")),
        "size": size(_bytes(manifest.variants["fp32"], manifest)),
        "ONNX opset": f"{manifest.opset} (IR {manifest.ir_version})",
        "made with": ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items()),
        "created": moment(manifest.created),
        "id": manifest.id,
    }
    return _pairs(facts)


def _features(manifest: Manifest) -> str:
    if (image := shown_shape(manifest)) is not None:
        return f"images of {_shape(image)}"
    names = manifest.feature_names
    shown = list(itertools.takewhile(lambda i: sum(map(len, names[:i])) < _LETTERS, range(len(names))))
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(names[i] for i in shown) + more or f"{_shape(manifest.input_shape)} numbers, no names"


def _single(manifest: Manifest, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the provenance entries that hold a single value."""
    names = _NAMES if manifest.series is None else _NAMES | _OF_WINDOWS
    return {
        names.get(name, name.replace("_", " ")): _text(value)
        for name, value in values.items()
        if isinstance(value, str | int | float)
        and not name.endswith("fingerprint")
        and (name not in _UNIMPORTANT or value != _UNIMPORTANT[name])
    }


def _pairs(facts: Mapping[str, str]) -> Markup:
    return listed((name, text) for name, text in facts.items() if text)


def _bytes(variant: Variant, manifest: Manifest) -> int:
    return sum(manifest.files[file].size for file in variant.files.values())


def precisions(manifest: Manifest) -> Markup:
    """Return a table of precisions with fidelity and speed as measured when they were made."""
    columns = (
        *("precision", "threshold", "size", "largest difference", "decisions that differ", "rank correlation"),
        *("AUROC drop", "speed, many rows"),
    )
    lines = [_precision(name, variant, manifest) for name, variant in manifest.variants.items()]
    known = [i for i in range(len(columns)) if any(line[i] is not None for line in lines)]
    return table("Precisions", [columns[i] for i in known], [[line[i] for i in known] for line in lines])


def _precision(name: str, variant: Variant, manifest: Manifest) -> list[Cell | None]:
    figures = variant.figures
    bytes_ = _bytes(variant, manifest)
    difference, flipped = figures.get("max_scaled_difference"), figures.get("flipped_decisions")
    flips: Cell | None = (f"{flipped:,} rows", flipped) if isinstance(flipped, int) else None
    return [
        name,
        (threshold_text(variant.threshold), variant.threshold),
        (size(bytes_), bytes_),
        (f"{difference:.1e}", difference) if isinstance(difference, int | float) else None,
        _figure(figures, "fidelity", "flips", percent) or flips,
        _figure(figures, "fidelity", "rank_correlation", lambda value: f"{value:.4f}"),
        _figure(figures, "fidelity", "auroc_drop", lambda value: f"{value:.4f}"),
        ("the reference", 1.0) if name == "fp32" else _figure(figures, "speed", "bulk", speed),
    ]


def _figure(figures: Mapping[str, Any], group: str, name: str, form: Callable[[float], str]) -> Cell | None:
    values = figures.get(group)
    value = values.get(name) if isinstance(values, Mapping) else None
    return (form(value), value) if isinstance(value, int | float) else None


def _options(options: Any) -> str:
    if not isinstance(options, Mapping):
        return ""
    return ", ".join(
        f"{name.replace('_', ' ')} {_text(value)}"
        for name, value in options.items()
        if value and name not in _DRAWN
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " x ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def _shape(shape: tuple[int, ...]) -> str:
    return f" {TIMES} ".join(map(str, shape))


# Segments: their sizes, and how each differs from all rows.

_TRAITS, _SHOWN = 6, 3
_STRONGEST = 2.0
"""Standardised difference from which a cell has the strongest colour."""
_MOST_FEATURES = 15
_ROW = 40.0


def segments(described: Mapping[str, Any], images: Mapping[int, Markup] | None = None) -> Markup:
    """Return sizes and differences as pictures, and a card per segment.

    Args:
        described: as the manifest has them.
        images: segment -> its typical row, where rows are images; without, the features that differ are listed.
    """
    entries = described["segments"]
    summary = f"{described.get('clusters')} segments, learned from {described.get('rows', 0):,} rows."
    if described.get("stability"):
        summary += f" Stability: {stability(described['stability'])}; 1: other rows give the same groups."
    return joined(
        [
            tag("p", summary, class_="note"),
            tag("div", _sizes(entries), _differences(entries) if images is None else None, class_="pairs"),
            tag("ul", *(_segment_card(entry, images) for entry in entries), class_="cards"),
        ]
    )


def _sizes(entries: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw a bar for each segment, as long as its share of the rows."""
    largest = max(entry["share"] for entry in entries) or 1.0
    longest = svg.WIDTH - 2 * svg.EDGE
    bars = []
    for i, entry in enumerate(entries):
        share, top = f"{percent(entry['share'])}, {entry['rows']:,} rows", i * _ROW
        room = longest - svg.text_width(share) - 10
        bars += [
            svg.label(svg.EDGE, top + 14, svg.shortened(title(entry), room), "name"),
            svg.label(svg.WIDTH - svg.EDGE, top + 14, share, "value", "end"),
            svg.bar(svg.EDGE, top + 20, longest, 10, "share track"),
            svg.bar(
                svg.EDGE,
                top + 20,
                longest * entry["share"] / largest,
                10,
                f"g{entry['segment'] % svg.SEGMENT_COLOURS} share",
                f"{title(entry)}: {share}",
            ),
        ]
    spoken = "; ".join(f"{title(entry)}: {percent(entry['share'])}" for entry in entries)
    picture = svg.picture("segment-sizes", "Sizes of the segments", f"{spoken}.", _ROW * len(entries), *bars)
    return tag("figure", tag("figcaption", "Sizes"), picture)


def _differences(entries: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return a coloured table: a line for each feature, a column for each segment."""
    differences: dict[str, dict[int, tuple[float, str]]] = {}
    for entry in entries:
        for trait in entry["traits"]:
            words = ": ".join(sentence(trait, percent))
            own = differences.setdefault(_feature(trait), {})
            own.setdefault(entry["segment"], (float(trait["difference"]), words))
    order = sorted(differences, key=lambda name: -max(abs(value) for value, _ in differences[name].values()))
    if not order:
        return None
    numbers = [entry["segment"] for entry in entries]
    caption = "Differences from all rows"
    lines = []
    for name in order[:_MOST_FEATURES]:
        cells = []
        for segment in numbers:
            value, words = differences[name].get(segment, (0.0, "hardly differs"))
            text = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") if segment in differences[name] else ""
            cells.append(heat(text, value / _STRONGEST, f"segment {segment}, {words}"))
        lines.append(tag("tr", tag("th", name, scope="row"), *cells))
    heads = (tag("th", str(segment), scope="col") for segment in numbers)
    grid = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", tag("th", "segment", scope="col"), *heads)),
        tag("tbody", *lines),
        class_="heat",
    )
    note = "In standard deviations: orange is higher than in all rows, blue lower, empty hardly different."
    return tag(
        "div",
        tag("h3", caption),
        tag("p", note, class_="note"),
        tag("div", grid, class_="scroll whole", role="region", aria_label=caption, tabindex="0"),
    )


def _feature(trait: Mapping[str, Any]) -> str:
    category = trait.get("category")
    return f"{trait['feature']} = {category}" if category is not None else str(trait["feature"])


def _segment_card(entry: Mapping[str, Any], images: Mapping[int, Markup] | None) -> Markup:
    if images is not None:
        number = entry["segment"]
        shown = images.get(number, tag("p", "None of the rows here are in it."))
        return tag("li", tag("p", title(entry), class_="what"), tag("div", shown, class_="arrays"))
    traits = entry["traits"][:_TRAITS]
    more = traits[_SHOWN:]
    return tag(
        "li",
        tag("p", title(entry), class_="what"),
        tag("p", entry["label"]),
        _described(traits[:_SHOWN]) if traits else None,
        tag("details", tag("summary", f"{len(more)} more"), _described(more)) if more else None,
    )


def _described(traits: Sequence[Mapping[str, Any]]) -> Markup:
    pairs = (sentence(trait, percent) for trait in traits)
    # The factor stays whole at the end of a line.
    return listed((name, words.replace(" times)", f"{NO_BREAK}times)")) for name, words in pairs)
