"""What makes a segment different, in plain words."""

from collections.abc import Callable, Mapping
from typing import Any

_AGREEMENT = ((0.9, "excellent"), (0.8, "good"), (0.65, "moderate"))  # Steinley 2004, of adjusted Rand indexes


def sentence(trait: Mapping[str, Any], percent: Callable[[float], str] = "{:.0%}".format) -> tuple[str, str]:
    """A trait in plain words: `fresh`, `27,000 against 8,500 in the middle of all (3.2 x)`.

    Args:
        percent: how to write a share of 1.
    """
    times = trait["ratio"]
    ratio = "" if times is None else f" ({times:,.0f} x)" if times >= 10 else f" ({times:.2g} x)"
    own, everybody = trait["of_segment"], trait["of_all"]
    if "category" in trait:
        shares = f"{percent(own)} against {percent(everybody)} of all"
        return trait["feature"], f"{trait['category']} for {shares}{ratio}"
    where = "in the middle of all" if trait["statistic"] == "median" else "on average"
    return trait["feature"], f"{_number(own)} against {_number(everybody)} {where}{ratio}"


def stability(found: Mapping[str, Any]) -> str:
    """How far other rows would have given the same groups: `0.87, good (adjusted Rand index of ...)`."""
    index = found["adjusted_rand_index"]
    word = next((word for least, word in _AGREEMENT if index >= least), "poor: other rows would give other groups")
    return f"{index:.2f}, {word} (adjusted Rand index of {found['refits']} bootstrap refits)"


def _number(value: float) -> str:
    """Short, with commas: `27,000`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
