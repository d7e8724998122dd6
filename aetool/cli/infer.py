"""`aetool encode`, `aetool reconstruct`, `aetool score`: a bundle over a table."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options
from aetool.cli.output import Result, facts, reports


def _infers(command: Callable[..., int]) -> Callable[..., int]:
    for decorate in (
        options.overwrite,
        options.precision,
        options.provider,
        options.keep,
        options.output(help="CSV, Parquet, NPY or NPZ file to write.  [default: CSV on stdout]"),
        click.argument("data", type=options.PATH),
        click.argument("bundle", type=options.PATH),
    ):
        command = decorate(command)
    return command


@click.command()
@_infers
@reports
def encode(**arguments: Any) -> Result:
    """Embedding of every row of a table: columns embedding_0, embedding_1, ...

    \b
    Example:
      aetool encode exported/machines new.csv --keep serial -o embeddings.parquet
    """
    return _run(
        lambda model, rows: {f"embedding_{i}": column for i, column in enumerate(model.encode(rows).T)},
        **arguments,
    )


@click.command()
@_infers
@reports
def reconstruct(**arguments: Any) -> Result:
    """What the model expects each row to be: the table's columns, in their units.

    \b
    Example:
      aetool reconstruct exported/machines new.csv -o expected.csv
    """
    return _run(
        lambda model, rows: dict(zip(model.feature_names, model.reconstruct(rows).T, strict=True)),
        **arguments,
    )


@click.command()
@_infers
@reports
def score(**arguments: Any) -> Result:
    """How abnormal every row is: columns score and is_anomaly.

    \b
    Example:
      aetool score exported/machines new.csv --keep serial -o scores.csv
    """
    return _run(lambda model, rows: model.run("detector", rows), **arguments)


def _run(
    compute: Callable[[Any, Any], dict[str, Any]],
    *,
    bundle: Path,
    data: Path,
    output: Path | None,
    keep: tuple[tuple[str, ...], ...],
    provider: str,
    precision: str,
    overwrite: bool,
) -> Result:
    import numpy as np

    from aetool import load
    from aetool.storage import require_new
    from aetool.tables import read_table, write_csv, write_table

    if output is not None:
        require_new(output, overwrite)
    with load(bundle, provider=provider, precision=precision) as model:
        rows = read_table(data, only=model.feature_names, keep=options.flat(keep))
        with np.errstate(over="ignore"):
            found = compute(model, rows.values.astype(np.float32))
        threshold = model.threshold
    columns = {**rows.kept, **found}
    document: dict[str, Any] = {"rows": len(rows), "columns": list(columns)}
    if "is_anomaly" in found:
        document |= {"threshold": threshold, "anomalies": int(found["is_anomaly"].sum())}
    if output is not None:
        write_table(output, columns, overwrite=overwrite)
        document["output"] = str(output)
    else:
        document["data"] = columns

    def show(out: Console) -> None:
        if output is None:
            write_csv(sys.stdout.buffer, columns)
            return
        pairs = [("output", str(output)), ("rows", f"{len(rows):,}")]
        if "anomalies" in document:
            share = document["anomalies"] / max(len(rows), 1)
            pairs.append(("anomalies", f"{document['anomalies']:,} ({share:.2%}), score above {threshold:.6g}"))
        out.print(facts(pairs))

    return Result(document, show)
