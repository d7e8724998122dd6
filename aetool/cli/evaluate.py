"""`aetool evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, places
from aetool.cli.extras import needs
from aetool.cli.output import Result, facts, reports
from aetool.cli.rows import as_float32, rows_for


@click.command()
@click.argument("model", type=options.PATH)
@click.argument("data", type=options.PATH)
@options.label
@options.provider
@options.precision
@reports
def evaluate(model: Path, data: Path, label: str | None, provider: str, precision: str) -> Result:
    """AUROC, average precision and errors on a labelled table.

    MODEL is a bundle or a checkpoint. DATA is a table, or for images and windows an NPZ array whose labels are
    another array in it. Without --label there are no anomalies to tell apart, and it gives the
    reconstruction error alone.

    \b
    Example:
      aetool evaluate exported/machines test.csv --label broken
    """
    import numpy as np

    from aetool import load
    from aetool.tables import read_table

    with needs("train", "evaluating"):
        from aetool import evaluation
    scorer: Any
    if places.what(model) == places.CHECKPOINT:
        with needs("train", "evaluating a checkpoint"):
            from aetool.model import load_checkpoint
        scorer, threshold = load_checkpoint(model), None
        names = scorer.names
        table = as_float32(read_table(data, only=scorer.names, categories=scorer.categories, label=label))
    else:
        places.require_bundle(model)
        scorer = load(model, provider=provider, precision=precision)
        names, threshold = scorer.feature_names, scorer.threshold
        table = rows_for(scorer.manifest, data, label=label)
    numbers = np.array([name not in scorer.categories for name in names]) if scorer.categories else None
    found = evaluation.evaluate(scorer, table.values, table.labels, threshold, numbers)
    document = {key: value for key, value in asdict(found).items() if value is not None}

    def show(out: Console) -> None:
        out.print(facts([(key.replace("_", " "), _text(value)) for key, value in document.items()]))

    return Result({"model": str(model), **document}, show)


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 < value < 1e4 else f"{value:.4g}"
