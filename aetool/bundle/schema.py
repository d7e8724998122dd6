"""JSON to records and back: dataclasses and named tuples whose fields are declared once, with their types.

`Source.read` is strict, and every error names its path in the document. A field may have the types of JSON, lists
(`tuple[X, ...]`), objects (`Mapping[str, X]`), other records, `X | None`, and the stricter types below, such as
`Count` and `Digest`. Keys that are no fields go into the field `unknown` where a record has one; else they are
ignored, or an error if `strict`.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, cast, get_args, get_origin

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath
from aetool.errors import AetoolError, BundleError, InputError

MAX_DEPTH = 64  # of the document
_HEX = frozenset("0123456789abcdef")

T = TypeVar("T")
Reader = Callable[[Any], Any]
"""From a value of the document to that of a field; raises a _FaultError."""


def loads(text: str | bytes) -> Any:
    """Parse JSON that can be written again; any fault is a ValueError.

    Raises:
        ValueError: not JSON, a key twice, a number that is not finite, nested deeper than MAX_DEPTH.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    _require_storable(content)
    return content


def read_json(path: AnyPath, max_bytes: int = DEFAULT_LIMITS.json_bytes) -> Any:
    """Parse a JSON file as `loads` does.

    Raises:
        OSError: it cannot be read.
        ValueError: as `loads`, or more than `max_bytes`.
    """
    with open(path, "rb") as stream:
        text = stream.read(max_bytes + 1)
    if len(text) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return loads(text)


def _require_storable(content: Any) -> None:
    """Refuse what could be read but not be written again: inf, half a surrogate pair, unbounded nesting."""
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += [*value, *value.values()]
            elif isinstance(value, list):
                inside += value
            elif isinstance(value, str):
                value.encode()
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a number is too large for a float")
        level = inside


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return content


def _no_constant(token: str) -> Any:
    raise ValueError(f"{token} is not a number that JSON knows")


def shown(path: str) -> str:
    """Return a JSON path for a message, short and on one line: its parts may come from anybody."""
    return path if path.isprintable() and len(path) < 200 else ascii(path[:200])


def member(path: str, key: str) -> str:
    """Return the JSON path (RFC 9535) of `key` in the object at `path`: `$.files['golden.npz']`."""
    if key.isascii() and key.isidentifier() and key[0] != "_":
        return f"{path}.{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{path}['{escaped}']"


class _FaultError(Exception):
    """A wrong value, and the steps of the path to it, the last one first."""

    def __init__(self, message: str, *steps: str) -> None:
        super().__init__(message)
        self.steps = list(steps)


def _wrong(expected: str, value: Any, *steps: str) -> _FaultError:
    return _FaultError(f" must be {expected}, found {str(value)[:40]!r}", *steps)


class Source(NamedTuple):
    """A document, as its errors name it."""

    where: str
    """The file."""
    remedy: str = "export the bundle again"
    error: type[AetoolError] = BundleError
    strict: bool = False
    """Refuse unknown keys."""

    def parse(self, text: str | bytes) -> Any:
        """Parse JSON as `loads` does; a fault is an `error`."""
        try:
            return loads(text)
        except ValueError as error:
            raise self.error(f"{self.where}: not valid JSON ({error}); {self.remedy}") from error

    def read(self, record: type[T], content: Any) -> T:
        """Return the record in parsed JSON, or raise an `error` that names the path."""
        try:
            return cast(T, _record(cast(Any, record), self.strict)(content))
        except _FaultError as fault:
            raise self._named(fault) from fault

    def read_fields(self, record: Any, content: Any, *names: str) -> tuple[Any, ...]:
        """Return these fields of the record alone, all of which must be there."""
        try:
            entries = [entry._replace(needed=True) for entry in entries_of(record) if entry.name in names]
            values = _values(content, [(entry, _reader(entry.hint, self.strict)) for entry in entries])
        except _FaultError as fault:
            raise self._named(fault) from fault
        return tuple(values[name] for name in names)

    def fault(self, path: str, expected: str, value: Any) -> AetoolError:
        """Return the error for a value at `path` that types alone cannot refuse."""
        return self._named(_wrong(expected, value, path[1:]))

    def _named(self, fault: _FaultError) -> AetoolError:
        path = "$" + "".join(reversed(fault.steps))
        return self.error(f"{self.where}: {shown(path)}{fault}; {self.remedy}")


REQUIRED = "required"
"""Annotation of a field whose default is for those who make a record: in a document it must be there."""
OPTIONAL = "optional"
"""Annotation of a field that is left out of the document where it has its default."""
NOT_NULL = "not null"
"""Annotation of such a field whose default is None, which null in a document does not stand for."""
NOT_EMPTY = "not empty"
"""Annotation of a list of one or more."""


class Entry(NamedTuple):
    """A field of a record, as it is in a document."""

    key: str
    """Its name, or `metadata["key"]` of a dataclass's field."""
    name: str
    hint: Any
    needed: bool
    default: Any
    """Value for which it is left out of the document; `Ellipsis` for none."""


@cache
def entries_of(record: Any) -> tuple[Entry, ...]:
    """Return the fields of a record's class in order, without `unknown`."""
    hints = {
        name: hint
        for base in reversed(record.__mro__)
        for name, hint in getattr(base, "__annotations__", {}).items()
    }
    if hasattr(record, "_fields"):
        keys, defaults = {name: name for name in record._fields}, record._field_defaults
    else:
        from dataclasses import MISSING, fields  # here: slow to import, and manifests are named tuples

        keys = {each.name: each.metadata.get("key", each.name) for each in fields(record)}
        defaults = {each.name: each.default for each in fields(record) if each.default is not MISSING}
    entries = []
    for name, key in keys.items():
        rules = getattr(hints[name], "__metadata__", ())
        left_out = defaults[name] if OPTIONAL in rules else ...
        entries.append(Entry(key, name, hints[name], name not in defaults or REQUIRED in rules, left_out))
    return tuple(entry for entry in entries if entry.name != "unknown")


def to_plain(value: Any) -> Any:
    """Return dictionaries, lists, texts and numbers; unknown keys go back to where they were."""
    if hasattr(value, "_fields") or hasattr(value, "__dataclass_fields__"):
        plain = dict(to_plain(getattr(value, "unknown", {})))
        for entry in entries_of(cast(Any, type(value))):
            if (each := getattr(value, entry.name)) is not entry.default:
                plain[entry.key] = to_plain(each)
        return plain
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _record(record: Any, strict: bool) -> Reader:
    entries = [(entry, _reader(entry.hint, strict)) for entry in entries_of(record)]
    known = {entry.key for entry, _ in entries}
    keeps = "unknown" in record.__annotations__

    def read(content: Any) -> Any:
        values = _values(content, entries)
        if len(values) < len(content):
            rest = {key: value for key, value in content.items() if key not in known}
            if keeps:
                values["unknown"] = rest
            elif strict:
                raise _FaultError(" is unknown", f".{min(rest)}")
        try:
            return record(**values)
        except InputError as error:  # a record with checks of its own: `name: what is wrong`
            raise _FaultError(f".{error}") from error

    return read


def _values(content: Any, entries: list[tuple[Entry, Reader]]) -> dict[str, Any]:
    if type(content) is not dict:
        raise _wrong("an object", content)
    values = {}
    for entry, read in entries:
        if entry.key in content:
            try:
                values[entry.name] = read(content[entry.key])
            except _FaultError as fault:
                fault.steps.append(f".{entry.key}")
                raise
        elif entry.needed:
            raise _FaultError(" is missing", f".{entry.key}")
    return values


@cache
def _reader(hint: Any, strict: bool) -> Reader:
    kind, arguments = get_origin(hint), get_args(hint)
    if kind is Annotated:
        hint, *rules = arguments
        if callable(rules[0]):
            return cast(Reader, rules[0])
        read = _reader(get_args(hint)[0] if NOT_NULL in rules else hint, strict)
        return _not_empty(read) if NOT_EMPTY in rules else read
    if kind is not None:
        return _inner(kind, arguments, strict)
    if hint is Any:
        return lambda value: value
    return _plain(hint, strict) if hint in (str, int, float, bool) else _record(hint, strict)


def _inner(kind: Any, arguments: tuple[Any, ...], strict: bool) -> Reader:
    """Return a reader of a union, a list or an object."""
    if kind is Literal:  # for the record's own checks
        return lambda value: value
    if kind is tuple:
        return _list(_reader(arguments[0], strict), None if arguments[1] is ... else len(arguments))
    if kind not in (Union, UnionType):
        return _object(_reader(arguments[1], strict))
    read = _reader(arguments[0], strict)  # X | None, the only union there is here
    return lambda value: None if value is None else read(value)


def _plain(kind: type, strict: bool) -> Reader:
    """Return a reader of texts and numbers: finite as a float, integers of machine size."""
    kinds = (int, float) if kind is float else (kind,)
    low, high = (-(2**63), 2**63 - 1) if kind is int else (-sys.float_info.max, sys.float_info.max)
    expected = {
        str: "a text" if strict else "a string",
        int: "an integer",
        float: "a number" if strict else "a finite number",
        bool: "true or false",
    }[kind]

    def read(value: Any) -> Any:
        if type(value) not in kinds or (kind is not str and not low <= value <= high):
            raise _wrong(expected, value)
        return float(value) if kind is float else value

    return read


def _list(read_item: Reader, length: int | None) -> Reader:
    def read(values: Any) -> tuple[Any, ...]:
        if type(values) is not list or (length is not None and len(values) != length):
            raise _wrong("a list" if length is None else f"a list of {length}", values)
        items = []
        try:
            for item in values:
                items.append(read_item(item))
        except _FaultError as fault:
            fault.steps.append(f"[{len(items)}]")
            raise
        return tuple(items)

    return read


def _not_empty(read_list: Reader) -> Reader:
    def read(values: Any) -> Any:
        if values == []:
            raise _wrong("a list of one or more", values)
        return read_list(values)

    return read


def _object(read_item: Reader) -> Reader:
    def read(values: Any) -> dict[str, Any]:
        if type(values) is not dict:
            raise _wrong("an object", values)
        items: dict[str, Any] = {}
        for key, item in values.items():
            try:
                items[key] = read_item(item)
            except _FaultError as fault:
                fault.steps.append(member("", key))
                raise
        return items

    return read


def _read_texts(values: Any) -> tuple[str, ...]:
    if type(values) is not list or not values:
        raise _wrong("a list of texts", values)
    for i, value in enumerate(values):
        if type(value) is not str or not value:
            raise _wrong("a text", value, f"[{i}]")
    if len(set(values)) != len(values):
        raise _wrong("distinct texts", values)
    return tuple(values)


def _read_sizes(values: Any) -> tuple[int, ...]:
    if type(values) is not list or not values:
        raise _wrong("a list of sizes of 1 or more", values)
    for i, size in enumerate(values):
        if type(size) is not int or not 1 <= size < 2**31:
            raise _wrong("a size of 1 or more", size, f"[{i}]")
    return tuple(values)


def _read_positive(value: Any) -> float:
    if (number := _plain(float, strict=True)(value)) <= 0:
        raise _wrong("above 0", value)
    return cast(float, number)


def _at_least(least: int) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not int or not least <= value < 2**63:
            raise _wrong("an integer" if type(value) is not int else f"{least} or more", value)
        return value

    return read


def _read_digest(value: Any) -> Any:
    if type(value) is not str or len(value) != 64 or not _HEX.issuperset(value):
        raise _wrong("a sha256 in 64 hex digits" if type(value) is str else "a string", value)
    return value


Texts = Annotated[tuple[str, ...], _read_texts]
"""One or more distinct texts, none empty."""
Sizes = Annotated[tuple[int, ...], _read_sizes]
"""One or more sizes of 1 or more."""
Count = Annotated[int, _at_least(1)]
Size = Annotated[int, _at_least(0)]
Positive = Annotated[float, _read_positive]
Digest = Annotated[str, _read_digest]
"""A sha256 in hex."""
