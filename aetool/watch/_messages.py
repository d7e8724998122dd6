"""Messages to samples: lines of CSV, objects and lists of JSON, with their time and their group."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?"))
"""Words for a missing value."""
_SEPARATORS = (";", "\t", ",")
_GROUP = 200  # characters of its name
_SHOWN = 60  # characters of a message in a note


class Message(NamedTuple):
    """A message as it came."""

    text: str
    topic: str = ""
    """MQTT topic; empty for lines."""


class GroupSample(NamedTuple):
    """One sample of one group."""

    group: str
    time: float | None
    """Seconds since 1970; None where messages have no time."""
    when: Any
    """The time as it was written, for alerts."""
    values: NDArray[np.float32]


class MalformedError(Exception):
    """A message that holds no sample; never leaves this room."""


class Reader:
    """Function from messages to samples of a model's features."""

    def __init__(
        self,
        features: Sequence[str],
        *,
        time: str | None = None,
        group: str | None = None,
        columns: Sequence[str] = (),
        decimal: str = ".",
        encode: Callable[[Mapping[str, Any]], NDArray[np.float32]] | None = None,
    ) -> None:
        """Read what a model takes.

        Args:
            features: names of the values, in order.
            time: column of the time, if messages have one.
            group: column of the group, if messages have one.
            columns: names of the fields of a line of CSV; without them the first line names them.
            decimal: decimal mark of numbers that are texts.
            encode: makes a row of values by name, for a model that has categories.
        """
        self._features, self._time, self._group, self._encode = tuple(features), time, group, encode
        self._comma = decimal == ","
        self.columns = tuple(columns)
        """Names of the fields of a line; learnt from the first line where they were not given."""
        self._separator = ","

    def read(self, message: Message) -> list[GroupSample]:
        """Return the samples of a message: one, those of a list, or none for a line of column names.

        Raises:
            MalformedError: the message holds no samples; none is returned then.
        """
        text = message.text.strip()
        if not text:
            return []
        if text[0] in "{[":
            try:
                content = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise MalformedError(f"not valid JSON: {_short(text)}") from error
            return [self._sample(each, message.topic) for each in _records(content)]
        fields = self._fields(text)
        return [] if fields is None else [self._sample(fields, message.topic)]

    def _fields(self, text: str) -> Mapping[str, Any] | Sequence[Any] | None:
        """Return the values of a line by name, or in order where they have none; None for the names themselves."""
        if not self.columns and not _is_values(text):
            self._separator = max(_SEPARATORS, key=text.count)
            names = _split(text, self._separator)
            if absent := [name for name in self._features if name not in names]:
                raise MalformedError(
                    f"the first line must name the columns; {absent[0]!r} is not in it: {_short(text)}"
                )
            self.columns = tuple(names)
            return None
        separator = self._separator if self._separator in text else max(_SEPARATORS, key=text.count)
        fields = _split(text, separator)
        if tuple(fields) == self.columns:  # again, as in the next file of a log
            return None
        if not self.columns:
            return fields
        if len(fields) != len(self.columns):
            raise MalformedError(f"{len(self.columns)} fields expected, found {len(fields)}: {_short(text)}")
        return dict(zip(self.columns, fields, strict=True))

    def _sample(self, content: Any, topic: str) -> GroupSample:
        if isinstance(content, Mapping):
            time, when = self._time_in(content)
            group = topic if self._group is None else self._group_in(content, topic)
            return GroupSample(group, time, when, self._values(content))
        if self._time is not None or (self._group is not None and not topic):
            needed = self._time if self._time is not None else self._group
            raise MalformedError(f"no {needed!r} in a message without names: {_short(str(content))}")
        if not isinstance(content, Sequence) or isinstance(content, str) or len(content) != len(self._features):
            raise MalformedError(f"{len(self._features)} values expected: {_short(str(content))}")
        return GroupSample(topic, None, None, self._values(dict(zip(self._features, content, strict=True))))

    def _time_in(self, content: Mapping[str, Any]) -> tuple[float | None, Any]:
        if self._time is None:
            return None, None
        if self._time not in content:
            raise MalformedError(f"no time {self._time!r}: {_short(str(dict(content)))}")
        when = content[self._time]
        return seconds(when), when

    def _group_in(self, content: Mapping[str, Any], topic: str) -> str:
        found = content.get(self._group or "")
        if found is not None and not isinstance(found, list | dict) and len(name := str(found)) <= _GROUP:
            return name.encode("utf-8", "replace").decode()  # JSON can hold half a surrogate pair, UTF-8 cannot
        if not topic or found is not None:
            raise MalformedError(f"no group {self._group!r}: {_short(str(dict(content)))}")
        return topic

    def _values(self, content: Mapping[str, Any]) -> NDArray[np.float32]:
        try:
            if self._encode is not None:
                return self._encode({name: content[name] for name in self._features})
            numbers = [content[name] for name in self._features]
            if self._comma:
                numbers = [value.replace(",", ".") if isinstance(value, str) else value for value in numbers]
        except KeyError as error:
            raise MalformedError(f"no {error.args[0]!r}: {_short(str(dict(content)))}") from error
        try:
            found = np.array(numbers, np.float64)
        except (TypeError, ValueError, OverflowError):
            found = np.array([_number(value, name) for value, name in zip(numbers, self._features, strict=True)])
        if found.shape != (len(self._features),):
            raise MalformedError(f"a number for each column expected: {_short(str(numbers))}")
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and an anomaly
            return found.astype(np.float32)


def seconds(when: Any) -> float:
    """Return a time in seconds since 1970, of a number of seconds or a date and time in ISO 8601, UTC by default.

    Raises:
        MalformedError: it is no time.
    """
    try:
        if isinstance(when, str):
            try:
                found = float(when)
            except ValueError:
                moment = datetime.fromisoformat(when)
                found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        else:
            found = float(when)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"not a time: {_short(str(when))}") from error
    if not math.isfinite(found):
        raise MalformedError(f"not a time: {_short(str(when))}")
    return found


def _number(value: Any, name: str) -> float:
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"column {name!r} is no number: {_short(str(value))}") from error


def _records(content: Any) -> list[Any]:
    return content if isinstance(content, list) and content and isinstance(content[0], dict) else [content]


def _split(text: str, separator: str) -> list[str]:
    if '"' not in text:
        return [field.strip() for field in text.split(separator)]
    return [field.strip() for field in next(csv.reader([text], delimiter=separator, skipinitialspace=True))]


def _is_values(text: str) -> bool:
    """Return whether a line holds numbers, rather than the names of columns."""
    fields = _split(text.replace(",", ".") if ";" in text else text, max(_SEPARATORS, key=text.count))
    return any(_reads_as_number(field) for field in fields)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")
