"""`aetool score --events` and `--moments`: a log's scores row by row, and the stretches that are abnormal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from aetool.bundle.manifest import Manifest
from aetool.cli import _paths as paths
from aetool.cli._options import limits_in_force, needs
from aetool.cli._output import Result, facts, is_on_terminal, say, table
from aetool.cli._progress import steps
from aetool.cli._tables import given, log_of, require_no_keep
from aetool.cli.commands._infer_stream import Inference, anomalies_line

CHANNELS = 3
"""Channels that an event names."""


class Moments(NamedTuple):
    """Options of `aetool score` for the rows of a log, rather than for its windows."""

    events: bool
    moments: bool
    smooth: tuple[int, int] | None

    @property
    def is_wanted(self) -> bool:
        """Whether any of them is given."""
        return self.events or self.moments or self.smooth is not None

    def require_possible(self, what: Inference, top: int | None, *, is_log: bool) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: it does not.
        """
        if self.events == self.moments:
            raise click.UsageError(
                "--events and --moments are two results; give one of them"
                if self.events
                else "--smooth is for --events or --moments; give one of them"
            )
        name = "--events" if self.events else "--moments"
        if not is_log:
            raise click.UsageError(f"{name} is for a log and a model of windows; see aetool train --window")
        require_no_keep(what.keep)
        others = (("--top", top), ("--explain", what.explain), ("--p-value", what.p_value))
        if wrong := [option for option, value in others if value]:
            raise click.UsageError(f"{wrong[0]} is for windows; leave out {name}")


def infer_moments(
    manifest: Manifest, what: Inference, data: Sequence[Path], output: Path | None, wanted: Moments
) -> Result:
    """Score the rows of a log, and give them or its events."""
    import numpy as np

    from aetool import load
    from aetool.runtime.moments import event_smoothing, find_events, smoothed, smoothing_text

    if output is not None:
        paths.require_free_file(output, what.overwrite)
    with needs("tables", "reading logs"):
        from aetool.stream.logs import moments_of_log
        from aetool.tables.windows import time_texts
    log = log_of(manifest, data)
    steps().step(f"computing the windows of {data[0].name}")
    how: dict[str, Any] = {"provider": what.provider, "precision": what.precision, "threshold": what.threshold}
    with load(what.bundle, **how, limits=limits_in_force()) as model:
        runs = moments_of_log(model, log, explained=wanted.events)
        threshold, names = model.row_threshold, model.feature_names
        own = model.manifest.row_threshold(model.precision)
    smooth = event_smoothing(own, wanted.smooth) if wanted.events else wanted.smooth
    log.require_runs()
    rows: list[dict[str, Any]] = []
    count, abnormal, events = 0, 0, 0
    for run in runs:
        score = run.moments.score
        flags = ~(score <= threshold) & _covered(len(score), log.series)
        times = run.times if run.times is not None else run.first_row + 1 + np.arange(len(score))
        found = find_events(flags, score, smooth)
        count, events = count + len(score), events + len(found)
        group = {} if run.group is None else {"group": run.group}
        if wanted.events:
            abnormal += sum(event.stop - event.start for event in found)
        if wanted.moments:
            flags = flags if smooth is None else smoothed(flags, *smooth)
            abnormal += int(flags.sum())
            whose = {name: np.full(len(score), value) for name, value in group.items()}
            rows.append(
                {**whose, "time": times, "score": score, "highest": run.moments.maximum, "is_anomaly": flags}
            )
        elif found:
            rows.append(
                {
                    **{name: np.full(len(found), value) for name, value in group.items()},
                    **_event_columns(run, found, times, log.series, names),
                }
            )
    columns = _joined(rows) if rows else _no_events(manifest)
    if output is None or ".csv" in output.name.lower():
        for name in ("time", "start", "end", "peak"):
            if name in columns and len(columns[name]):
                columns[name] = time_texts(columns[name])
    for note in log.seen.notes(log.series.window):
        say(note)
    document = {"rows": count, "rows_read": log.seen.rows, "anomalies": abnormal}
    document["threshold"], document["smooth"] = threshold, smooth and list(smooth)
    last = smoothing_text(smooth, "rows")
    rule = None if last is None else f"{last} above {threshold:.6g}"
    more = [anomalies_line(abnormal, count, threshold, rule)]
    if wanted.events:
        document["events"] = events
        more.insert(0, ("events", f"{events:,}"))
    result = given(columns, document, output, overwrite=what.overwrite, more=more, of_rows=wanted.moments)
    if output is None and wanted.events and is_on_terminal():
        return replace(result, show=partial(_show, columns, more))
    return result


def _show(columns: Mapping[str, Any], more: Sequence[tuple[str, str]], out: Console) -> None:
    """Show events to a person, each with the channel that contributes most."""
    names = [name for name in ("group", "start", "end", "rows", "score") if name in columns]
    lines = []
    for place in range(len(columns["start"])):
        cells = {name: columns[name][place] for name in names}
        channel = f"{columns['channel_1'][place]} {columns['channel_1_share'][place]:.0%}"
        lines.append([*(f"{cell:.3g}" if name == "score" else str(cell) for name, cell in cells.items()), channel])
    if lines:
        out.print(table([*names, "most of it"], lines, right=("rows", "score")))
        out.print()
    out.print(facts(more))


def _covered(length: int, series: Any) -> Any:
    """Return which moments of a run a window covers: all, but where the stride is longer than a window."""
    import numpy as np

    return np.arange(length) % series.stride < series.window


def _event_columns(
    run: Any, found: Sequence[Any], times: Any, series: Any, names: Sequence[str]
) -> dict[str, Any]:
    """Return the events of a run as columns, with the channels that contribute most to the highest window."""
    import numpy as np

    from aetool.runtime.moments import highest_windows

    start, stop, peak = (np.array([event[place] for event in found]) for place in range(3))
    columns = {
        "start": times[start],
        "end": times[stop - 1],
        "peak": times[peak],
        "rows": stop - start,
        "score": np.array([event.score for event in found], np.float32),
        "highest": np.array([run.moments.maximum[event.start : event.stop].max() for event in found]),
    }
    count = min(CHANNELS, len(names))
    channels = np.full((count, len(found)), "", dtype=object)
    shares = np.zeros((count, len(found)), np.float32)
    for place, behind in enumerate(highest_windows(peak, run.scores, series.window, series.stride).tolist()):
        share = run.shares.get(behind)
        if share is not None:
            order = np.argsort(-share, kind="stable")[:count]
            channels[:, place] = [names[channel] for channel in order]
            shares[:, place] = share[order]
    for rank in range(count):
        columns[f"channel_{rank + 1}"] = channels[rank].astype(str)
        columns[f"channel_{rank + 1}_share"] = shares[rank]
    return columns


def _joined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import numpy as np

    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _no_events(manifest: Manifest) -> dict[str, Any]:
    import numpy as np

    names = ["group"] if manifest.series and manifest.series.group else []
    names += ["start", "end", "peak", "rows", "score", "highest"]
    for rank in range(1, min(CHANNELS, len(manifest.features)) + 1):
        names += [f"channel_{rank}", f"channel_{rank}_share"]
    return {name: np.array([], str) for name in names}
