"""Segments: their sizes, and how each differs from all rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from aetool.report.bundle.facts import sentence, stability, title
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.tables import heat, listed
from aetool.report.draw.units import NO_BREAK, percent

_TRAITS, _SHOWN = 6, 3
_FULL = 2.0
"""Standardised difference from which a cell has the strongest colour."""
_MOST_FEATURES = 15
_ROW = 40.0


def figures(segments: Mapping[str, Any]) -> Markup:
    """Return sizes and differences as pictures, and a card per segment."""
    entries = segments["segments"]
    summary = f"{segments.get('clusters')} segments, learnt from {segments.get('rows', 0):,} rows."
    if segments.get("stability"):
        summary += f" Stability: {stability(segments['stability'])}; 1 means that other rows give the same groups."
    return joined(
        [
            tag("p", summary, class_="note"),
            tag("div", _sizes(entries), _differences(entries), class_="pairs"),
            tag("ul", *map(_card, entries), class_="cards"),
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
        for number in numbers:
            value, words = differences[name].get(number, (0.0, "hardly differs"))
            text = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}") if number in differences[name] else ""
            cells.append(heat(text, value / _FULL, f"segment {number}, {words}"))
        lines.append(tag("tr", tag("th", name, scope="row"), *cells))
    heads = (tag("th", str(number), scope="col") for number in numbers)
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


def _card(entry: Mapping[str, Any]) -> Markup:
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
