"""What makes a segment different, in plain words."""

from collections.abc import Callable, Mapping
from typing import Any


def sentence(trait: Mapping[str, Any], percent: Callable[[float], str] = "{:.0%}".format) -> tuple[str, str]:
    """A trait in plain words: `fresh`, `27,000 against 8,500 in the middle of all (3.2 x)`.

    Args:
        percent: how to write a share of 1.
    """
    times = trait["ratio"]
    ratio = "" if times is None else f" ({times:,.0f} x)" if times >= 10 else f" ({times:.2g} x)"
    own, everybody = trait["of_segment"], trait["of_all"]
    if "category" in trait:
        return trait[
            "feature"
        ], f"{trait['category']} for {percent(own)} against {percent(everybody)} of all{ratio}"
    where = "in the middle of all" if trait["statistic"] == "median" else "on average"
    return trait["feature"], f"{_number(own)} against {_number(everybody)} {where}{ratio}"


def _number(value: float) -> str:
    """Short, with commas: `27,000`, `0.0123`."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
