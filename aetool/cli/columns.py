"""Columns that a command computed: written to a file, or what a person and a program see instead."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aetool.cli.output import Result, facts, visible
from aetool.errors import InputError


def beside(kept: Mapping[str, Any], found: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """The columns of --keep before those that were found.

    Raises:
        InputError: two have one name.
    """
    if clash := [name for name in kept if name in found]:
        raise InputError(
            f"{data}: --keep {clash[0]!r}: a result has that name too; rename the column in the table"
        )
    return {**kept, **found}


_SAFE = "aetool.safe_csv"
safe_csv = click.option(
    "--safe-csv",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _, value: context.meta.__setitem__(_SAFE, value),
    help="Put a ' before text that a spreadsheet would run as a formula.",
)
"""An option of commands whose result is `given`."""


def given(
    columns: Mapping[str, Any],
    document: dict[str, Any],
    output: Path | None,
    write: Callable[..., None],
    *,
    overwrite: bool,
    more: Sequence[tuple[str, str]] = (),
) -> Result:
    """The result of a command whose `columns` go to `output`, or to stdout as CSV.

    Args:
        document: of --json; "rows" are those that were read.
        more: facts for a person, after the file and its rows.
    """
    if click.get_current_context().meta.get(_SAFE) and (output is None or ".csv" in output.name.lower()):
        from aetool.tables import without_formulas

        columns = without_formulas(columns)
    document["columns"] = list(columns)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(output, columns, overwrite=overwrite)
        document["output"] = str(output)
    else:
        document["data"] = columns

    def show(out: Console) -> None:
        if output is None:
            _to_stdout(columns)
            return
        written = len(next(iter(columns.values()), ()))
        of = "" if written == document["rows"] else f" of {document['rows']:,}"
        out.print(facts([("output", str(output)), ("rows", f"{written:,}{of}"), *more]))

    return Result(document, show)


def _to_stdout(columns: Mapping[str, Any]) -> None:
    from aetool.tables import write_csv

    if not sys.stdout.isatty():
        write_csv(sys.stdout.buffer, columns)
        return
    text = io.BytesIO()
    write_csv(text, columns)
    sys.stdout.write(visible(text.getvalue().decode()))
