"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)
Decorator = Callable[[Any], Any]


class CommaList(click.ParamType[Any]):
    """`a,b,c` as a tuple of texts; the option may be repeated."""

    name = "NAME[,NAME...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
        )


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
    "--provider", default="auto", show_default=True, help="Execution provider: auto, cpu, cuda; strict."
)
precision = click.option("--precision", default="auto", show_default=True, help="A precision of the bundle.")
label = click.option("--label", metavar="COLUMN", help="Column that marks anomalies (not 0); never a feature.")
drop = click.option("--drop", type=CommaList(), multiple=True, help="Columns to leave out.")
columns = click.option("--columns", type=CommaList(), multiple=True, help="Use these columns only.")
keep = click.option(
    "--keep", type=CommaList(), multiple=True, help="Columns carried through to the output, such as an id."
)


def output(required: bool = False, help: str = "Where to write.") -> Decorator:
    return click.option("-o", "--output", type=PATH, required=required, help=help)
