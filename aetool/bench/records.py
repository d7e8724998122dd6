"""Dataclasses to JSON and back; what does not fit is refused with its place in the document."""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, cast

from aetool.errors import BenchmarkError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, texts, numbers; a field is called by its own name or by `metadata["key"]`."""
    if is_dataclass(value):
        return {_key(entry): to_plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(record: type[T], content: Any, where: str, path: str = "$") -> T:
    """The dataclass `record` of a parsed JSON object, whose keys must be its fields.

    Raises:
        BenchmarkError: naming the file, `where`, and the key.
    """
    if not isinstance(content, dict):
        raise _fault(where, path, "an object", content)
    hints = typing.get_type_hints(record)
    entries = {_key(entry): entry for entry in fields(cast(Any, record))}
    if foreign := sorted(content.keys() - entries.keys()):
        raise BenchmarkError(f"{where}: {path}.{foreign[0]} is unknown; measure again with this aetool")
    values = {}
    for key, entry in entries.items():
        if key in content:
            values[entry.name] = _value(hints[entry.name], content[key], where, f"{path}.{key}")
        elif entry.default is MISSING:
            raise BenchmarkError(f"{where}: {path}.{key} is missing; measure again with this aetool")
    return record(**values)


def _value(hint: Any, content: Any, where: str, path: str) -> Any:
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is types.UnionType:  # X | None, the only one there is here
        return None if content is None else _value(arguments[0], content, where, path)
    if kind is not None:
        return _many(kind, arguments, content, where, path)
    if is_dataclass(hint):
        return from_plain(cast(type[Any], hint), content, where, path)
    if hint is Any:
        return content
    if hint is float and type(content) in (int, float) and math.isfinite(content):
        return float(content)
    if hint is not float and type(content) is hint:
        return content
    raise _fault(
        where, path, {str: "a text", int: "an integer", float: "a number", bool: "true or false"}[hint], content
    )


def _many(kind: Any, arguments: tuple[Any, ...], content: Any, where: str, path: str) -> Any:
    """A tuple, or a mapping from texts."""
    if kind is tuple:
        if not isinstance(content, list) or (arguments[1] is not ... and len(content) != len(arguments)):
            raise _fault(where, path, "a list" if arguments[1] is ... else f"a list of {len(arguments)}", content)
        return tuple(_value(arguments[0], item, where, f"{path}[{i}]") for i, item in enumerate(content))
    if not isinstance(content, dict):
        raise _fault(where, path, "an object", content)
    return {key: _value(arguments[1], item, where, f"{path}.{key}") for key, item in content.items()}


def _key(entry: Field[Any]) -> str:
    return str(entry.metadata.get("key", entry.name))


def _fault(where: str, path: str, expected: str, found: Any) -> BenchmarkError:
    return BenchmarkError(f"{where}: {path} must be {expected}, found {str(found)[:40]!r}; measure again")
