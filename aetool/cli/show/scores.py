"""Scores on a terminal: the most anomalous rows, a bar against the threshold, and the reason."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from aetool.cli._output import table

SHOWN = 20
"""Most rows to show where `--top` asks for no other number."""
_BAR = 16
_WIDE = 20.0
"""Factor between the highest and the lowest score from which the bar is logarithmic."""
_NO_THRESHOLD = 1e38
_LONGEST = 24
"""Characters of a kept cell."""


def show_scores(
    out: Console,
    columns: Mapping[str, Any],
    why: Mapping[str, Any],
    threshold: float,
    rows: int,
    anomalies: int,
    rule: str | None = None,
    of: str = "rows",
) -> None:
    """Print a table of scores.

    Args:
        out: a console on a terminal.
        columns: columns of the rows to show, in their order: "score", "is_anomaly", "row" and those kept.
        why: columns why_1, why_1_expected, why_1_found, why_2, ... of the same rows; none where nothing explains
            them.
        threshold: highest normal score.
        rows: number of all rows.
        anomalies: number of those that are anomalies.
        rule: the rule that decided, if not the threshold.
        of: what was scored.
    """
    scores = [float(score) for score in columns["score"]]
    bar = _bars(scores, threshold, "=-|" if out.options.ascii_only else "━─┃")
    own = [name for name in columns if name not in ("score", "is_anomaly") and not name.startswith("why_")]
    lines: list[list[str | Text]] = []
    for place, score in enumerate(scores):
        is_anomaly = bool(columns["is_anomaly"][place])
        verdict = Text("anomaly", "bold red") if is_anomaly else Text("normal", "dim")
        lines.append(
            [
                *(_cell(columns[name][place]) for name in own),
                _score(score),
                bar(score, is_anomaly),
                verdict,
                _reason(why, place),
            ]
        )
    headings = [*own, "score", "", "", "main reason" if "why_1" in why else ""]
    out.print(table(headings, lines, right=["row", "score"]))
    out.print()
    share = f"{anomalies / max(rows, 1):.2%}".replace("%", " %")
    limit = (
        f" ({rule})"
        if rule
        else f" (score above {threshold:.6g})"
        if threshold < _NO_THRESHOLD
        else ": no threshold is set"
    )
    out.print(Text.assemble((f"{anomalies:,} of {rows:,} {of} are anomalies", "bold"), f", {share}{limit}"))
    if (more := rows - len(scores)) > 0:
        told = f"{more:,} more {of}; --top N shows more, -o FILE.csv writes every {of[:-1]}"
        out.print(told, style="dim")


def _bars(scores: Sequence[float], threshold: float, signs: str) -> Callable[[float, bool], Text]:
    """Return a function that draws a score beside the threshold, on a scale that holds all of them.

    Args:
        scores: the scores to draw.
        threshold: highest normal score.
        signs: of the bar, the rest of its line and the threshold.
    """
    limits = [threshold] if threshold < _NO_THRESHOLD else []
    finite = [score for score in (*scores, *limits) if math.isfinite(score)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    scale: Callable[[float], float] = float
    if low > 0 and high / low > _WIDE:
        scale, low = math.log10, low / 1.2
    else:
        low = min(0.0, low)
    start, span = scale(low), scale(high) - scale(low) or 1.0

    def place(value: float) -> int:
        return max(0, min(_BAR - 1, round((scale(value) - start) / span * (_BAR - 1))))

    tick = place(threshold) if limits else None

    def draw(score: float, is_anomaly: bool) -> Text:
        filled = place(score) + 1 if math.isfinite(score) else 0
        bar = Text()
        for index in range(_BAR):
            sign, style = (signs[0], "red" if is_anomaly else "green") if index < filled else (signs[1], "dim")
            bar.append(signs[2] if index == tick else sign, "bold" if index == tick else style)
        return bar

    return draw


def _score(value: float) -> str:
    """Return four digits, so that points stand one below the other; "none" for a row without a score."""
    if not math.isfinite(value):
        return "none" if math.isnan(value) else "infinite"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:#.4g}"


def _reason(why: Mapping[str, Any], place: int) -> str:
    """Return `worst area 3210, expected 1420`, and the next reasons after a semicolon."""
    told: list[str] = []
    while (rank := f"why_{len(told) + 1}") in why:
        found, expected = (_cell(why[f"{rank}_{name}"][place]) for name in ("found", "expected"))
        told.append(f"{why[rank][place]} {found or 'missing'}, expected {expected}")
    return "; ".join(told)


def _cell(value: Any) -> str:
    """Return a cell as people read it: numbers with four digits, no text longer than a line holds."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "f" or isinstance(value, float):
        return "" if math.isnan(value) else f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    if kind in ("i", "u") or isinstance(value, int):
        return str(value)
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
