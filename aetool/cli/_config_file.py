"""TOML files with a command's options, generated from the options themselves.

A file holds the options of one command, in a group or not, so it has no sections.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.suggest import file_hint, hint

MAX_BYTES = 1 << 20
_LONG_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+\s*\.\s*){64}""")
"""Dotted key of no option; tomllib takes time with the square of its parts."""
_NOT_KEPT = ("config", "limit", "resume", "overwrite", "as_json", "quiet")
"""Options of a single run, left out of files."""


def config_option(command: Any) -> Any:
    """Add `--config FILE`, whose values apply where the command line gives none."""
    return click.option(
        "--config",
        type=options.PATH,
        is_eager=True,
        expose_value=False,
        callback=_use,
        help="TOML file of options, see aetool init; the command line takes precedence.",
    )(command)


def template(
    command: click.Command, defaults: Mapping[str, Any], examples: Mapping[str, Any], rules: Mapping[str, str]
) -> str:
    """Return every option of a command with its meaning, commented out.

    Args:
        command: the command.
        defaults: option -> value that holds where none is given.
        examples: option without such a value -> a value to show.
        rules: option among those -> what holds where none is given; without a rule, it is left out.
    """
    parts = [f"# Options of `aetool {command.name}`: remove a # and change the value.\n"]
    for name, option in options_of(command).items():
        value = defaults.get(name, examples.get(name))
        meaning = (option.help or "").partition("  [")[0]
        choices = f" One of: {', '.join(option.type.choices)}." if isinstance(option.type, click.Choice) else ""
        without = f"by default: {rules[name]}" if name in rules else "left out by default"
        note = "" if name in defaults else f"  # an example; {without}"
        parts.append(f"# {meaning}{choices}\n# {name} = {json.dumps(value, ensure_ascii=False)}{note}\n")
    return "\n".join(parts)


def options_of(command: click.Command) -> dict[str, click.Option]:
    """Return the options that a file may hold: name -> option."""
    every = [param for param in command.params if isinstance(param, click.Option)]
    return {option.name: option for option in every if option.name and option.name not in _NOT_KEPT}


def _use(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.default_map = _read(path, options_of(context.command))


def _read(path: Path, known: Mapping[str, click.Option]) -> dict[str, Any]:
    """Read a file; keys that no option takes raise UsageError."""
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise click.UsageError(
                f"{path}: larger than {MAX_BYTES >> 10} KiB, too large for a file of options; give another"
            )
        if found := _LONG_KEY.search(decoded := text.decode()):
            raise click.UsageError(f"{path}: unknown key {found[0][:20]!r}...; no option has dots in its name")
        content = tomllib.loads(decoded)
    except FileNotFoundError as error:
        raise click.UsageError(f"{path}: no such file{file_hint(path)}; aetool init writes one") from error
    except OSError as error:
        raise click.UsageError(
            f"{path}: cannot be read: {error.strerror}; check the path and its permissions"
        ) from error
    except RecursionError as error:
        raise click.UsageError(f"{path}: not valid TOML: nested too deeply; correct it") from error
    except ValueError as error:
        raise click.UsageError(f"{path}: not valid TOML: {error}; correct it") from error
    for name in content:
        if name not in known:
            raise click.UsageError(
                f"{path}: unknown key {name!r}{hint(name, known)}; aetool init writes a file with all keys"
            )
    return {name: _value(path, known[name], value) for name, value in content.items()}


def _value(path: Path, option: click.Option, value: Any) -> Any:
    """Convert a value for click, and check its type, since click would turn 3.5 into 3."""
    kind, holds = _kind_of(option)
    if not holds(value):
        raise click.UsageError(f"{path}: {option.name} must be {kind}, found {value!r}; correct it")
    if isinstance(option.type, options.CommaList):
        return [tuple(value)]
    return tuple(value) if isinstance(value, list) else value


def _kind_of(option: click.Option) -> tuple[str, Callable[[Any], bool]]:
    """Return the type an option takes, in words and as a test."""
    taken = option.type
    if isinstance(taken, click.Choice):
        return f"one of {', '.join(taken.choices)}", lambda value: value in taken.choices
    if option.is_flag:
        return "true or false", lambda value: type(value) is bool
    return _KINDS.get(type(taken), ("a text", lambda value: isinstance(value, str)))


def _all_of(values: Any, kind: type[Any]) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


_KINDS: Mapping[type[Any], tuple[str, Callable[[Any], bool]]] = {
    options.CommaList: ("a list of texts", lambda value: _all_of(value, str)),
    options.IntegerList: ("a list of integers", lambda value: _all_of(value, int)),
    options.Count: ("an integer", lambda value: type(value) is int),
    options.Share: ("a number", lambda value: type(value) in (int, float)),
    type(click.INT): ("an integer", lambda value: type(value) is int),
    type(click.FLOAT): ("a number", lambda value: type(value) in (int, float)),
}
