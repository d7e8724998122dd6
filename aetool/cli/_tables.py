"""Tables of the command line: rows in, computed columns out, and columns that explain a score."""

import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from aetool.bundle.manifest import Manifest
from aetool.cli._options import limits_in_force, reading_in_force
from aetool.cli._output import Result, facts, say, visible
from aetool.cli._paths import require_bundle
from aetool.errors import InputError

_SHOWN = 5  # values in a message


def manifest_of(bundle: Path) -> Manifest:
    """Return the manifest of a bundle; refuse what is none."""
    from aetool.bundle.bundle import Bundle

    require_bundle(bundle)
    return Bundle.open(bundle, limits=limits_in_force()).manifest


def rows_for(manifest: Manifest, data: Path, *, label: str | None = None, keep: tuple[str, ...] = ()) -> Any:
    """Read the table or array of rows that a bundle takes, as float32; report unknown categories."""
    return as_float32(as_read(manifest, data, label=label, keep=keep))


def as_read(manifest: Manifest, data: Path, *, label: str | None = None, keep: tuple[str, ...] = ()) -> Any:
    """Read the same with the numbers as the file has them; float64."""
    from aetool.tables import read_array

    if is_log(manifest, data):
        require_no_keep(keep)
        return windows_of(log_of(manifest, data, label=label))
    if len(manifest.input_shape) > 1:
        return read_array(data, label=label, keep=keep, limits=limits_in_force())
    table = _table_file(manifest, data, label, keep).read()
    tell_reading(table)
    for name, texts in table.unseen.items():
        _tell_unseen(name, texts)
    return table


def is_log(manifest: Manifest, data: Path) -> bool:
    """Return whether `data` is a log to cut into windows: the model is one of a series, and it is no array."""
    return manifest.series is not None and data.suffix.lower() not in (".npy", ".npz")


def log_of(manifest: Manifest, data: Path | Sequence[Path], *, label: str | None = None, **options: Any) -> Any:
    """Return the `aetool.tables.windows.Log` of a model's series; options as there."""
    from aetool.tables import Reading
    from aetool.tables.windows import Log

    assert manifest.series is not None
    return Log(
        data,
        manifest.series,
        manifest.feature_names,
        label=label,
        pieces=True,
        reading=reading_in_force(),
        like=Reading.of(manifest.provenance),
        limits=limits_in_force(),
        **options,
    )


def windows_of(log: Any) -> Any:
    """Read the windows of a log as a table; report what is not as usual."""
    from aetool.tables.windows import read_windows, time_texts

    found = read_windows(log)
    for note in log.seen.notes(log.series.window):
        say(note)
    if found.every > 1:
        say(f"{log.seen.windows:,} windows: one in {found.every:,} is taken, evenly")
    kept = {name: time_texts(column) for name, column in found.table.kept.items()}
    return dataclasses.replace(found.table, kept=kept)


def require_no_keep(keep: tuple[str, ...]) -> None:
    """Refuse --keep for a log: neither a window nor an event is one row."""
    if keep:
        raise click.UsageError(
            f"--keep {keep[0]} copies a cell of a row, and a window or an event has many rows; leave it out: "
            "group, start and end tell which rows they are"
        )


def _table_file(manifest: Manifest, data: Path, label: str | None, keep: tuple[str, ...]) -> Any:
    from aetool.tables import Reading, TableFile

    # By name, or all columns in their order where the model has no names.
    names, categories = manifest.feature_names or None, manifest.categories
    return TableFile(
        data,
        only=names,
        categories=categories,
        label=label,
        keep=keep,
        reading=reading_in_force(),
        like=Reading.of(manifest.provenance),
        limits=limits_in_force(),
    )


def tell_reading(table: Any) -> None:
    """Print how a table's text was read, where that is not as usual, and what was left out."""
    for note in table.notes:
        say(note)
    if table.left_out:
        say("left out: " + ", ".join(f"{name} ({why})" for name, why in table.left_out.items()))


def was_trained_on(manifest: Manifest, table: Any) -> bool | None:
    """Return whether the model was trained on this very table of `as_read`; None: unknown."""
    from aetool.tables import fingerprint

    known = {manifest.provenance.get(name) for name in ("data_fingerprint", "normal_rows_fingerprint")} - {None}
    return fingerprint(table) in known if known else None


def check_rows(manifest: Manifest, data: Path, *, label: str | None = None, keep: tuple[str, ...] = ()) -> None:
    """Refuse, by its name and header alone, a file that `rows_for` would refuse.

    Raises:
        InputError: there is no such file, or its columns are not the model's, the label or those to keep.
    """
    from aetool.tables.arrays import require_array

    if is_log(manifest, data):
        require_no_keep(keep)
        log_of(manifest, data, label=label).head()
    elif len(manifest.input_shape) == 1:
        _table_file(manifest, data, label, keep)
    else:
        require_array(data)


def _tell_unseen(name: str, texts: Any) -> None:
    import numpy as np

    values, counts = np.unique(texts[texts != ""], return_counts=True)
    shown = [repr(value[:40]) for value in values[np.argsort(-counts, kind="stable")][:_SHOWN].tolist()]
    more = f" and {len(values) - _SHOWN:,} more" if len(values) > _SHOWN else ""
    say(
        f"{counts.sum():,} of {len(texts):,} rows: {name} has values unknown to the model "
        f"({', '.join(shown)}{more})"
    )


def as_float32(table: Any) -> Any:
    """Return a table with float32 values; too large ones are infinite."""
    import numpy as np

    with np.errstate(over="ignore"):
        return dataclasses.replace(table, values=np.ascontiguousarray(table.values, dtype=np.float32))


class NormalRows(NamedTuple):
    """Rows to make a bundle from."""

    rows: Any  # (rows, ...), float32
    names: tuple[str, ...]  # of columns; none where the rows are no table


def check_normal_rows(
    data: Path, label: str | None, columns: tuple[tuple[str, ...], ...], drop: tuple[tuple[str, ...], ...]
) -> None:
    """Refuse, by its name and header alone, a file that `normal_rows` would refuse.

    Raises:
        InputError: there is no such file, or its columns are not those asked for.
    """
    from aetool.cli._options import flat
    from aetool.tables import TableFile

    chosen, left_out = flat(columns) or None, flat(drop)
    TableFile(
        data,
        label=label,
        columns=chosen,
        drop=left_out,
        categorical=None,
        reading=reading_in_force(),
        limits=limits_in_force(),
    )


def normal_rows(
    data: Path, label: str | None, columns: tuple[tuple[str, ...], ...], drop: tuple[tuple[str, ...], ...]
) -> NormalRows:
    """Read the normal rows of a table or an array, without labelled anomalies.

    Raises:
        InputError: none are left, or some hold missing or infinite values.
    """
    import numpy as np

    from aetool.cli._options import flat
    from aetool.tables import read_rows

    chosen, left_out = flat(columns) or None, flat(drop)
    table = as_float32(
        read_rows(
            data, label=label, columns=chosen, drop=left_out, reading=reading_in_force(), limits=limits_in_force()
        )
    )
    tell_reading(table)
    rows = table.values if table.labels is None else table.values[~table.labels]
    if len(rows) == 0:
        raise InputError(
            f"{data}: no normal rows, which are needed to choose the threshold; give a table with such rows"
        )
    whole = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not whole.all():
        raise InputError(
            f"{data}: {np.count_nonzero(~whole):,} of {len(rows):,} rows hold missing or infinite values, which "
            "the model cannot take; fill them in, or leave these rows out"
        )
    return NormalRows(rows, table.names)


# Columns that a command computed: written to a file, or what a person and a program see instead.


def beside(kept: Mapping[str, Any], results: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """Return the columns of --keep before the results.

    Raises:
        InputError: two have one name.
    """
    if clash := [name for name in kept if name in results]:
        raise InputError(
            f"{data}: --keep {clash[0]!r}: a result has that name too; rename the column in the table"
        )
    return {**kept, **results}


_SAFE = "aetool.safe_csv"
safe_csv = click.option(
    "--safe-csv",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _, value: context.meta.__setitem__(_SAFE, value),
    help="Put a ' before text that a spreadsheet would run as a formula.",
)
"""Option of commands whose result is `given`."""


def given(
    columns: Mapping[str, Any],
    document: dict[str, Any],
    output: Path | None,
    *,
    overwrite: bool,
    arrays: bool = False,
    more: Sequence[tuple[str, str]] = (),
    of_rows: bool = True,
) -> Result:
    """Return a result whose `columns` go to `output`, or to stdout as CSV.

    Args:
        columns: name -> values of every row.
        output: the file, if any.
        overwrite: replace a file that is there.
        document: of --json; "rows" are those that were read.
        arrays: they have more axes than a table's columns.
        more: facts for a person, after the file and its rows.
        of_rows: each value is that of a row, so that their number is told.
    """
    from aetool.tables import without_formulas, write_arrays, write_table

    if click.get_current_context().meta.get(_SAFE) and (output is None or ".csv" in output.name.lower()):
        columns = without_formulas(columns)
    document["columns"] = list(columns)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        (write_arrays if arrays else write_table)(output, columns, overwrite=overwrite)
        document["output"] = str(output)
    else:
        document["data"] = columns

    def show(out: Console) -> None:
        if output is None:
            _to_stdout(columns)
            return
        written = len(next(iter(columns.values()), ()))
        of = "" if written == document["rows"] else f" of {document['rows']:,}"
        rows = [("rows", f"{written:,}{of}")] if of_rows else []
        out.print(facts([("output", str(output)), *rows, *more]))

    return Result(document, show)


def _to_stdout(columns: Mapping[str, Any]) -> None:
    from aetool.tables import write_csv

    if not sys.stdout.isatty():
        write_csv(sys.stdout.buffer, columns)
        return
    text = io.BytesIO()
    write_csv(text, columns)
    sys.stdout.write(visible(text.getvalue().decode()))
