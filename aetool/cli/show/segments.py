"""Printed segments."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aetool.cli.output import facts, table

_TRAITS = 5  # shown of each segment; --json has more
_STRUCTURE = ((0.71, "strong"), (0.51, "reasonable"), (0.26, "weak"))  # Kaufman & Rousseeuw 1990, of silhouettes
_STEADY = 0.8  # an adjusted Rand index that is good: aetool.report.bundle.facts
_NEAR = 0.9  # of the largest silhouette: numbers of segments that are about as good


def show_segments(out: Console, segments: Mapping[str, Any]) -> None:
    """Print each segment with its traits, how their number was chosen, their stability, and advice."""
    from aetool.report.bundle.facts import sentence, stability, title  # here: the report's package starts slowly

    for entry in segments["segments"]:
        head = f"{title(entry)}: {entry['rows']:,} rows ({entry['share']:.0%})"
        out.print(Text.assemble((head, "bold"), f"  {entry['label']}" if entry["label"] else ""))
        lines: list[list[str | Text]] = [["", *sentence(trait)] for trait in entry["traits"][:_TRAITS]]
        if lines:
            out.print(table(["", "", ""], lines))
        out.print()
    silhouettes = {int(count): value for count, value in segments.get("silhouettes", {}).items()}
    if silhouettes:
        out.print(_silhouettes(silhouettes, segments["clusters"]))
        out.print()
    source = f" of {segments['data']}" if segments["data"] else ""
    missing = segments["rows_without_segment"]
    pairs = [
        ("segments", f"{segments['clusters']} ({segments['chosen']})"),
        ("learnt from", f"{segments['rows']:,} rows{source}"),
        ("typical", "the median: half of the rows have less, half have more"),
        ("stability", stability(segments["stability"])),
        ("method", segments["method"]),
        *([("no segment", f"{missing:,} rows with missing or infinite values")] if missing else []),
    ]
    out.print(facts(pairs))
    if next_steps := advice(segments["clusters"], segments["stability"]["adjusted_rand_index"], silhouettes):
        out.print()
    for line in next_steps:
        out.print(line)


def _silhouettes(found: Mapping[int, float], chosen: int) -> Table:
    """Return the silhouettes that --clusters auto compared."""
    lines: list[list[str | Text]] = [
        [str(count), f"{value:.3f}", _structure(value), "chosen" if count == chosen else ""]
        for count, value in found.items()
    ]
    return table(["segments", "silhouette", "separation", ""], lines, right=["segments", "silhouette"])


def _structure(silhouette: float) -> str:
    return next((word for least, word in _STRUCTURE if silhouette >= least), "none to speak of")


def advice(chosen: int, index: float, silhouettes: Mapping[int, float]) -> list[str]:
    """Return advice, one line each."""
    found = []
    best = silhouettes.get(chosen, 0.0)
    if silhouettes and chosen == max(silhouettes):
        found.append(f"{chosen} is the most that was tried; give --clusters for more")
    if silhouettes and best < _STRUCTURE[-1][0]:
        found.append(
            f"a silhouette of {best:.2f} says that the segments run into one another; choose their number by what "
            "is of use"
        )
    if index < _STEADY:
        near = [str(count) for count, value in silhouettes.items() if count < chosen and value >= _NEAR * best]
        fewer = "fewer of them, or " if chosen > 2 else ""
        if near:
            fewer = f"--clusters {' or '.join(near)}, about as separate, or "
        found.append(
            f"for steadier segments try {fewer}a model without columns that are bookkeeping or tell the outcome "
            "(aetool train --drop)"
        )
    return found
