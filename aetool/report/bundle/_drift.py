"""Drift of new rows from the training rows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aetool.report.bundle._explained import drawn
from aetool.report.bundle.records import ColumnChange, Picture, Portrait
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, joined, listed, table, tag
from aetool.report.draw.svg import linear_ticks
from aetool.report.draw.units import NO_BREAK, counted, percent

_BADGES = {"stable": "less", "moderate": "none", "unclear": "none", "drift": "more"}
_NAMED, _LETTERS = 4, 100
"""Most columns that the headline names, and letters that their names may take."""


def headline(portrait: Portrait) -> str:
    """Return a sentence on the drift of the rows."""
    drift = portrait.drift or {}
    drifted = [column["name"] for column in drift["features"] if column["verdict"] == "drift"]
    if drifted:
        names = ", ".join(drifted[:_NAMED]) + f" and {len(drifted) - _NAMED} more" * (len(drifted) > _NAMED)
        what = "pixel" if portrait.is_image else "column"
        reason = f"{len(drifted)} of {counted(len(drift['features']), what)} have changed"
        reason += f" ({names})" if len(names) <= _LETTERS and not portrait.is_image else ""
    else:
        reason = _spaced(drift["reasons"][0])
    return f"{portrait.source} no longer looks like the training rows: {reason}."


def figures(
    drift: Mapping[str, Any],
    changes: Sequence[ColumnChange],
    trained_on: bool | None,
    image: Picture | None = None,
) -> Markup:
    """Return the verdict with its reasons, histograms of drifted columns, and a table of every column.

    Args:
        drift: as `aetool drift --json` gives it.
        changes: drifted columns, before and now.
        trained_on: whether the rows are the very ones that the model was trained on; None: not known.
        image: drift of each pixel, where rows are images; instead of columns.
    """
    promised = "" if drift["promised"] is None else f"; {percent(drift['promised'])} was expected"
    low, high = map(percent, drift["flagged_interval"])
    chance = percent(drift["score_chance"]) if drift["score_chance"] >= 0.001 else f"less than {percent(0.001)}"
    facts = {
        "compared with": drift["compared_with"],
        "flagged": f"{percent(drift['flagged'])} (95{NO_BREAK}% interval: {low} to {high}){promised}",
        "scores": f"Kolmogorov-Smirnov distance {drift['score_distance']:.3f} (0: no higher than before, 1: all "
        f"higher); probability by chance {chance}",
    }
    if not drift["has_baseline"]:
        facts["baseline"] = "not in the bundle; its golden rows are used instead"
    reasons = drift["reasons"]
    if image is not None and (drifted := sum(feature["verdict"] == "drift" for feature in drift["features"])):
        # Reasons begin with a sentence for each of them.
        reasons = [f"{drifted} of {counted(len(drift['features']), 'pixel')} have changed", *reasons[drifted:]]
    verdict = tag(
        "div",
        _verdict(drift["drifted"], drift["too_few_rows"], trained_on),
        tag("ul", *(tag("li", _spaced(reason)) for reason in reasons), class_="reasons") if reasons else None,
        listed(facts.items()),
    )
    return joined(
        [
            verdict,
            _histograms(changes) if changes else None,
            _pixels(image, drift["features"]) if image is not None else None,
            _columns(drift["features"]) if drift["features"] and image is None else None,
        ]
    )


def _pixels(image: Picture, features: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the picture of how far each pixel has moved."""
    largest = f"up to {max(feature['psi'] for feature in features):.3f}"
    told = f"Population stability index of each pixel, {largest}"
    note = (
        "The stronger the colour, the farther the values of a pixel are from those of the training rows: PSI, the "
        "population stability index. Below 0.1 it is small, above 0.25 large; with few rows, chance explains more."
    )
    shown = tag("div", drawn(image, told, is_coloured=True), tag("small", f"PSI, {largest}"))
    return joined([tag("div", shown, class_="arrays alone"), tag("p", note, class_="note")])


def _verdict(drifted: bool, too_few_rows: bool, trained_on: bool | None) -> Markup:
    if drifted:
        return tag("p", tag("span", "Drift", class_="badge more"))
    if too_few_rows:
        return tag("p", tag("span", "Too few rows to tell", class_="badge none"))
    if trained_on:
        return joined(
            [
                tag("p", tag("strong", "These are the rows that the model was trained on.")),
                tag("p", "So no drift is expected. Use newer rows to find out whether the data has changed."),
            ]
        )
    if trained_on is None:
        words = "No drift. This means little if the model was trained on these very rows."
        return tag("p", tag("strong", words))
    return tag("p", tag("span", "No drift", class_="badge less"))


# Histograms of drifted columns, before and now.

_LEFT, _TOP, _BOTTOM = 44.0, 6.0, 110.0


def _histograms(changes: Sequence[ColumnChange]) -> Markup:
    marks = (
        (svg.bar(3, 1, 8, 12, "bar-before"), "training rows"),
        (svg.bar(3, 1, 8, 12, "bar-now"), "these rows"),
    )
    drawn = (_histogram(f"change-{i}", change) for i, change in enumerate(changes))
    note = (
        "Numbers are in ten bins that held equally many training rows, from low to high; values beyond all "
        "training rows have bins of their own. Point at a bar for its range."
    )
    return tag(
        "div",
        tag("h3", "Columns that changed", class_="apart"),
        tag("p", note, class_="note"),
        svg.legend(marks),
        tag("div", *drawn, class_="pairs"),
    )


def _histogram(key: str, change: ColumnChange) -> Markup:
    highest = max(*change.before, *change.now)
    up = svg.Scale(0.0, highest, _BOTTOM, _TOP, log=False)
    width = (svg.WIDTH - svg.EDGE - _LEFT) / len(change.bins)
    bars, hints = [], []
    for i, (name, before, now) in enumerate(zip(change.bins, change.before, change.now, strict=True)):
        left = _LEFT + i * width + width * 0.1
        bars.append(svg.bar(left, up(before), width * 0.4, _BOTTOM - up(before), "bar-before"))
        bars.append(svg.bar(left + width * 0.4, up(now), width * 0.4, _BOTTOM - up(now), "bar-now"))
        hints.append(f"{name}: {percent(before)} before, {percent(now)} now")
    picture = svg.picture(
        key,
        f"{change.name}, before and now",
        f"Shares of the rows. {'; '.join(hints)}.",
        _BOTTOM + 22,
        tag(
            "g",
            svg.axis_beside(
                up, linear_ticks(0.0, highest, 3), _LEFT, lambda share: f"{share * 100:.3g}{NO_BREAK}%"
            ),
            class_="grid",
        ),
        *bars,
        svg.line(_LEFT, _BOTTOM, svg.WIDTH - svg.EDGE, _BOTTOM, "axis"),
        _ends(change.bins, width),
        svg.strips([_LEFT + i * width for i in range(len(hints) + 1)], _TOP, _BOTTOM, hints),
    )
    return tag("figure", tag("figcaption", change.name), picture)


def _ends(bins: Sequence[str], width: float) -> Markup:
    """Name every bin where there is room, else the first and the last."""
    if all(svg.text_width(name) <= width for name in bins):
        return joined(
            svg.label(_LEFT + (i + 0.5) * width, _BOTTOM + 17, name, "tick", "middle")
            for i, name in enumerate(bins)
        )
    room = (svg.WIDTH - svg.EDGE - _LEFT) / 2 - 8
    return joined(
        [
            svg.label(_LEFT, _BOTTOM + 17, svg.shortened(bins[0], room), "tick"),
            svg.label(svg.WIDTH - svg.EDGE, _BOTTOM + 17, svg.shortened(bins[-1], room), "tick", "end")
            if len(bins) > 1
            else None,
        ]
    )


# Tables of columns: changed ones first, the others folded away.


def _columns(features: Sequence[Mapping[str, Any]]) -> Markup:
    """Return verdict, change and shares of every column."""
    changed = [feature for feature in features if feature["verdict"] in ("drift", "moderate")]
    rest = [feature for feature in features if feature not in changed]
    note = (
        "PSI is the population stability index, the distance of a column's distribution from that of the training "
        "rows. Below 0.1 it is small, above 0.25 large; with few rows, chance explains more."
    )
    return tag(
        "div",
        _table("Columns that changed", changed) if changed else None,
        tag(
            "details",
            tag(
                "summary",
                f"{counted(len(rest), 'column')} without drift"
                if changed
                else f"All {counted(len(rest), 'column')}",
            ),
            _table("Columns without drift", rest),
        )
        if rest
        else None,
        tag("p", note, class_="note"),
    )


def _table(title: str, features: Sequence[Mapping[str, Any]]) -> Markup:
    missing = (name for name in ("missing", "missing_before") if any(feature[name] for feature in features))
    shares = ["outside", *missing]
    names = {"outside": "new values", "missing": "missing", "missing_before": "missing before"}
    changes = [
        _spaced(feature["change"]) if feature["verdict"] in ("drift", "moderate") else "" for feature in features
    ]
    lines: list[list[Cell | None]] = [
        [
            feature["name"],
            tag("span", feature["verdict"], class_=f"badge {_BADGES[feature['verdict']]}"),
            (f"{feature['psi']:.3f}", feature["psi"]),
            *((percent(feature[name]), feature[name]) for name in shares),
            *([change] if any(changes) else []),
        ]
        for feature, change in zip(features, changes, strict=True)
    ]
    columns = ["column", "verdict", "change (PSI)", *(names[name] for name in shares)]
    columns += ["largest change"] if any(changes) else []
    return table(title, columns, lines)


def _spaced(reason: str) -> str:
    """Write shares and arrows as the rest of the page does."""
    spaced = re.sub(r"(?<=\d)%", f"{NO_BREAK}%", reason)
    return spaced.replace(" -> ", " \N{RIGHTWARDS ARROW} ")
