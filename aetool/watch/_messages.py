"""Messages to samples: lines of CSV, objects and lists of JSON, with their time and their group."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.cells import NO_VALUE, example_of, seconds_of

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


class Written(NamedTuple):
    """How the log that a model was trained on was written, as far as a message may be in doubt."""

    decimal: str = "."
    na: frozenset[str] = frozenset()
    """Cells that mean a missing value, besides the common words."""
    time: str | None = None
    """Form of dates that are not ISO 8601, as strptime has it."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "Written":
        """Return the hints that a bundle keeps; the usual where there are none, as in older ones."""
        kept = provenance.get("reading")
        if not isinstance(kept, Mapping):
            return cls()
        na, time = kept.get("na", ()), kept.get("time")
        words = frozenset(map(str, na)) if isinstance(na, list | tuple) else frozenset()
        return cls(str(kept.get("decimal", ".")), words, time if isinstance(time, str) else None)


class Reader:
    """Function from messages to samples of a model's features."""

    def __init__(
        self,
        features: Sequence[str],
        *,
        time: str | None = None,
        group: str | None = None,
        columns: Sequence[str] = (),
        written: Written = Written(),  # noqa: B008
        encode: Callable[[Mapping[str, Any]], NDArray[np.float32]] | None = None,
    ) -> None:
        """Read what a model takes.

        Args:
            features: names of the values, in order.
            time: column of the time, if messages have one.
            group: column of the group, if messages have one.
            columns: names of the fields of a line of CSV; without them the first line names them.
            written: how the log was written that the model was trained on.
            encode: makes a row of values by name, for a model that has categories.
        """
        self._features, self._time, self._group, self._encode = tuple(features), time, group, encode
        self._written = written
        self.columns = tuple(columns)
        """Names of the fields of a line; learnt from the first line where they were not given."""
        self._separator = ","

    def read(self, message: Message) -> list[GroupSample]:
        """Return the samples of a message: one, those of a list or of several lines, or none for column names.

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
            return [self._sample(each, message.topic) for each in self._records(content)]
        read = [self._fields(line.strip()) for line in text.split("\n") if line.strip()]
        return [self._sample(fields, message.topic) for fields in read if fields is not None]

    def _records(self, content: Any) -> list[Any]:
        """Return the samples in JSON: those of a list of objects or of lists, or the one that it is."""
        if isinstance(content, list) and content and isinstance(content[0], dict | list):
            return [self._named(each) for each in content]
        return [self._named(content)]

    def _named(self, content: Any) -> Any:
        if isinstance(content, list) and self.columns and len(content) == len(self.columns):
            return dict(zip(self.columns, content, strict=True))
        return content

    def _fields(self, text: str) -> Mapping[str, Any] | Sequence[Any] | None:
        """Return the values of a line by name, or in order where they have none; None for the names themselves."""
        fields = self._cells(text)
        # Again, as in the next file of a log, or in another order.
        if all(name in fields for name in self._features) and not _is_values(text):
            self.columns = tuple(fields)
        if tuple(fields) == self.columns:
            return None
        if not self.columns:
            if not _is_values(text):
                absent = next(name for name in self._features if name not in fields)
                raise MalformedError(
                    f"the first line must name the columns; {absent!r} is not in it: {_short(text)}"
                )
            return fields
        if len(fields) != len(self.columns):
            raise MalformedError(f"{len(self.columns)} fields expected, found {len(fields)}: {_short(text)}")
        return dict(zip(self.columns, fields, strict=True))

    def _cells(self, text: str) -> list[str]:
        """Return the cells of a line: with a decimal comma, commas do not stand between them alone."""
        count = len(self.columns or self._features)
        for separator in (self._separator, *_SEPARATORS):
            fields = _split(text, separator)
            if len(fields) == count:
                break
        else:
            separator = max(_SEPARATORS, key=text.count)
            fields = _split(text, separator)
        self._separator = separator
        return fields

    def _sample(self, content: Any, topic: str) -> GroupSample:
        if isinstance(content, Mapping):
            time, when = self._time_in(content)
            group = topic if self._group is None else self._group_in(content, topic)
            return GroupSample(group, time, when, self._values(content))
        if self._time is not None or (self._group is not None and not topic):
            needed = [name for name in (self._time, self._group) if name is not None]
            raise MalformedError(
                f"values without names, and the model needs {' and '.join(map(repr, needed))} too; give --columns "
                f"with the names, or begin with the line that has them: {_short(str(content))}"
            )
        if not isinstance(content, Sequence) or isinstance(content, str) or len(content) != len(self._features):
            raise MalformedError(f"{len(self._features)} values expected: {_short(str(content))}")
        return GroupSample(topic, None, None, self._values(dict(zip(self._features, content, strict=True))))

    def _time_in(self, content: Mapping[str, Any]) -> tuple[float | None, Any]:
        if self._time is None:
            return None, None
        if self._time not in content:
            raise MalformedError(f"no time {self._time!r}: {_short(str(dict(content)))}")
        when, form = content[self._time], self._written.time
        try:
            return seconds_of(when, form), when
        except (TypeError, ValueError, OverflowError) as error:
            shown = example_of(form)
            raise MalformedError(
                f"not a time: {_short(str(when))}; expected seconds, or a date as {shown!r}"
            ) from error

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
            numbers = [self._plain(content[name]) for name in self._features]
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

    def _plain(self, value: Any) -> Any:
        """Return a value without the decimal comma, or None where it is a word for a missing one."""
        if not isinstance(value, str):
            return None if self._written.na and str(value) in self._written.na else value
        text = value.strip()
        if text in self._written.na:
            return None
        if self._written.decimal == "," and "," in text:
            return text.replace(".", "").replace(",", ".")
        return text


def _number(value: Any, name: str) -> float:
    if value is None or (isinstance(value, str) and (value in NO_VALUE or value.lower() in NO_VALUE)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"column {name!r} is no number: {_short(str(value))}") from error


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
