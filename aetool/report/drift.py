"""New rows against those that the model was made for."""

from collections.abc import Mapping
from typing import Any

from aetool.report.markup import Markup, joined, tag
from aetool.report.tables import Cell, table
from aetool.report.units import percent

_BADGES = {"stable": "less", "moderate": "none", "unclear": "none", "drift": "more"}


def figures(found: Mapping[str, Any]) -> Markup:
    """The verdict with its reasons, and every column; `found` as `aetool drift --json` gives it."""
    verdict = tag(
        "span",
        "Drift" if found["drifted"] else "Too few rows to tell" if found["too_few_rows"] else "No drift",
        class_=f"badge {'more' if found['drifted'] else 'none' if found['too_few_rows'] else 'less'}",
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
    columns = ("column", "verdict", "PSI", "unseen values", "missing", "missing before", "what has changed")
    lines: list[list[Cell | None]] = [
        [
            one["name"],
            tag("span", one["verdict"], class_=f"badge {_BADGES[one['verdict']]}"),
            (f"{one['psi']:.3f}", one["psi"]),
            *((percent(one[name]), one[name]) for name in ("outside", "missing", "missing_before")),
            one["change"] if one["verdict"] in ("drift", "moderate") else "",
        ]
        for one in found["features"]
    ]
    return joined(
        [
            tag("p", verdict),
            tag("ul", *(tag("li", reason) for reason in found["reasons"]), class_="reasons")
            if found["reasons"]
            else None,
            tag("dl", *pairs),
            table("Drift of every column", columns, lines) if lines else None,
        ]
    )


def _interval(share: float, interval: tuple[float, float]) -> str:
    return f"{percent(share)} (95 %: {percent(interval[0])} to {percent(interval[1])})"
