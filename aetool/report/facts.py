"""What a bundle says of itself: the model card's facts, its precisions, its segments."""

from collections.abc import Mapping
from typing import Any

from aetool.manifest import Manifest, Variant
from aetool.report.markup import Markup, joined, tag
from aetool.report.tables import Cell, table
from aetool.report.traits import sentence, title
from aetool.report.units import percent, ratio, size

_COLUMNS, _TRAITS = 30, 6


def card(manifest: Manifest) -> Markup:
    """The facts of the model card."""
    names = manifest.feature_names
    more = f" and {len(names) - _COLUMNS} more" if len(names) > _COLUMNS else ""
    categories = [f"{name} ({len(texts)} categories)" for name, texts in manifest.categories.items()]
    threshold, provenance = manifest.threshold, manifest.provenance
    promised = threshold.get("flagged_share")
    chosen = str(threshold.get("method", "not told"))
    if isinstance(promised, int | float):
        chosen += f", flags {percent(promised)} of {threshold.get('rows', '?')} rows"
    facts = {
        "features": (", ".join(names[:_COLUMNS]) + more) or f"of shape {_shape(manifest.input_shape)}, no names",
        "categories": ", ".join(categories),
        "embedding": _shape(manifest.embedding_shape) if manifest.embedding_shape else "none",
        "score": str(manifest.score.get("definition", "not told")),
        "threshold": f"{manifest.variants['fp32'].threshold:.6g}: {chosen}",
        **{
            name.replace("_", " "): _text(value)
            for name, value in provenance.items()
            if isinstance(value, str | int | float) and not name.endswith("fingerprint")
        },
        "training": _options(provenance.get("training")),
        "architecture": _options(provenance.get("architecture")),
        "opset": f"{manifest.opset} (IR {manifest.ir_version})",
        "made with": ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items()),
        "created": manifest.created,
        "id": manifest.id,
    }
    return tag("dl", *(joined([tag("dt", name), tag("dd", text)]) for name, text in facts.items() if text))


def precisions(manifest: Manifest) -> Markup:
    """Every precision, its fidelity and speed as they were measured when it was made."""
    columns = (
        *("precision", "threshold", "size", "largest difference", "decisions that differ", "rank correlation"),
        *("AUROC drop", "rows/s to fp32's"),
    )
    lines = [_precision(name, variant, manifest) for name, variant in manifest.variants.items()]
    return table("Precisions", columns, lines)


def segments(found: Mapping[str, Any]) -> Markup:
    """What makes each segment different, as cards, and how stable they are."""
    stability = found.get("stability", {})
    told = f"{found.get('clusters')} segments, learnt from {found.get('rows', 0):,} rows. "
    if "adjusted_rand_index" in stability:
        index = stability["adjusted_rand_index"]
        told += f"Bootstrap refits have an adjusted Rand index of {index:.2f}; 1 is the same groups."
    return joined([tag("p", told, class_="note"), tag("ul", *map(_segment, found["segments"]), class_="cards")])


def _segment(entry: Mapping[str, Any]) -> Markup:
    traits = (
        joined([tag("dt", name), tag("dd", words)]) for name, words in map(sentence, entry["traits"][:_TRAITS])
    )
    return tag(
        "li",
        tag("p", title(entry), class_="what"),
        tag("p", tag("strong", percent(entry["share"])), f"{entry['rows']:,} rows"),
        tag("p", entry["label"]),
        tag("dl", *traits) if entry["traits"] else None,
    )


def _precision(name: str, variant: Variant, manifest: Manifest) -> list[Cell | None]:
    figures = variant.figures
    bytes_ = sum(manifest.files[file].size for file in variant.files.values())
    difference, flipped = figures.get("max_scaled_difference"), figures.get("flipped_decisions")
    flips: Cell | None = (f"{flipped:,} rows", flipped) if isinstance(flipped, int) else None
    return [
        name,
        (f"{variant.threshold:.6g}", variant.threshold),
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
