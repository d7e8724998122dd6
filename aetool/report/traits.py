"""What makes a segment different, in plain words."""

from collections.abc import Callable, Mapping
from typing import Any

_AGREEMENT = ((0.9, "excellent"), (0.8, "good"), (0.65, "moderate"))  # Steinley 2004, of adjusted Rand indexes
_PARTS = {"half": 1 / 2, "a third": 1 / 3, "a quarter": 1 / 4, "a fifth": 1 / 5, "a tenth": 1 / 10}
Percent = Callable[[float], str]


def title(entry: Mapping[str, Any]) -> str:
    """`Segment 0`, or with the name that somebody gave it, `Segment 0, Small restaurants`."""
    return f"Segment {entry['segment']}" + (f", {entry['name']}" if entry.get("name") else "")


def names_of(segments: Mapping[str, Any]) -> dict[int, str]:
    """Segment -> the name that somebody gave it, where somebody did; `segments` as the manifest has them."""
    return {entry["segment"]: entry["name"] for entry in segments.get("segments", ()) if entry.get("name")}


def sentence(trait: Mapping[str, Any], percent: Percent = "{:.0%}".format) -> tuple[str, str]:
    """A trait in plain words: `fresh`, `typical 27,000, everybody 8,500 (3.2 times)`. Typical is the median.

    Args:
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


def _times(ratio: float | None, percent: Percent) -> str:
    if ratio is None:
        return ""
    if ratio >= 2:
        return f" ({ratio:,.0f} times)" if ratio >= 10 else f" ({ratio:.2g} times)"
    if ratio >= 1:
        return f" ({percent(ratio - 1)} more)"
    near = [name for name, part in _PARTS.items() if abs(ratio / part - 1) <= 0.1]
    return f" ({near[0]})" if near else f" ({percent(1 - ratio)} less)"


def stability(found: Mapping[str, Any]) -> str:
    """How far other rows would have given the same groups: `0.87, good (adjusted Rand index of ...)`."""
    index = found["adjusted_rand_index"]
    word = next((word for least, word in _AGREEMENT if index >= least), "poor: other rows would give other groups")
    return f"{index:.2f}, {word} (adjusted Rand index of {found['refits']} bootstrap refits)"


def _number(value: float) -> str:
    """Short, with commas: `27,000`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
