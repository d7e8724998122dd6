"""Drift of new rows from the training rows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.tables import Cell, listed, table
from aetool.report.draw.units import NO_BREAK, percent

_BADGES = {"stable": "less", "moderate": "none", "unclear": "none", "drift": "more"}


def figures(found: Mapping[str, Any], trained_on: bool | None) -> Markup:
    """Return the verdict with its reasons, and a table of every column.

    Args:
        found: as `aetool drift --json` gives it.
        trained_on: whether the rows are the very ones that the model was trained on; None: not known.
    """
    promised = "" if found["promised"] is None else f"; {percent(found['promised'])} was promised"
    low, high = map(percent, found["flagged_interval"])
    chance = percent(found["score_chance"]) if found["score_chance"] >= 0.001 else f"less than {percent(0.001)}"
    facts = {
        "compared with": found["compared_with"],
        "flagged": f"{percent(found['flagged'])} (95{NO_BREAK}%: {low} to {high}){promised}",
        "scores": f"higher than they were by {found['score_distance']:.3f}, on a scale from 0 to 1 "
        f"(Kolmogorov-Smirnov distance); by chance alone in {chance} of all cases",
    }
    if not found["has_baseline"]:
        facts["baseline"] = "none in the bundle; its golden rows stand in for it"
    told = tag(
        "div",
        _verdict(found["drifted"], found["too_few_rows"], trained_on),
        tag("ul", *(tag("li", _spaced(reason)) for reason in found["reasons"]), class_="reasons")
        if found["reasons"]
        else None,
        listed(facts.items()),
    )
    return tag("div", told, _columns(found["features"]) if found["features"] else None, class_="pairs")


def _verdict(drifted: bool, too_few_rows: bool, trained_on: bool | None) -> Markup:
    if drifted:
        return tag("p", tag("span", "Drift", class_="badge more"))
    if too_few_rows:
        return tag("p", tag("span", "Too few rows to tell", class_="badge none"))
    if trained_on:
        return joined(
            [
                tag("p", tag("strong", "These are the rows that the model was trained on.")),
                tag("p", "No drift is no news of them; give newer rows to see whether they have changed."),
            ]
        )
    if trained_on is None:
        words = "No drift, which is no news if the model was made from these very rows."
        return tag("p", tag("strong", words))
    return tag("p", tag("span", "No drift", class_="badge less"))


def _columns(features: Sequence[Mapping[str, Any]]) -> Markup:
    """Return missing, unseen and drifted shares per column."""
    shares = ["outside", *(name for name in ("missing", "missing_before") if any(one[name] for one in features))]
    names = {"outside": "unseen values", "missing": "missing", "missing_before": "missing before"}
    changes = [_spaced(one["change"]) if one["verdict"] in ("drift", "moderate") else "" for one in features]
    lines: list[list[Cell | None]] = [
        [
            one["name"],
            tag("span", one["verdict"], class_=f"badge {_BADGES[one['verdict']]}"),
            (f"{one['psi']:.3f}", one["psi"]),
            *((percent(one[name]), one[name]) for name in shares),
            *([change] if any(changes) else []),
        ]
        for one, change in zip(features, changes, strict=True)
    ]
    columns = ["column", "verdict", "change (PSI)", *(names[name] for name in shares)]
    columns += ["what has changed"] if any(changes) else []
    note = (
        "Change is the population stability index, PSI: how far the distribution of a column has moved. Below 0.1 "
        "it has not, above 0.25 it has much, unless so few rows have that by chance."
    )
    return tag("div", table("Drift of every column", columns, lines), tag("p", note, class_="note"))


def _spaced(reason: str) -> str:
    """Write shares as the rest of the page does."""
    return re.sub(r"(?<=\d)%", f"{NO_BREAK}%", reason)
