"""`aetool evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from aetool.cli import options, paths
from aetool.cli.options import limit, limits_in_force, needs
from aetool.cli.output import Result, facts, reports, table
from aetool.cli.tables import as_float32, check_rows, rows_for
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
@options.provider
@options.precision
@click.option("--compression", is_flag=True, help="Instead: embeddings sent in fewer bytes, and what it loses.")
@limit(bundle=True)
@reports
def evaluate(
    model: Path,
    data: Path,
    label: str | None,
    provider: ProviderName,
    precision: str,
    compression: bool,
) -> Result:
    """Measure AUROC, average precision and errors.

    MODEL is a bundle or a checkpoint. DATA is a table, or for images and windows an NPZ array whose labels are
    another array in it. Without --label there are no anomalies to tell apart, and it gives the
    median score and the root mean squared error of the reconstructions, in the units of the rows.

    With --compression the embeddings of a bundle are rounded to fp16 and int8 and decoded again: what a machine
    that encodes and sends saves, and what one that decodes gets.

    \b
    Example:
      aetool evaluate exported/machines test.csv --label broken
      aetool evaluate exported/machines test.csv --compression
    """
    import numpy as np

    from aetool import load
    from aetool.checks import evaluation
    from aetool.tables import read_table

    if compression:
        return _compression(model, data, label, provider, precision)
    scorer: Any
    if paths.what(model) == paths.CHECKPOINT:
        with needs("train", "evaluating a checkpoint"):
            from aetool.model import load_checkpoint
        scorer, threshold = load_checkpoint(model), None
        names = scorer.names
        rows = as_float32(
            read_table(
                data, only=scorer.names, categories=scorer.categories, label=label, limits=limits_in_force()
            )
        )
    else:
        paths.require_bundle(model)
        scorer = load(model, provider=provider, precision=precision, limits=limits_in_force())
        names, threshold = scorer.feature_names, scorer.threshold
        rows = rows_for(scorer.manifest, data, label=label)
    numbers = np.array([name not in scorer.categories for name in names]) if scorer.categories else None
    definition = None if threshold is None else scorer.manifest.score["definition"]
    found = evaluation.evaluate(scorer, rows.values, rows.labels, threshold, numbers)
    document = {key: value for key, value in asdict(found).items() if value is not None}

    def show(out: Console) -> None:
        named = [(NAMES.get(key, key.replace("_", " ")), _text(value)) for key, value in document.items()]
        out.print(facts([*named, *([("score", definition)] if definition else [])]))

    return Result({"model": str(model), **document, **({"score": definition} if definition else {})}, show)


def _compression(model: Path, data: Path, label: str | None, provider: ProviderName, precision: str) -> Result:
    from aetool import load
    from aetool.bundle.bundle import Bundle
    from aetool.checks.compression import compression

    paths.require_bundle(model)
    check_rows(Bundle.open(model, limits=limits_in_force()).manifest, data, label=label)
    with load(model, provider=provider, precision=precision, limits=limits_in_force()) as session:
        found = compression(session, rows_for(session.manifest, data, label=label).values)

    def show(out: Console) -> None:
        columns = ["sent", "bytes a row", "features / sent", "error", "added by rounding"]
        lines: list[list[str | Text]] = [["features", f"{found.features_bytes_per_row:,}", "1.0", "0", ""]]
        lines += [
            [
                f"embedding, {one.format}",
                f"{one.bytes_per_row:,}",
                f"{one.ratio:.1f}",
                f"{one.error:.4f}",
                f"{one.added:.2g}",
            ]
            for one in found.formats
        ]
        out.print(table(columns, lines, right=columns[1:]))
        out.print()
        out.print(
            facts(
                [
                    ("rows", f"{found.rows:,}"),
                    ("error", "root mean square, each column by its standard deviation: 1 is its mean's"),
                    ("int8", f"{len(found.scale)} scales besides, one a dimension, from these rows (--json)"),
                ]
            )
        )

    return Result({"model": str(model), **asdict(found)}, show)


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 < value < 1e4 else f"{value:.4g}"
