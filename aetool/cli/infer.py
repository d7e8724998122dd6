"""`aetool encode`, `aetool reconstruct`, `aetool score`: a bundle over a table."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli import options, places
from aetool.cli.output import Result, facts, reports, say
from aetool.errors import InputError


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
    """The embedding of every row of a table.

    Columns embedding_0, embedding_1, ... Columns of the table are matched by name; others are ignored.

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
    """What the model expects every row of a table to be.

    The model's columns, in the units of the table. Columns are matched by name; others are ignored.

    \b
    Example:
      aetool reconstruct exported/machines new.csv -o expected.csv
    """
    return _run(
        lambda model, rows: model.to_columns(model.reconstruct(rows)),
        **arguments,
    )


@click.command()
@_infers
@reports
def score(**arguments: Any) -> Result:
    """How abnormal every row of a table is.

    Columns score (higher is more abnormal) and is_anomaly. A row with a missing value that the model does not
    impute scores nan and is an anomaly. Columns of the table are matched by name; others are ignored.

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
    from aetool.tables import read_table, write_csv, write_table

    places.require_bundle(bundle)
    if output is not None:
        places.require_free_file(output, overwrite)
    with load(bundle, provider=provider, precision=precision) as model:
        rows = read_table(data, only=model.feature_names, categories=model.categories, keep=options.flat(keep))
        with np.errstate(over="ignore"):
            found = compute(model, rows.values.astype(np.float32))
        threshold = model.threshold
    if clash := [name for name in rows.kept if name in found]:
        raise InputError(
            f"{data}: --keep {clash[0]!r}: a result has that name too; rename the column in the table"
        )
    columns = {**rows.kept, **found}
    document: dict[str, Any] = {"rows": len(rows), "columns": list(columns)}
    if "is_anomaly" in found:
        document |= {"threshold": threshold, "anomalies": int(found["is_anomaly"].sum())}
        if odd := int((~np.isfinite(found["score"])).sum()):
            say(f"{odd:,} of {len(rows):,} rows have no finite score (missing or extreme values): anomalies")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
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
