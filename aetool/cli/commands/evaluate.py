"""`aetool evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs, reading_in_force
from aetool.cli._output import Result, facts, reports
from aetool.cli._progress import steps
from aetool.cli._tables import as_float32, rows_for, windows_of
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
@options.threshold
@limit(bundle=True)
@reports
def evaluate(
    model: Path,
    data: Path,
    label: str | None,
    provider: ProviderName,
    precision: str,
    threshold: float | None,
) -> Result:
    """Measure AUROC, average precision and errors.

    MODEL is a bundle or a checkpoint. DATA is a table or, for images and windows, an NPZ file with the labels in
    a second array. Without --label, it measures the median score and the root mean squared error of the
    reconstructions, in the units of the rows.

    \b
    Example:
      aetool evaluate exported/machines test.csv --label broken
    """
    import numpy as np

    from aetool import load
    from aetool.checks import evaluation
    from aetool.tables import Reading, read_table

    scorer: Any
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
    steps().step(f"scoring {len(rows):,} rows")
    numbers = np.array([name not in scorer.categories for name in names]) if scorer.categories else None
    definition = scorer.manifest.score["definition"] if hasattr(scorer, "manifest") else None
    result = evaluation.evaluate(scorer, rows.values, rows.labels, threshold, numbers)
    document = {key: value for key, value in asdict(result).items() if value is not None}

    def show(out: Console) -> None:
        named = [(NAMES.get(key, key.replace("_", " ")), _text(value)) for key, value in document.items()]
        out.print(facts([*named, *([("score", definition)] if definition else [])]))

    return Result({"model": str(model), **document, **({"score": definition} if definition else {})}, show)


def _text(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or 1e-3 < value < 1e4 else f"{value:.4g}"
