"""`aetool evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, places
from aetool.cli.extras import needs
from aetool.cli.output import Result, facts, reports


@click.command()
@click.argument("model", type=options.PATH)
@click.argument("data", type=options.PATH)
@options.label
@options.provider
@options.precision
@reports
def evaluate(model: Path, data: Path, label: str | None, provider: str, precision: str) -> Result:
    """AUROC, average precision and errors on a labelled table.

    MODEL is a bundle or a checkpoint. Without --label there are no anomalies to tell apart, and it gives the
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
        scorer = load_checkpoint(model)
        names, threshold = scorer.names, None
    else:
        places.require_bundle(model)
        scorer = load(model, provider=provider, precision=precision)
        names, threshold = scorer.feature_names, scorer.threshold
    table = read_table(data, only=names, categories=scorer.categories, label=label)
    with np.errstate(over="ignore"):
        rows = table.values.astype(np.float32)
    numbers = [name not in scorer.categories for name in names]
    found = evaluation.evaluate(scorer, rows, table.labels, threshold, np.array(numbers))
    document = {key: value for key, value in asdict(found).items() if value is not None}

    def show(out: Console) -> None:
        out.print(facts([(key.replace("_", " "), _text(value)) for key, value in document.items()]))

    return Result({"model": str(model), **document}, show)


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 < value < 1e4 else f"{value:.4g}"
