"""`aetool score` and `aetool encode` of a log, with a bundle of windows."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from aetool.bundle.manifest import Manifest
from aetool.choices import CALLS
from aetool.cli import _paths as paths
from aetool.cli._options import limits_in_force, needs
from aetool.cli._output import Result, is_on_terminal, say
from aetool.cli._progress import steps
from aetool.cli._tables import given, log_of, require_no_keep
from aetool.cli.commands import _infer_stream as infer_stream
from aetool.cli.commands._infer_stream import Inference


def infer_log(
    command: str, manifest: Manifest, what: Inference, data: Sequence[Path], output: str | None, top: int | None
) -> Result:
    """Compute the windows of a log, and give a row for each."""
    import numpy as np

    from aetool import load

    _require_possible(command, what, output)
    file = None if output is None else Path(output)
    if file is not None:
        paths.require_free_file(file, what.overwrite)
    with needs("tables", "reading logs"):
        from aetool.stream.logs import compute_log
        from aetool.tables.windows import time_texts, window_columns
    log = log_of(manifest, data)
    is_text = file is None or ".csv" in file.name.lower()
    parts: list[dict[str, Any]] = []
    how: dict[str, Any] = {"provider": what.provider, "precision": what.precision, "threshold": what.threshold}
    steps().step(f"computing the windows of {data[0].name}")
    with load(what.bundle, **how, limits=limits_in_force()) as model:
        for found in compute_log(model, CALLS[command], log):
            columns = window_columns(found.run, found.starts, log.series.window)
            if command == "score":
                columns |= found.outputs
                if what.p_value:
                    columns |= model.calibrated(found.outputs["score"])
                if what.explain is not None:
                    columns |= _why(model, found.rows, what.explain)
            else:
                code = found.outputs["embedding"].reshape(len(found.rows), -1)
                columns |= {f"embedding_{i}": column for i, column in enumerate(code.T)}
            parts.append(columns)
            steps().update(f"{log.seen.rows:,} rows", None)
        log.require_runs()
        threshold = model.threshold
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    document: dict[str, Any] = {"rows": len(columns["start"]), "rows_read": log.seen.rows}
    more = []
    if command == "score":
        document |= {"threshold": threshold, "anomalies": int(columns["is_anomaly"].sum())}
        infer_stream.tell_odd(int((~np.isfinite(columns["score"])).sum()), document["rows"])
        more = [infer_stream.anomalies_line(document["anomalies"], document["rows"], threshold, None)]
    for note in log.seen.notes(log.series.window):
        say(note)
    on_terminal = command == "score" and file is None and is_on_terminal()
    if top is not None or on_terminal:
        from aetool.cli.show.scores import SHOWN
        from aetool.runtime.explain import highest

        order = highest(columns["score"], top or SHOWN)
        best = {name: column[order] for name, column in columns.items()}
        columns = columns if top is None else best
    if is_text:
        for name in ("start", "end"):
            columns[name] = time_texts(columns[name])
    result = given(columns, document, file, overwrite=what.overwrite, more=more)
    if not on_terminal:
        return result
    best |= {name: time_texts(best[name]) for name in ("start", "end")}
    return replace(result, show=partial(_show, best, document))


def _show(best: dict[str, Any], document: dict[str, Any], out: Any) -> None:
    from aetool.cli.show.scores import show_scores

    show_scores(out, best, best, document["threshold"], document["rows"], document["anomalies"], of="windows")


def _why(model: Any, rows: Any, count: int) -> dict[str, Any]:
    from aetool.runtime.explain import why_columns

    return why_columns(model, rows, min(count, len(model.feature_names)), {})


def _require_possible(command: str, what: Inference, output: str | None) -> None:
    if command == "reconstruct":
        raise click.UsageError(
            "windows overlap, so a log has no one reconstruction: give windows as an array (.npy or .npz), or use "
            "aetool score --explain"
        )
    require_no_keep(what.keep)
    for option, is_given in (("--fdr", what.fdr), ("--per-segment", what.per_segment)):
        if is_given:
            raise click.UsageError(f"{option} is for tables, not for the windows of a log; leave it out")
    if output is not None and infer_stream.is_directory(output):
        raise click.UsageError("a log's windows go into one file, such as scores.parquet; give its name to -o")
