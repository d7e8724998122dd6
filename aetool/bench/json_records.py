"""Dataclasses and named tuples to JSON and back; errors name the place in the document."""

import json
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from aetool.bundle.atomic import publish_file
from aetool.bundle.schema import no_constant, require_storable, shown, unique_keys
from aetool.errors import BenchmarkError

MAX_BYTES = 256 << 20
T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return dictionaries, lists, texts, numbers; a field is called by its own name or by `metadata["key"]`."""
    if _is_record(value):
        return {key: to_plain(getattr(value, name)) for key, (name, _) in _entries(value).items()}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def document_of(result: Any) -> dict[str, Any]:
    """Return a record that has a kind and a version as JSON, these two first."""
    plain = to_plain(result)
    return {"kind": plain.pop("kind"), "format_version": plain.pop("format_version"), **plain}


def write_document(document: Mapping[str, Any], path: Path, *, overwrite: bool = False) -> None:
    """Write the JSON file.

    Raises:
        OutputError: `path` exists and `overwrite` is false, or it cannot be written.
    """
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    publish_file(path, text.encode(), overwrite=overwrite)


def read_document(path: Path, kinds: Mapping[str, int], writer: str) -> dict[str, Any]:
    """Read the JSON object in a file of one of `kinds`.

    Args:
        path: the file.
        kinds: kind -> format version.
        writer: the command that writes such files, for messages.

    Raises:
        BenchmarkError: not there, another kind of file, or of a newer aetool.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BenchmarkError(f"{path}: larger than {MAX_BYTES >> 20} MiB; not a result of {writer}")
        content = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys, parse_constant=no_constant
        )
        require_storable(content)
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read: {error.strerror}; give a file of {writer}") from error
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: not valid JSON ({error}); give a file that {writer} wrote") from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in list(kinds):
        expected = " or ".join(map(repr, kinds))
        raise BenchmarkError(
            f"{path}: kind {expected} expected, found {kind!r:.40}; give a file that {writer} wrote"
        )
    version = content.get("format_version")
    if version != kinds[kind] or isinstance(version, bool):
        raise BenchmarkError(
            f"{path}: format_version {kinds[kind]} expected, found {version!r:.40}; measure again, or use the "
            "aetool that wrote it"
        )
    return dict(content)


def from_plain(record: type[T], content: Any, where: str, path: str = "$") -> T:
    """Return the record of class `record` for a parsed JSON object, whose keys must be the fields.

    Raises:
        BenchmarkError: naming the file, `where`, and the key.
    """
    if not isinstance(content, dict):
        raise fault(where, path, "an object", content)
    hints = typing.get_type_hints(record)
    entries = _entries(record)
    if foreign := sorted(content.keys() - entries.keys()):
        unknown = shown(f"{path}.{foreign[0]}")
        raise BenchmarkError(f"{where}: {unknown} is unknown; measure again with this aetool")
    values = {}
    for key, (name, optional) in entries.items():
        if key in content:
            values[name] = _value(hints[name], content[key], where, f"{path}.{key}")
        elif not optional:
            raise BenchmarkError(f"{where}: {shown(f'{path}.{key}')} is missing; measure again with this aetool")
    return record(**values)


def fault(where: str, path: str, expected: str, found: Any) -> BenchmarkError:
    """Return the error for a value at `path` of the file `where` that cannot be used."""
    return BenchmarkError(f"{where}: {shown(path)} must be {expected}, found {str(found)[:40]!r}; measure again")


def _value(hint: Any, content: Any, where: str, path: str) -> Any:
    kind, arguments = typing.get_origin(hint), typing.get_args(hint)
    if kind is types.UnionType:  # X | None, the only one there is here
        return None if content is None else _value(arguments[0], content, where, path)
    if kind is not None:
        return _many(kind, arguments, content, where, path)
    if _is_record(hint):
        return from_plain(cast(type[Any], hint), content, where, path)
    if hint is Any:
        return content
    if type(content) not in ((int, float) if hint is float else (hint,)) or not _fits(hint, content):
        names = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}
        raise fault(where, path, names[hint], content)
    return float(content) if hint is float else content


def _fits(hint: Any, number: Any) -> bool:
    """Return True for a number that is finite as a float, or an integer of machine size."""
    if hint is float:
        return bool(abs(number) <= sys.float_info.max)
    return hint is not int or -(2**63) <= number < 2**63


def _many(kind: Any, arguments: tuple[Any, ...], content: Any, where: str, path: str) -> Any:
    """Return a tuple, or a mapping with string keys."""
    if kind is tuple:
        if not isinstance(content, list) or (arguments[1] is not ... and len(content) != len(arguments)):
            raise fault(where, path, "a list" if arguments[1] is ... else f"a list of {len(arguments)}", content)
        return tuple(_value(arguments[0], item, where, f"{path}[{i}]") for i, item in enumerate(content))
    if not isinstance(content, dict):
        raise fault(where, path, "an object", content)
    return {key: _value(arguments[1], item, where, f"{path}.{key}") for key, item in content.items()}


def _is_record(value: Any) -> bool:
    return is_dataclass(value) or hasattr(value, "_field_defaults")


def _entries(record: Any) -> dict[str, tuple[str, bool]]:
    """Return key in the document -> field, and True if it may be left out."""
    if is_dataclass(record):
        return {e.metadata.get("key", e.name): (e.name, e.default is not MISSING) for e in fields(record)}
    return {name: (name, name in record._field_defaults) for name in record._fields}
