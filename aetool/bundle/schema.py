"""Strict reading of JSON: every error names its path in the document."""

import json
import math
import sys
from collections import Counter
from typing import Any, TypeVar, cast

from aetool.bundle.files import DEFAULT_LIMITS, AnyPath
from aetool.errors import BundleError

MAX_DEPTH = 64  # of the document
_HEX = frozenset("0123456789abcdef")

_T = TypeVar("_T")


def loads(text: str | bytes) -> Any:
    """Parse JSON that can be written again; any fault is a ValueError.

    Raises:
        ValueError: not JSON, a key twice, a number that is not finite, nested deeper than MAX_DEPTH.
    """
    try:
        content = json.loads(text, object_pairs_hook=unique_keys, parse_constant=no_constant)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    require_storable(content)
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


def require_storable(content: Any) -> None:
    """Refuse what could be read but not be written again: inf, half a surrogate pair, unbounded nesting.

    Raises:
        ValueError: naming it.
    """
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


def shown(path: str) -> str:
    """Return a JSON path for a message, short and on one line: its parts may come from anybody."""
    return path if path.isprintable() and len(path) < 200 else ascii(path[:200])


def member(path: str, key: str) -> str:
    """Return the JSON path (RFC 9535) of `key` in the object at `path`: `$.files['golden.npz']`."""
    if key.isascii() and key.isidentifier() and key[0] != "_":
        return f"{path}.{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{path}['{escaped}']"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice, with a ValueError; for `json.loads(object_pairs_hook=...)`."""
    content = dict(pairs)
    if len(content) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return content


def no_constant(token: str) -> Any:
    """Refuse NaN and Infinity with a ValueError; for `json.loads(parse_constant=...)`."""
    raise ValueError(f"{token} is not a number that JSON knows")


class Fields:
    """Typed access to one JSON object; every error names its JSON path.

    Args:
        content: the parsed object.
        where: the file, for messages.
        path: JSON path of the object.
        remedy: what to do about a fault, for messages.
    """

    def __init__(self, content: Any, where: str, path: str = "$", remedy: str = "export the bundle again") -> None:
        """Refuse content that is not an object."""
        self.where, self.path, self.remedy = where, path, remedy
        if not isinstance(content, dict):
            self._fail(path, "an object", content)
        self.content = cast(dict[str, Any], content)
        self.taken: set[str] = set()

    def _fail(self, path: str, expected: str, found: Any) -> None:
        raise BundleError(
            f"{self.where}: {shown(path)} must be {expected}, found {str(found)[:40]!r}; {self.remedy}"
        )

    def _there(self, key: str) -> Any:
        self.taken.add(key)
        if key not in self.content:
            raise BundleError(f"{self.where}: {shown(member(self.path, key))} is missing; {self.remedy}")
        return self.content[key]

    def take(self, key: str, kind: type[_T]) -> _T:
        """Return the value at `key`, which must have the type `kind`."""
        value = self._there(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._fail(
                member(self.path, key),
                {str: "a string", int: "an integer", dict: "an object"}.get(kind, "a list"),
                value,
            )
        return cast(_T, value)

    def count(self, key: str, least: int = 1) -> int:
        """Return an integer of at least `least`."""
        value = self.take(key, int)
        if not least <= value < 2**63:
            self._fail(member(self.path, key), f"{least} or more", value)
        return value

    def sizes(self, key: str) -> tuple[int, ...]:
        """Return a list of one or more integers of 1 or more."""
        values, path = self.take(key, list), member(self.path, key)
        if not values:
            self._fail(path, "a list of sizes of 1 or more", values)
        for i, size in enumerate(values):
            if type(size) is not int or not 1 <= size < 2**31:
                self._fail(f"{path}[{i}]", "a size of 1 or more", size)
        return tuple(values)

    def sizes_or_null(self, key: str) -> tuple[int, ...] | None:
        """Return `sizes`, or None where the key holds null."""
        if self.content.get(key, ()) is not None:
            return self.sizes(key)
        self.taken.add(key)
        return None

    def digest(self, key: str) -> str:
        """Return a sha256 in hex."""
        value = self.take(key, str)
        if len(value) != 64 or not _HEX.issuperset(value):
            self._fail(member(self.path, key), "a sha256 in 64 hex digits", value)
        return value

    def finite(self, key: str) -> float:
        """Return a finite number."""
        value = self._there(key)
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not usable or not abs(cast(float, value)) <= sys.float_info.max
        ):  # also NaN, and integers no float can hold
            self._fail(member(self.path, key), "a finite number", value)
        return float(cast(float, value))

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of distinct texts; None where the key is missing or null."""
        self.taken.add(key)
        values = self.content.get(key)
        if values is None:
            return None
        path = member(self.path, key)
        if not isinstance(values, list) or not values:
            self._fail(path, "a list of texts", values)
        for i, value in enumerate(values):
            if not isinstance(value, str) or not value:
                self._fail(f"{path}[{i}]", "a text", value)
        if len(set(values)) != len(values):
            self._fail(path, "distinct texts", values)
        return tuple(values)

    def text_lists(self, key: str) -> dict[str, tuple[str, ...]] | None:
        """Return name -> distinct texts, one or more; None where the key is missing."""
        entry = self.child_or_none(key)
        if entry is None:
            return None
        lists = {name: entry.texts(name) for name in entry.content}
        for name, texts in lists.items():
            if texts is None:
                self._fail(member(entry.path, name), "a list of texts", None)
        return cast(dict[str, tuple[str, ...]], lists)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Return a list of numbers."""
        values = self.take(key, list)
        for i, value in enumerate(values):
            if not isinstance(value, int | float) or isinstance(value, bool):
                self._fail(f"{member(self.path, key)}[{i}]", "a number", value)
        return tuple(map(float, values))

    def mapping(self, key: str, kind: type[_T]) -> dict[str, _T]:
        """Return an object whose values all have the type `kind`."""
        entry = self.child(key)
        return {name: entry.take(name, kind) for name in entry.content}

    def child(self, key: str) -> "Fields":
        """Return the object at `key`."""
        return self._below(self.take(key, dict), member(self.path, key))

    def _below(self, content: Any, path: str) -> "Fields":
        return Fields(content, self.where, path, self.remedy)

    def objects(self, key: str) -> "list[Fields]":
        """Return a list of objects."""
        values, path = self.take(key, list), member(self.path, key)
        return [self._below(value, f"{path}[{i}]") for i, value in enumerate(values)]

    def children(self, key: str) -> "list[tuple[str, Fields]]":
        """Return name -> object of the object at `key`, as pairs."""
        values, path = self.take(key, dict), member(self.path, key)
        return [(name, self._below(value, member(path, name))) for name, value in values.items()]

    def child_or_none(self, key: str) -> "Fields | None":
        """Return the object at `key`; None where the key is missing."""
        if key not in self.content:
            return None
        return self.child(key)

    def rest(self) -> dict[str, Any]:
        """Return the keys that were not taken."""
        return {key: value for key, value in self.content.items() if key not in self.taken}
