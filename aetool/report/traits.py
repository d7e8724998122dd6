"""What makes a segment different, in plain words."""

from collections.abc import Mapping
from typing import Any

_PARTS = {"half": 1 / 2, "a third": 1 / 3, "a quarter": 1 / 4, "a fifth": 1 / 5, "a tenth": 1 / 10}


def title(entry: Mapping[str, Any]) -> str:
    """`Segment 0`, or with the name that somebody gave it, `Segment 0, Small restaurants`."""
    return f"Segment {entry['segment']}" + (f", {entry['name']}" if entry.get("name") else "")


def sentence(trait: Mapping[str, Any]) -> tuple[str, str]:
    """A trait in plain words: `fresh`, `typical 27,000, everybody 8,500 (3.2 times)`. Typical is the median."""
    own, everybody, ratio = trait["of_segment"], trait["of_all"], trait["ratio"]
    if trait["statistic"] == "median":
        return trait["feature"], f"typical {_number(own)}, everybody {_number(everybody)}{_times(ratio)}"
    if trait["statistic"] == "share":
        what = trait["category"]
    else:  # share above, share below
        what = f"{trait['statistic'].removeprefix('share ')} {_number(trait['value'])}"
    often = _times(ratio) if ratio is not None and ratio >= 2 else ""
    return trait["feature"], f"{what} for {own:.0%}, everybody {everybody:.0%}{often}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    if ratio >= 2:
        return f" ({ratio:,.0f} times)" if ratio >= 10 else f" ({ratio:.2g} times)"
    if ratio >= 1:
        return f" ({ratio - 1:.0%} more)"
    near = [name for name, part in _PARTS.items() if abs(ratio / part - 1) <= 0.1]
    return f" ({near[0]})" if near else f" ({1 - ratio:.0%} less)"


def _number(value: float) -> str:
    """Short, with commas: `27,000`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
