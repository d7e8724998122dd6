"""Options that several commands share."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aetool.runtime.providers import PROVIDERS

PATH = click.Path(path_type=Path)
Decorator = Callable[[Any], Any]


class CommaList(click.ParamType[Any]):
    """`a,b,c` as a tuple of texts; the option may be repeated."""

    name = "NAME[,NAME...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        # Read as a line of CSV, so that a name with a comma can be quoted. The empty text is a name too: that of
        # an index column which pandas wrote.
        (names,) = csv.reader([value], skipinitialspace=True) if value else ([""],)
        return tuple(name.strip() for name in names)


class IntegerList(click.ParamType[Any]):
    """`64,32` as a tuple of integers."""

    name = "N[,N...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return tuple(int(part) for part in value.split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of integers such as 64,32", param, ctx)


def flat(lists: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The values of a repeated CommaList option."""
    return tuple(name for names in lists for name in names)


overwrite = click.option("--overwrite", is_flag=True, help="Replace what is there.")
provider = click.option(
    "--provider",
    type=click.Choice(["auto", *PROVIDERS]),
    default="auto",
    show_default=True,
    help="Execution provider; the one named is used, or it is an error.",
)
precision = click.option("--precision", default="auto", show_default=True, help="A precision of the bundle.")
label = click.option("--label", metavar="COLUMN", help="Column that marks anomalies (not 0); never a feature.")
drop = click.option("--drop", type=CommaList(), multiple=True, help="Columns to leave out.")
columns = click.option("--columns", type=CommaList(), multiple=True, help="Use these columns only.")
categorical = click.option(
    "--categorical",
    type=CommaList(),
    multiple=True,
    help="Columns of text or codes to one-hot inside the model; auto: every text column.",
)
keep = click.option(
    "--keep", type=CommaList(), multiple=True, help="Columns carried through to the output, such as an id."
)


def output(help: str) -> Decorator:
    """`-o`, `--output`."""
    return click.option("-o", "--output", type=PATH, help=help)
