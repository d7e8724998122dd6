"""`aetool evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs, reading_in_force
from aetool.cli._output import Result, facts, reports
from aetool.cli._progress import steps
from aetool.cli._tables import as_float32, is_log, log_of, rows_for, windows_of
from aetool.runtime.providers import ProviderName

NAMES = {
    "median_score": "median score of normal rows",
    "reconstruction_rmse": "reconstruction RMSE, in the rows' units",
    "auroc": "AUROC",
}
"""Names of figures, for people."""


@click.command()
@click.argument("model", type=options.PATH)
@click.argument("data", type=options.PATH)
@options.label
@click.option(
    "--smooth",
    type=options.OfLast(),
    help="Of a log, K of the last N must be above the threshold.  [default: 3/5 for events]",
)
@options.provider
@options.precision
@options.threshold
@limit(bundle=True)
@reports
def evaluate(
    model: Path,
    data: Path,
    label: str | None,
    smooth: tuple[int, int] | None,
    provider: ProviderName,
    precision: str,
    threshold: float | None,
) -> Result:
    """Measure AUROC, average precision and errors.

    MODEL is a bundle or a checkpoint. DATA is a table or, for images and windows, an NPZ file with the labels in
    a second array. Without --label, it measures the median score and the root mean squared error of the
    reconstructions, in the units of the rows.

    For a bundle of windows and a log with --label, it also compares events with findings: the stretches of rows
    that are labelled. Events are those of aetool score --events, and an alert comes when aetool watch would begin
    one, both with the same --smooth. Without it, each has the default of its command: events of rows with a
    threshold of their own take 3 of the last 5, alerts a single score.

    \b
    Example:
      aetool evaluate exported/machines test.csv --label broken
      aetool evaluate exported/pumps log.csv --label state
    """
    import numpy as np

    from aetool import load
    from aetool.checks import evaluation
    from aetool.runtime.moments import event_smoothing
    from aetool.tables import Reading, read_table

    scorer: Any
    found: Any = None
    smoothing = _Smoothing(smooth, smooth)
    if smooth is not None and label is None:
        raise click.UsageError("--smooth is for events against findings; give --label, the column of the findings")
    if paths.what(model) == paths.CHECKPOINT:
        with needs("train", "evaluating a checkpoint"):
            from aetool.model import load_checkpoint
        steps().step(f"reading {data.name}")
        scorer = load_checkpoint(model)
        names = scorer.names
        how: dict[str, Any] = {
            "label": label,
            "reading": reading_in_force(),
            "like": Reading.of(scorer.provenance),
            "limits": limits_in_force(),
        }
        if scorer.series is not None:
            from aetool.tables.windows import Log

            rows = as_float32(windows_of(Log(data, scorer.series, names, pieces=True, **how)))
        else:
            rows = as_float32(read_table(data, only=names, categories=scorer.categories, **how))
    else:
        paths.require_bundle(model)
        steps().step(f"reading {data.name}")
        scorer = load(model, provider=provider, precision=precision, threshold=threshold, limits=limits_in_force())
        names, threshold = scorer.feature_names, scorer.threshold
        rows = rows_for(scorer.manifest, data, label=label)
        if label is not None and is_log(scorer.manifest, data):
            own = scorer.manifest.row_threshold(scorer.precision)
            smoothing = _Smoothing(event_smoothing(own, smooth), smooth)
            found = _findings(scorer, data, label, smoothing)
    if smooth is not None and found is None:
        raise click.UsageError("--smooth is for a log and a bundle of windows; leave it out")
    steps().step(f"scoring {len(rows):,} rows")
    numbers = np.array([name not in scorer.categories for name in names]) if scorer.categories else None
    definition = scorer.manifest.score["definition"] if hasattr(scorer, "manifest") else None
    result = evaluation.evaluate(scorer, rows.values, rows.labels, threshold, numbers)
    document = {key: value for key, value in asdict(result).items() if value is not None}
    of_events = {} if found is None else {"events": {**found._asdict(), **smoothing.document()}}

    def show(out: Console) -> None:
        named = [(NAMES.get(key, key.replace("_", " ")), _text(value)) for key, value in document.items()]
        named += [("score", definition)] if definition else []
        named += [] if found is None else [("events", found.text()), *smoothing.facts()]
        out.print(facts(named))

    about = {"score": definition} if definition else {}
    return Result({"model": str(model), **document, **about, **of_events}, show)


class _Smoothing(NamedTuple):
    """(K, N) of events, which count rows, and of alerts, which count scores of windows."""

    events: tuple[int, int] | None
    alerts: tuple[int, int] | None

    def document(self) -> dict[str, list[int] | None]:
        """Return both for --json."""
        return {"smooth": self.events and list(self.events), "alert_smooth": self.alerts and list(self.alerts)}

    def facts(self) -> list[tuple[str, str]]:
        """Return both for people; nothing where there is none."""
        from aetool.runtime.moments import smoothing_text

        events, alerts = smoothing_text(self.events, "rows"), smoothing_text(self.alerts, "scores")
        both = f"{events or 'none'} for events, {alerts or 'none'} for alerts"
        return [] if events is alerts is None else [("smoothing", both)]


def _findings(model: Any, data: Path, label: str, smoothing: _Smoothing) -> Any:
    """Compare the events of a log with what is labelled in it."""
    import numpy as np

    from aetool.checks.findings import Criterion, ScoredRun, measure_findings
    from aetool.stream.logs import moments_of_log

    steps().step("comparing events with findings")
    log = log_of(model.manifest, data, label=label)
    labels: dict[int, Any] = {}
    times: dict[int, Any] = {}
    for run in log.runs():
        labels[run.number] = _with_piece(labels.get(run.number), run.labels, run.offset)
        if run.times is not None:
            own = run.times.view(np.int64) / 1e9 if run.times.dtype.kind == "M" else run.times
            times[run.number] = _with_piece(times.get(run.number), own, run.offset)
    scored = moments_of_log(model, log_of(model.manifest, data), explained=False)
    numbers = sorted(labels)
    runs = [
        ScoredRun(labels[number], times.get(number), run.scores, run.moments.score)
        for number, run in zip(numbers, scored, strict=True)
    ]
    return measure_findings(
        runs,
        log.series.window,
        log.series.stride,
        events_by=Criterion(model.row_threshold, smoothing.events),
        alerts_by=Criterion(model.threshold, smoothing.alerts),
    )


def _with_piece(known: Any, piece: Any, offset: int) -> Any:
    """Return a run's rows with those of its next piece, which may share some, or leave some out."""
    import numpy as np

    if known is None:
        return piece
    left_out = np.repeat(piece[:1], max(0, offset - len(known)))
    return np.concatenate([known, left_out, piece[max(0, len(known) - offset) :]])


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 < value < 1e4 else f"{value:.4g}"
