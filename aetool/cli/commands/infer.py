"""`aetool encode`, `aetool reconstruct`, `aetool score`: a bundle over the rows of a file, or of many."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.bundle.manifest import Manifest
from aetool.choices import CALLS
from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, is_on_terminal, reports, say
from aetool.cli._progress import steps
from aetool.cli._tables import beside, check_rows, given, is_log, manifest_of, rows_for, safe_csv
from aetool.cli.commands import _infer_stream as infer_stream
from aetool.cli.commands._infer_events import Moments, infer_moments
from aetool.cli.commands._infer_log import infer_log
from aetool.cli.commands._infer_stream import Inference
from aetool.errors import AetoolError


def _infers(command: Callable[..., int]) -> Callable[..., int]:
    for decorate in (
        infer_stream.options,
        limit(bundle=True),
        safe_csv,
        options.overwrite,
        options.precision,
        options.provider,
        options.keep,
        options.reading(),
        click.option(
            "-o",
            "--output",
            help="CSV, Parquet, NPY or NPZ file, or a directory to stream into.  [default: CSV on stdout]",
        ),
        click.argument("data", nargs=-1, required=True),
        click.argument("bundle", type=options.PATH),
    ):
        command = decorate(command)
    return command


@click.command()
@_infers
@reports
def encode(**arguments: Any) -> Result:
    """Compute the embedding of every row of a table.

    Writes columns embedding_0, embedding_1, ... Columns of the table are matched by name; others are ignored.
    Images and windows are read from an NPY or NPZ array whose first axis is rows; embeddings with several axes
    are written as such an array.

    With a directory as output, DATA is streamed: CSV and Parquet files, directories or patterns, of any size.

    \b
    Example:
      aetool encode exported/machines new.csv --keep serial -o embeddings.parquet
    """
    return _run("encode", **arguments)


@click.command()
@_infers
@reports
def reconstruct(**arguments: Any) -> Result:
    """Compute the reconstruction of every row of a table.

    Writes the model's columns, in the units of the table. Columns are matched by name; others are ignored. Images
    and windows are read from an NPY or NPZ array whose first axis is rows, and written as such an array.

    With a directory as output, DATA is streamed: CSV and Parquet files, directories or patterns, of any size.

    \b
    Example:
      aetool reconstruct exported/machines new.csv -o expected.csv
    """
    return _run("reconstruct", **arguments)


@click.command()
@click.option(
    "--explain",
    type=options.Count(),
    metavar="N",
    help="Name the N features that contribute most to each score.",
)
@options.threshold
@options.several(
    ("--fdr", options.Share(), "Decide all rows together: at most this share of the flagged rows is normal."),
)
@click.option("--per-segment", is_flag=True, help="Decide by the threshold of each row's segment.")
@click.option("--p-value", is_flag=True, help="Add a column p_value; and probability, if the bundle has one.")
@click.option(
    "--top", type=click.IntRange(1), metavar="N", help="Only the N rows with the highest scores, highest first."
)
@click.option("--events", is_flag=True, help="Give the events of a log rather than its windows.")
@click.option("--moments", is_flag=True, help="Give a score for each row of a log rather than for its windows.")
@click.option(
    "--smooth",
    type=options.OfLast(),
    help="K of the last N rows must be above the threshold.  [default: 3/5 with --events, 1/1 with --moments]",
)
@_infers
@reports
def score(**arguments: Any) -> Result:
    """Score how abnormal every row of a table is.

    Writes columns score (higher is more abnormal) and is_anomaly. A row with a missing value that the model does
    not impute scores nan and is an anomaly. Columns of the table are matched by name; others are ignored. Images
    and windows are read from an NPY or NPZ array whose first axis is rows.

    A terminal shows the most anomalous rows as a table; a pipe or a file gets CSV with every row. With a
    directory as output, DATA is streamed: CSV and Parquet files, directories or patterns, of any size. --resume
    continues a run that was killed.

    --explain adds columns why_1, why_1_share, why_1_expected, why_1_found, why_2, ...: the feature, its share of
    the score, and the expected and found values in the units of the table.

    For a model of windows, DATA is a log, or several, and the results are those of its windows, one every stride
    rows: columns group (where there is one), start and end, the times of its first and last row.

    --moments gives each row of the log a score: the geometric mean of the mean score of the windows that cover it
    and of what the row itself contributes to them. It is an anomaly above the bundle's threshold of rows, or above
    --threshold. The column highest has the highest score of these windows. In bundles of older versions, and those
    without an explainer, the score is the mean of the windows, and their threshold decides.

    --events gives each stretch of abnormal rows: start, end and peak (its first and last row, and the one with the
    highest score), rows, score (that of the peak), highest, and channel_1, channel_1_share, ...: the channels that
    contribute most at the peak. An event needs 3 of 5 rows, one after another, above the threshold, so that a
    single one is none, and reaches from the first of them to the last. --smooth sets other numbers; 1/1, the
    default of --moments and of bundles without a threshold of rows, judges each row alone. aetool watch counts
    windows as they come, so that its alerts differ from events.

    --top adds a column row, the position of a row in the table, starting at 1. Rows without a score come last.
    With several files, a column file names the file of each row.

    --p-value, --fdr and --per-segment need a bundle that knows the scores of normal rows; see aetool calibrate. A
    p-value is the share of normal rows that score as high.

    \b
    Example:
      aetool score exported/machines new.csv --keep serial -o scores.csv
      aetool score exported/machines new.csv --p-value --fdr 5%
      aetool score exported/machines 2025/*.parquet -o scores --resume
      aetool score exported/machines new.csv --explain 3
      aetool score exported/machines 2025/*.parquet --top 20 --keep serial
      aetool score exported/pumps log.csv --events -o events.csv
    """
    return _run("score", **arguments)


def _run(
    command: str,
    *,
    bundle: Path,
    data: tuple[str, ...],
    output: str | None,
    keep: tuple[tuple[str, ...], ...],
    top: int | None = None,
    events: bool = False,
    moments: bool = False,
    smooth: tuple[int, int] | None = None,
    **rest: Any,
) -> Result:
    how = infer_stream.How(*(rest.pop(name) for name in infer_stream.How._fields))
    what = Inference(bundle, options.flat(keep), **rest)
    paths.require_bundle(bundle)
    if what.fdr is not None and what.per_segment:
        raise click.UsageError("--fdr and --per-segment are two rules; give one of them")
    manifest, by_row = manifest_of(bundle), Moments(events, moments, smooth)
    of_log = manifest.series is not None and all(is_log(manifest, Path(path)) for path in data)
    if by_row.is_wanted:
        by_row.require_possible(what, top, is_log=of_log)
        infer_stream.require_none(how)
        files = [Path(path) for path in data]
        return infer_moments(manifest, what, files, None if output is None else Path(output), by_row)
    if of_log:
        infer_stream.require_none(how)
        return infer_log(command, manifest, what, [Path(path) for path in data], output, top)
    if what.threshold is not None and what.rule is not None:
        raise click.UsageError("--threshold and --fdr or --per-segment are two rules; give one of them")
    if top is not None:
        if output is not None and infer_stream.is_directory(output):
            raise click.UsageError("--top writes one file; give a name with an ending as --output")
        infer_stream.require_none(how)
        if len(data) > 1 or not Path(data[0]).is_file():
            what.require_plain()
            return _top_of_files(what, data, None if output is None else Path(output), top)
    elif infer_stream.is_wanted(data, output, how):
        assert output is not None
        return infer_stream.run(command, what, data, output, how)
    return _one_file(CALLS[command], what, Path(data[0]), None if output is None else Path(output), top)


def _one_file(graph: str, what: Inference, data: Path, output: Path | None, top: int | None) -> Result:
    import numpy as np

    from aetool import load

    check_rows(manifest_of(what.bundle), data, keep=what.keep)
    if output is not None:
        paths.require_free_file(output, what.overwrite)
    with load(
        what.bundle,
        provider=what.provider,
        precision=what.precision,
        threshold=what.threshold,
        limits=limits_in_force(),
    ) as model:
        as_array = _gives_array(model.manifest, graph)
        if as_array:
            paths.require_array_file(output)
        steps().step(f"reading {data.name}")
        rows = rows_for(model.manifest, data, keep=what.keep)
        steps().step(f"computing {len(rows):,} rows")
        results = _results(model, graph, model.run(graph, rows.values))
        document: dict[str, Any] = {"rows": len(rows)}
        if graph == "detector":
            results |= _decided(model, rows.values, results["score"], what)
            document |= {"threshold": model.threshold, "anomalies": int(results["is_anomaly"].sum())}
            if (rule := what.rule) is not None:
                document["rule"] = rule
            infer_stream.tell_odd(int((~np.isfinite(results["score"])).sum()), len(rows))
        if top is not None:
            from aetool.runtime.explain import highest

            order = highest(results["score"], top)
            rows = rows.select(order)
            results = {"row": order + 1, **{name: column[order] for name, column in results.items()}}
        if what.explain is not None:
            steps().step(f"explaining {len(rows):,} scores")
            results |= _why(model, rows.values, what.explain, rows.unseen)
        columns, more = beside(rows.kept, results, data), _anomalies(document)
        picture = None
        if graph == "detector" and output is None and is_on_terminal():
            picture = _picture(model, columns, rows, document, top is not None)
    result = given(columns, document, output, overwrite=what.overwrite, arrays=as_array, more=more)
    return result if picture is None else replace(result, show=picture)


def _top_of_files(what: Inference, data: tuple[str, ...], output: Path | None, top: int) -> Result:
    if output is not None:
        paths.require_free_file(output, what.overwrite)
    with needs("tables", "streaming"):
        from aetool.stream import top_of_files
    steps().step("scoring every file")
    task = what.task("score")
    with task.open() as model:
        best = top_of_files(model, data, top, task)
        columns = best.columns
        if what.explain is not None:
            columns |= _why(model, best.values, what.explain, {})
        document = {"rows": best.rows, "threshold": model.threshold, "anomalies": best.anomalies}
    infer_stream.tell_odd(best.not_finite, best.rows)
    result = given(columns, document, output, overwrite=what.overwrite, more=_anomalies(document))
    if output is None and is_on_terminal():
        return replace(result, show=partial(_show_scores, columns=columns, why=columns, document=document))
    return result


def _picture(
    model: Any, columns: Mapping[str, Any], rows: Any, document: Mapping[str, Any], is_sorted: bool
) -> Callable[[Console], None]:
    """Return what shows scores on a terminal; `is_sorted`: the rows were chosen already."""
    import numpy as np

    from aetool.cli.show.scores import SHOWN
    from aetool.runtime.explain import highest

    order = np.arange(len(rows)) if is_sorted else highest(columns["score"], SHOWN)
    shown = {name: column[order] for name, column in columns.items()}
    if not is_sorted:
        shown = {"row": order + 1, **shown}
    why: Mapping[str, Any] = shown
    if "why_1" not in shown:
        chosen = rows.select(order)
        try:
            why = _why(model, chosen.values, 1, chosen.unseen)
        except AetoolError:  # a bundle without an explainer
            why = {}
    return partial(_show_scores, columns=shown, why=why, document=document)


def _show_scores(
    out: Console, columns: Mapping[str, Any], why: Mapping[str, Any], document: Mapping[str, Any]
) -> None:
    from aetool.cli.show.scores import show_scores

    show_scores(
        out, columns, why, document["threshold"], document["rows"], document["anomalies"], document.get("rule")
    )


def _decided(model: Any, rows: Any, score: Any, what: Inference) -> dict[str, Any]:
    """Return the decisions by another rule than the threshold, and the columns of --p-value."""
    found: dict[str, Any] = {}
    if what.rule is not None:
        found["is_anomaly"] = model.detect(rows, fdr=what.fdr, per_segment=what.per_segment)
    if what.p_value:
        found |= model.calibrated(score)
    if what.p_value or what.fdr is not None:
        tell_void(what.bundle, rows)
    return found


def tell_void(bundle: Path, rows: Any) -> None:
    """Print a note if the rows do not resemble those of the calibration: what it promises does not hold then."""
    from aetool.checks.drift import FEWEST_ROWS, measure_drift

    if len(rows) >= FEWEST_ROWS and (reasons := columns_that_drift(measure_drift(bundle, rows))):
        say(
            f"These rows differ from those that the scores were compared with ({reasons[0]}): p-values and rates "
            "of false alarms do not hold for them. See aetool drift, and calibrate on such rows."
        )


def columns_that_drift(drift: Any) -> list[str]:
    """Return what drifted in the columns; anomalies among the rows may change scores and decisions."""
    return [f"{each.name}: {each.change}" for each in drift.features if each.verdict == "drift"]


def _why(model: Any, rows: Any, count: int, unseen: Mapping[str, Any]) -> dict[str, Any]:
    from aetool.runtime.explain import feature_labels, why_columns

    if count > (known := len(feature_labels(model))):
        say(f"--explain {count}: the model has only {known:,} features; all are named")
    return why_columns(model, rows, count, unseen)


def _anomalies(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the number of anomalies, where scores were asked for."""
    if "anomalies" not in document:
        return []
    counts = document["anomalies"], document["rows"], document["threshold"]
    return [infer_stream.anomalies_line(*counts, document.get("rule"))]


def _gives_array(manifest: Manifest, graph: str) -> bool:
    """Return whether the results are arrays (images, windows, ...) that no table holds."""
    shape = {"encoder": manifest.embedding_shape, "autoencoder": manifest.input_shape}.get(graph)
    return shape is not None and len(shape) != 1


def _results(model: Any, graph: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns to write, or one array of more axes."""
    if graph == "detector":
        return dict(outputs)
    name = {"encoder": "embedding", "autoencoder": "reconstruction"}[graph]
    values = outputs[name]
    if values.ndim != 2:
        return {name: values}
    if graph == "autoencoder" and model.feature_names:
        columns: dict[str, Any] = model.to_columns(values)
        return columns
    return {f"{name}_{i}": column for i, column in enumerate(values.T)}
