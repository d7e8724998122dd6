"""The events of a log, in a table."""

from aetool.report.bundle.records import LogEvent, LogEvents, Portrait
from aetool.report.draw.markup import Cell, Markup, joined, table, tag
from aetool.report.draw.units import NO_BREAK, counted, figure

_MOST = 50
"""Events that the page lists."""


def figures(found: LogEvents, portrait: Portrait) -> Markup:
    """Return the table of events; without any, a sentence."""
    if not found.events:
        nowhere = "no row has a score" if found.of_last is None else f"nowhere are {found.of_last}"
        return tag("p", f"No event: {nowhere} above the threshold.")
    shown = found.events[:_MOST]
    columns = {
        "machine": any(event.group is not None for event in shown),
        "start": True,
        "end": True,
        "rows": True,
        "peak": True,
        "score": True,
        "contribute most": any(event.channels for event in shown),
        "labelled": found.labelled is not None,
    }
    lines = []
    for event in shown:
        cells = {**_cells(event), "score": (figure(event.score, 3), event.score)}
        lines.append([cells[name] for name, is_there in columns.items() if is_there])
    series = portrait.manifest.series
    group = (series.group if series is not None else None) or "file"
    names = [group if name == "machine" else name for name, is_there in columns.items() if is_there]
    left = len(found.events) - len(shown)
    more = tag("p", f"{left:,} with lower scores are left out.", class_="note") if left else None
    return joined([table("Events, the highest score first", names, lines), more])


def _cells(event: LogEvent) -> dict[str, Cell | None]:
    channels = ", ".join(f"{name} {share * 100:.0f}{NO_BREAK}%" for name, share in event.channels)
    return {
        "machine": event.group or "none",
        "start": event.start,
        "end": event.end,
        "rows": (f"{event.rows:,}", event.rows),
        "peak": event.peak,
        "contribute most": channels,
        "labelled": "anomaly" if event.label else "normal",
    }


def about(found: LogEvents) -> str:
    """Return what an event is, and how many the labels name."""
    rows = "of rows" if found.of_last is None else f"in which {found.of_last} are"
    own = "" if found.row_threshold is None else f" of rows, {figure(found.row_threshold)}"
    text = f"An event is a stretch {rows} above the threshold{own}; the score of a row is "
    if found.row_threshold is not None:
        text += "that of the windows that cover it, together with what it contributes to them."
    else:
        text += (
            "the mean of the windows that cover it, so that events begin up to a window early and end up to one "
        )
        text += "late."
    if found.labelled:
        stretches = counted(found.labelled, "stretch", "stretches")
        text += f" Of {stretches} labelled as anomalies, events meet {found.met:,}."
    return text
