"""JSON into frozen dataclasses by their annotations; every fault names the file and the key."""

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from aetool.errors import InputError

KEY = "key"  # in a field's metadata: its name in the file, where that is no name in Python

_T = TypeVar("_T")
_NAMES = {str: "a text", int: "an integer", float: "a finite number", bool: "true or false"}


def decode(kind: type[_T], value: Any, where: str, path: str = "$") -> _T:
    """`value`, read from the file `where`, as the dataclass `kind`; keys that it does not know are ignored.

    A field with a default may be missing; one of a type `X | None` may be null, but must be there.

    Raises:
        InputError: naming the key that is missing or is of another type.
    """
    made: _T = _object(kind, value, where, path)
    return made


def fault(where: str, path: str, expected: str, found: Any) -> InputError:
    """What stands at `path` cannot be used."""
    shown = path if path.isprintable() and len(path) < 200 else ascii(path[:200])
    return InputError(f"{where}: {shown} must be {expected}, found {str(found)[:40]!r}; run aetool bench again")


def _object(kind: Any, value: Any, where: str, path: str) -> Any:
    if not isinstance(value, dict):
        raise fault(where, path, "an object", value)
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        key = field.metadata.get(KEY, field.name)
        if key in value:
            given[field.name] = _any(hints[field.name], value[key], where, f"{path}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: {path}.{key} is missing; run aetool bench again")
    return kind(**given)


def _any(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where, path)
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _any(inner, value, where, path)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise fault(where, path, "a list", value)
        return tuple(_any(arguments[0], item, where, f"{path}[{i}]") for i, item in enumerate(value))
    if typing.get_origin(kind) is not None:  # a mapping from text
        if not isinstance(value, dict):
            raise fault(where, path, "an object", value)
        return {name: _any(arguments[1], item, where, f"{path}.{name}") for name, item in value.items()}
    return _plain(kind, value, where, path)


def _plain(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise fault(where, path, _NAMES[kind], value)
    if kind is int and abs(value) >= 2**63:
        raise fault(where, path, _NAMES[kind], value)
    return value
