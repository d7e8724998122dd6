"""The model card's facts, precisions and segments of a bundle, and segments in plain words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aetool.bundle.manifest import Manifest, Variant
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.tables import Cell, listed, table
from aetool.report.draw.units import NO_BREAK, percent, ratio, size
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


def stability(found: Mapping[str, Any]) -> str:
    """Describe the stability of segments: `0.87, good (adjusted Rand index of ...)`."""
    index = found["adjusted_rand_index"]
    word = next((word for least, word in _AGREEMENT if index >= least), "poor: other rows would give other groups")
    return f"{index:.2f}, {word} (adjusted Rand index of {found['refits']} bootstrap refits)"


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
            f"a silhouette of {best:.2f} says that the segments run into one another; choose their number by what "
            "is of use"
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


_COLUMNS, _TRAITS, _SHOWN = 30, 6, 3


_OF_TRAINING = ("rows_trained", "rows_held_out", "rows_labelled_anomalous", "interrupted", "device", "epochs")


def training(manifest: Manifest) -> Markup:
    """Return the facts of the training."""
    return _pairs(
        {
            **_single({name: manifest.provenance.get(name) for name in _OF_TRAINING}),
            "options": _options(manifest.provenance.get("training")),
            "architecture": _options(manifest.provenance.get("architecture")),
        }
    )


def card(manifest: Manifest, *, is_trained: bool) -> Markup:
    """Return the facts of the model card; `is_trained`: those of `training` are elsewhere."""
    names = manifest.feature_names
    more = f" and {len(names) - _COLUMNS} more" if len(names) > _COLUMNS else ""
    categories = [f"{name} ({len(texts)} categories)" for name, texts in manifest.categories.items()]
    threshold, provenance = manifest.threshold, manifest.provenance
    promised = threshold.get("flagged_share")
    chosen = str(threshold.get("method", "not told"))
    if isinstance(promised, int | float):
        chosen += f", flags {percent(promised)} of {_text(threshold.get('rows', '?'))} rows"
    facts = {
        "features": (", ".join(names[:_COLUMNS]) + more) or f"of shape {_shape(manifest.input_shape)}, no names",
        "categories": ", ".join(categories),
        "embedding": _shape(manifest.embedding_shape) if manifest.embedding_shape else "none",
        "score": str(manifest.score.get("definition", "not told")),
        "threshold": f"{number(manifest.variants['fp32'].threshold, 6)}: {chosen}",
        **_single(
            {name: value for name, value in provenance.items() if not is_trained or name not in _OF_TRAINING}
        ),
        "training": "" if is_trained else _options(provenance.get("training")),
        "architecture": "" if is_trained else _options(provenance.get("architecture")),
        "size": size(_bytes(manifest.variants["fp32"], manifest)),
        "opset": f"{manifest.opset} (IR {manifest.ir_version})",
        "made with": ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items()),
        "created": manifest.created,
        "id": manifest.id,
    }
    return _pairs(facts)


def _single(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the provenance entries that hold a single value."""
    return {
        name.replace("_", " "): _text(value)
        for name, value in values.items()
        if isinstance(value, str | int | float) and not name.endswith("fingerprint")
    }


def _pairs(facts: Mapping[str, str]) -> Markup:
    return listed((name, text) for name, text in facts.items() if text)


def _bytes(variant: Variant, manifest: Manifest) -> int:
    return sum(manifest.files[file].size for file in variant.files.values())


def precisions(manifest: Manifest) -> Markup:
    """Return a table of precisions with fidelity and speed as measured when they were made."""
    columns = (
        *("precision", "threshold", "size", "largest difference", "decisions that differ", "rank correlation"),
        *("AUROC drop", "rows/s to fp32's"),
    )
    lines = [_precision(name, variant, manifest) for name, variant in manifest.variants.items()]
    told = [place for place in range(len(columns)) if any(line[place] is not None for line in lines)]
    return table("Precisions", [columns[place] for place in told], [[line[i] for i in told] for line in lines])


def segments(found: Mapping[str, Any]) -> Markup:
    """Return a card per segment with its traits, and their stability."""
    told = f"{found.get('clusters')} segments, learnt from {found.get('rows', 0):,} rows."
    if found.get("stability"):
        told += f" Stability: {stability(found['stability'])}; 1 is the same groups."
    return joined([tag("p", told, class_="note"), tag("ul", *map(_segment, found["segments"]), class_="cards")])


def _segment(entry: Mapping[str, Any]) -> Markup:
    traits = entry["traits"][:_TRAITS]
    more = traits[_SHOWN:]
    return tag(
        "li",
        tag("p", title(entry), class_="what"),
        tag("p", tag("strong", percent(entry["share"])), f"{entry['rows']:,} rows"),
        tag("p", entry["label"]),
        _told(traits[:_SHOWN]) if traits else None,
        tag("details", tag("summary", f"{len(more)} more"), _told(more)) if more else None,
    )


def _told(traits: Sequence[Mapping[str, Any]]) -> Markup:
    pairs = (sentence(trait, percent) for trait in traits)
    # The factor stays whole at the end of a line.
    return listed((name, words.replace(" times)", f"{NO_BREAK}times)")) for name, words in pairs)


def _precision(name: str, variant: Variant, manifest: Manifest) -> list[Cell | None]:
    figures = variant.figures
    bytes_ = _bytes(variant, manifest)
    difference, flipped = figures.get("max_scaled_difference"), figures.get("flipped_decisions")
    flips: Cell | None = (f"{flipped:,} rows", flipped) if isinstance(flipped, int) else None
    return [
        name,
        (number(variant.threshold, 6), variant.threshold),
        (size(bytes_), bytes_),
        (f"{difference:.1e}", difference) if isinstance(difference, int | float) else None,
        _figure(figures, "fidelity", "flips", percent) or flips,
        _figure(figures, "fidelity", "rank_correlation", lambda value: f"{value:.4f}"),
        _figure(figures, "fidelity", "auroc_drop", lambda value: f"{value:.4f}"),
        (ratio(1), 1.0) if name == "fp32" else _figure(figures, "speed", "bulk", ratio),
    ]


def _figure(figures: Mapping[str, Any], group: str, name: str, form: Any) -> Cell | None:
    value = found.get(name) if isinstance(found := figures.get(group), Mapping) else None
    return (form(value), value) if isinstance(value, int | float) else None


def _options(found: Any) -> str:
    if not isinstance(found, Mapping):
        return ""
    return ", ".join(
        f"{name.replace('_', ' ')} {_text(value)}" for name, value in found.items() if value is not None
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " x ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
