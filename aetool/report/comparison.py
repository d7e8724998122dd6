"""The page of a comparison: an old model and a new one on the same rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.decisions import ModelComparison, Side
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, joined, table, tag
from aetool.report.draw.page import page, section
from aetool.report.draw.svg import log_scale, log_ticks
from aetool.report.draw.units import figure, percent, rate, rows, seconds, size

MOST_POINTS, MOST_LISTED = 3000, 100
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, svg.WIDTH - svg.EDGE, 12.0, 340.0

Kept = Mapping[str, NDArray[Any]]


def comparison_page(found: ModelComparison, source: str, kept: Kept | None = None) -> str:
    """Return the page as HTML; `kept` are columns, (rows,) each, that tell people which row it is."""
    kept = kept or {}
    sections = [
        section("Scores", "Each point is a row. Rows on the diagonal score alike in both.", _scatter(found)),
        section("Figures", None, _figures(found)),
        _changed("Newly flagged", "Rows that the new model alone flags", found.now_flagged, found, kept),
        _changed("No longer flagged", "Rows that the old model alone flags", found.no_longer_flagged, found, kept),
    ]
    about = f"{rows(found.rows)} of {source}. Old: {found.old.id[:12]}. New: {found.new.id[:12]}."
    heading = f"{found.old.name} against {found.new.name}" if found.old.name != found.new.name else found.new.name
    return page(found.new.name, "aetool compare", heading, found.sentence, about, sections)


def _figures(found: ModelComparison) -> Markup:
    def pair(name: str, get: Any, text: Any) -> list[Cell | None]:
        values = get(found.old), get(found.new)
        return [name, *(None if value is None else (text(value), float(value)) for value in values)]

    lines = [
        pair("AUROC", lambda side: side.auroc, "{:.4f}".format),
        pair("recall", lambda side: side.recall, percent),
        pair("false alarms", lambda side: side.false_alarms, percent),
        pair("false alarms at the old recall", lambda side: side.false_alarms_at_recall, percent),
        pair("threshold", lambda side: side.threshold, figure),
        pair("rows flagged", lambda side: side.flagged, "{:,}".format),
        pair("one row", _one_row, seconds),
        pair("rows per second", lambda side: side.rows_per_s or None, rate),
        pair("size of the graphs", lambda side: side.bytes, size),
    ]
    shown = [line for line in lines if line[1] is not None]
    told = f"Rank correlation of the scores: {found.rank_correlation:.4f}. Decisions that change: "
    told += f"{percent(found.changed)}."
    if found.auroc_interval is not None and found.auroc_change is not None:
        low, high = found.auroc_interval
        told += f" AUROC changes by {found.auroc_change:+.4f} (95 % interval: {low:+.4f} to {high:+.4f})."
    title = "Old and new"
    return joined([tag("p", told), table(title, ("", "old", "new"), shown)])


def _one_row(side: Side) -> float | None:
    return side.one_row_s or None


def _scatter(found: ModelComparison) -> Markup:
    old, new = (np.asarray(score, np.float64) for score in found.scores)
    usable = np.flatnonzero(np.isfinite(old) & np.isfinite(new) & (old > 0) & (new > 0))
    if not len(usable):
        return tag("p", "No row has a finite score above 0 in both.")
    changed = np.isin(usable, np.concatenate([found.now_flagged, found.no_longer_flagged]))
    drawn = np.sort(np.random.default_rng(0).permutation(len(usable))[:MOST_POINTS])
    chosen = np.union1d(usable[drawn], usable[changed][:MOST_POINTS])
    ends = [float(value) for score in (old, new) for value in (score[chosen].min(), score[chosen].max())]
    across = log_scale(ends, _LEFT, _RIGHT)
    up = log_scale(ends, _BOTTOM, _TOP)
    low, high = min(ends), max(ends)
    ticks = log_ticks(low, high)
    marks = set(np.concatenate([found.now_flagged, found.no_longer_flagged]).tolist())
    groups: dict[str, list[Markup]] = {"dot s0": [], "dot s1": []}
    for place in chosen.tolist():
        kind = "dot s1" if place in marks else "dot s0"
        hint = f"row {place + 1}: {old[place]:.4g}, {new[place]:.4g}"
        shape, radius = (3, 5) if place in marks else (0, 2.5)
        groups[kind].append(svg.marker(shape, across(old[place]), up(new[place]), kind, hint, radius))
    limits = [
        svg.line(across(found.old.threshold), _TOP, across(found.old.threshold), _BOTTOM, "threshold")
        if low < found.old.threshold < high
        else None,
        svg.line(_LEFT, up(found.new.threshold), _RIGHT, up(found.new.threshold), "threshold")
        if low < found.new.threshold < high
        else None,
    ]
    picture = svg.picture(
        "scores",
        "Scores of the old and the new model",
        f"{rows(len(chosen))}, rank correlation {found.rank_correlation:.3f}.",
        _BOTTOM + 44,
        svg.axis_below(across, ticks, _BOTTOM, _TOP, figure),
        svg.axis_beside(up, ticks, _LEFT, figure),
        svg.line(across(low), up(low), across(high), up(high), "even"),
        joined(groups["dot s0"]),
        joined(groups["dot s1"]),
        *limits,
        svg.label((_LEFT + _RIGHT) / 2, _BOTTOM + 38, "old score", "tick", "middle"),
        tag(
            "text",
            "new score",
            transform=f"translate(14,{(_TOP + _BOTTOM) / 2:.0f}) rotate(-90)",
            class_="tick middle",
        ),
    )
    legend = svg.legend(
        (svg.marker(shape, 7, 7, kind), text)
        for shape, kind, text in ((0, "dot s0", "same decision"), (3, "dot s1", "decision changes"))
    )
    return tag("figure", tag("figcaption", "Old score across, new score up"), picture, legend)


def _changed(title: str, about: str, places: NDArray[np.int64], found: ModelComparison, kept: Kept) -> Any:
    if not len(places):
        return section(title, None, tag("p", "None."))
    more = f"; the {MOST_LISTED} highest of {len(places):,}" if len(places) > MOST_LISTED else ""
    labelled: Sequence[str] = ("label",) if found.labels is not None else ()
    lines: list[list[Cell | None]] = []
    for place in places[:MOST_LISTED].tolist():
        scores = [(f"{float(score[place]):.4g}", float(score[place])) for score in found.scores]
        label = [] if found.labels is None else ["anomaly" if found.labels[place] else "normal"]
        known = [str(column[place])[:60] for column in kept.values()]
        lines.append([(f"{place + 1:,}", float(place + 1)), *known, *scores, *label])
    names = ("row", *kept, "old score", "new score", *labelled)
    return section(title, f"{about}{more}.", table(title, names, lines))
