"""`--limit NAME=NUMBER`: how much a command reads of a table or a bundle whose author nobody knows."""

import re
from collections.abc import Callable
from typing import Any

import click

from aetool.limits import DEFAULT_LIMITS, Limits
from aetool.nearest import hint

TABLE = ("columns", "cell_bytes", "table_bytes", "compression_ratio")
"""Limits of a table."""
_META = "aetool.limits"
_UNITS = {"": 1, "k": 1000, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}


class _Limit(click.ParamType[Any]):
    """`columns=200000` or `table_bytes=64GiB` as a name and a number."""

    name = "NAME=NUMBER"

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        name, _, text = (part.strip() for part in value.partition("="))
        name = name.replace("-", "_")
        if name not in self.names:
            self.fail(f"no limit {name!r}{hint(name, self.names)}; choose of {', '.join(self.names)}", param, ctx)
        if isinstance(getattr(DEFAULT_LIMITS, name), bool):
            if text.lower() not in ("true", "false"):
                self.fail(f"{name} is true or false, found {text!r:.40}", param, ctx)
            return name, text.lower() == "true"
        number = re.fullmatch(r"([0-9][0-9_,]{0,18}) ?([kmg]i?|)b?", text.lower())
        if number is None:
            self.fail(f"{name} is a number such as 200000 or 64GiB, found {text!r:.40}", param, ctx)
        return name, int(re.sub("[_,]", "", number[1])) * _UNITS[number[2]]


def limit(*, table: bool = True, bundle: bool = False) -> Callable[[Any], Any]:
    """Add `--limit`, of the tables and of the bundle that a command reads; `limits_in_force` gives the result."""
    names = tuple(name for name in Limits._fields if (table if name in TABLE else bundle))
    return click.option(
        "--limit",
        type=_Limit(names),
        multiple=True,
        expose_value=False,
        callback=_keep,
        help=f"Read more, or less, than by default: {', '.join(names)}.",
    )


def _keep(context: click.Context, _: click.Parameter, given: tuple[tuple[str, Any], ...]) -> None:
    context.meta[_META] = DEFAULT_LIMITS._replace(**dict(given))


def limits_in_force() -> Limits:
    """The limits of the running command."""
    context = click.get_current_context(silent=True)
    found: Limits = DEFAULT_LIMITS if context is None else context.meta.get(_META, DEFAULT_LIMITS)
    return found
