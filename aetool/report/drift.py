"""New rows against those that the model was made for."""

import re
from collections.abc import Mapping
from typing import Any

from aetool.report.markup import Markup, joined, tag
from aetool.report.tables import Cell, table
from aetool.report.units import NO_BREAK, percent

_BADGES = {"stable": "less", "moderate": "none", "drift": "more"}


def figures(found: Mapping[str, Any]) -> Markup:
    """The verdict with its reasons, and every column; `found` as `aetool drift --json` gives it."""
    verdict = tag(
        "span",
        "Drift" if found["drifted"] else "No drift",
        class_=f"badge {'more' if found['drifted'] else 'less'}",
    )
    promised = "" if found["promised"] is None else f", {percent(found['promised'])} was promised"
    facts = {
        "compared with": found["compared_with"],
        "flagged": f"{_interval(found['flagged'], found['flagged_interval'])}{promised}",
        "scores": f"Kolmogorov-Smirnov distance {found['score_distance']:.3f}, by chance in "
        f"{found['score_chance']:.2g} of all cases",
    }
    if not found["has_baseline"]:
        facts["baseline"] = "none in the bundle; its golden rows stand in for it"
    pairs = (joined([tag("dt", name), tag("dd", text)]) for name, text in facts.items())
    columns = ("column", "verdict", "PSI", "unexpected values", "missing", "missing before")
    lines: list[list[Cell | None]] = [
        [
            one["name"],
            tag("span", one["verdict"], class_=f"badge {_BADGES[one['verdict']]}"),
            (f"{one['psi']:.3f}", one["psi"]),
            *((percent(one[name]), one[name]) for name in ("outside", "missing", "missing_before")),
        ]
        for one in found["features"]
    ]
    return joined(
        [
            tag("p", verdict),
            tag("ul", *(tag("li", _spaced(reason)) for reason in found["reasons"]), class_="reasons")
            if found["reasons"]
            else None,
            tag("dl", *pairs),
            table("Drift of every column", columns, lines) if lines else None,
        ]
    )


def _spaced(reason: str) -> str:
    """Shares as the rest of the page writes them."""
    return re.sub(r"(?<=\d)%", f"{NO_BREAK}%", reason)


def _interval(share: float, interval: tuple[float, float]) -> str:
    return f"{percent(share)} (95\N{NO-BREAK SPACE}%: {percent(interval[0])} to {percent(interval[1])})"
