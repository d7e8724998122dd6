"""`aetool report`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force
from aetool.cli._output import Result, reports
from aetool.cli._progress import steps
from aetool.cli._tables import as_float32, as_read, check_rows, is_log, log_of, manifest_of, was_trained_on
from aetool.errors import InputError, OutputError
from aetool.runtime.providers import ProviderName

_ENDINGS = (".html", ".htm")


@click.command()
@click.argument("result", type=options.PATH)
@click.option("--data", type=options.PATH, help="Rows to show for a bundle.  [default: its golden rows]")
@click.option("--label", metavar="COLUMN", help="Column of --data that marks anomalies.")
@options.reading(labels=True)
@click.option("--bench", type=options.PATH, help="Result of aetool bench, to show on the page of a bundle.")
@click.option("--umap", is_flag=True, help="Map the embeddings with UMAP (umap-learn) instead of PCA.")
@click.option("--keep", type=options.CommaList(), multiple=True, help="Columns of --data that identify rows.")
@click.option(
    "--smooth",
    type=options.OfLast(),
    help="Of a log, K of the last N rows must be above the threshold.  [default: 3/5]",
)
@options.provider
@options.precision
@options.threshold
@options.output("Page to write.  [default: RESULT.html beside it]")
@options.overwrite
@limit(bundle=True)
@reports
def report(result: Path, output: Path | None, overwrite: bool, **given: Any) -> Result:
    """Make an HTML page of a bundle or a measurement.

    RESULT is a bundle, or a file from aetool bench or aetool tune. The page is one HTML file that loads nothing
    from elsewhere.

    The page of a bundle shows the scores with a movable threshold, the rows with high scores and the reasons, a
    map of the embeddings, segments, drift, precisions and training; with --label also precision, recall and the
    confusion matrix. It contains the values of a few rows of --data, and up to 3,000 values of the --keep
    columns. The page of a measurement shows distributions, throughput, speed against fidelity, tables, and the
    command to repeat it.

    \b
    Example:
      aetool report exported/machines --data test.csv --label broken --keep serial -o machines.html
      aetool report bench.json -o bench.html
      aetool report exported/machines.tuning.json -o tuning.html
    """
    if result.is_dir():
        paths.require_bundle(result)
    for option in ("label", "keep"):
        if given[option] and given["data"] is None:
            raise click.UsageError(f"--{option} names a column of --data; give --data too")
    if result.is_dir():
        output = output or result.parent / f"{result.resolve().name}.html"
        return _of_bundle(result, output, overwrite, **given)
    if any(value not in (None, False, (), "auto") for value in given.values()):
        raise click.UsageError(
            "--data, --label, --keep, --bench, --umap, --smooth, --provider, --precision and --threshold go with "
            "a bundle; RESULT is a measurement"
        )
    return _of_measurement(result, output or result.with_suffix(".html"), overwrite)


def _require_place(output: Path, result: Path, overwrite: bool) -> None:
    from aetool.bundle.atomic import require_new

    if output.suffix.lower() not in _ENDINGS:
        raise OutputError(f"{output}: the page is HTML; choose a name that ends in {' or '.join(_ENDINGS)}")
    require_new(output, overwrite)
    if output.exists() and result.exists() and output.samefile(result):
        raise OutputError(f"{output}: is the result itself and is not replaced; choose another name")


def _of_bundle(
    bundle: Path,
    output: Path,
    overwrite: bool,
    *,
    data: Path | None,
    label: str | None,
    bench: Path | None,
    umap: bool,
    keep: tuple[tuple[str, ...], ...],
    smooth: tuple[int, int] | None,
    provider: ProviderName,
    precision: str,
    threshold: float | None,
) -> Result:
    from aetool.report import BenchResult, bundle_page, read_result
    from aetool.report.bundle.data import portray

    manifest, kept = manifest_of(bundle), options.flat(keep)
    if smooth is not None and (data is None or not is_log(manifest, data)):
        raise click.UsageError("--smooth is for a log and a bundle of windows; leave it out")
    if data is not None:
        check_rows(manifest, data, label=label, keep=kept)
    measured = None if bench is None else read_result(bench)
    if measured is not None and not isinstance(measured, BenchResult):
        raise InputError(f"{bench}: is a file of aetool tune; give one of aetool bench")
    _require_place(output, bundle, overwrite)
    real: dict[str, Any] = {}
    if data is not None:
        steps().step(f"reading {data.name}")
        table = as_read(manifest, data, label=label, keep=kept)
        rows = as_float32(table)
        real = {"rows": rows.values, "labels": rows.labels, "kept": rows.kept, "source": data.name}
        real["trained_on"] = was_trained_on(manifest, table)
        if is_log(manifest, data):
            how = {"provider": provider, "precision": precision, "threshold": threshold}
            real["log_events"] = _log_events(bundle, log_of(manifest, data, label=label), smooth, how)
    steps().step("computing what the page shows")
    portrait = portray(
        bundle,
        **real,
        provider=provider,
        precision=precision,
        threshold=threshold,
        method="umap" if umap else "pca",
        limits=limits_in_force(),
    )
    sweep, curves = portrait.sweep, portrait.curves
    document = {
        "rows": portrait.rows,
        "golden": portrait.is_golden,
        "flagged": sweep.flagged[sweep.own],
        "auroc": None if curves is None else curves.auroc,
        "drifted": None if portrait.drift is None else portrait.drift["drifted"],
    }
    steps().step("drawing the page")
    summary = f"{portrait.rows:,} {'golden rows' if portrait.is_golden else 'rows'}"
    return _written(output, bundle_page(portrait, measured), overwrite, document, summary)


def _log_events(bundle: Path, log: Any, smooth: tuple[int, int] | None, how: Mapping[str, Any]) -> Any:
    from aetool import load
    from aetool.report.bundle.log_events import events_of

    steps().step("finding the events")
    with load(bundle, **how, limits=limits_in_force()) as model:
        return events_of(model, log, smooth)


def _of_measurement(file: Path, output: Path, overwrite: bool) -> Result:
    from aetool.report import TuningResult, benchmark_page, read_result, tuning_page

    result = read_result(file)
    _require_place(output, file, overwrite)
    if isinstance(result, TuningResult):
        count = len(result.trials)
        return _written(output, tuning_page(result), overwrite, {"candidates": count}, f"{count} candidates")
    steps().step("drawing the page")
    count, unstable = len(result.results), sum(not measured.stability.stable for measured in result.results)
    counts = {"measurements": count, "unstable": unstable}
    after = f"; {unstable} not stable" if unstable else ""
    return _written(output, benchmark_page(result), overwrite, counts, f"{count} measurements", after)


def _written(
    output: Path, page: str, overwrite: bool, document: dict[str, Any], before: str, after: str = ""
) -> Result:
    """Publish the page; a person sees `before`, its size, and `after`."""
    from aetool.bundle.atomic import publish_file

    content = page.encode()
    publish_file(output, content, overwrite=overwrite)
    line = f"{output}: {before}, {len(content) / 1024:.0f} KiB{after}"
    return Result({"page": str(output), "bytes": len(content), **document}, lambda out: out.print(line))
