"""Rows of a log, cut into runs: by group, at gaps in time, resampled where that was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.manifest import Series
from aetool.errors import InputError
from aetool.suggest import few
from aetool.tables._log_columns import SECOND, shown_time

PIECE_ROWS = 1 << 18
"""Rows that wait to become windows, over all groups, where runs are given in pieces."""
_MOST_REPEATED = 0.01
"""Share of the rows that may have the time of the row before: the first of them counts."""
_FEW = 10
_LONGEST_HOLD = 1 << 20
"""Rows that resampling may make of one step."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one group without a gap, or a piece of them."""

    group: str | None
    """Whose rows they are; of a log of several files without a group, the file's name; None: there is one."""
    times: NDArray[Any] | None
    """(rows,) datetime64[ns], UTC where the log has a zone; or float64, seconds; None where there is no time."""
    values: NDArray[np.float32]
    """(rows, channels), C-ordered; a missing value is NaN."""
    first_row: int
    """Number of its first row in the log, counted from 0, over all files."""
    labels: NDArray[np.bool_] | None = None
    """(rows,), True = anomaly."""
    number: int = 0
    """Number of the run, counted from 0: that of all its pieces."""
    offset: int = 0
    """Rows of the run before this piece; those that it shares with the piece before are in both."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)


@dataclass(slots=True)
class Seen:
    """What was found while a log was read, for people."""

    rows: int = 0
    runs: int = 0
    windows: int = 0
    gaps: int = 0
    repeated: int = 0
    """Rows with the time of the row before, left out."""
    held: int = 0
    """Rows that resampling made by repeating the last one."""
    short: dict[str, int] = field(default_factory=dict)
    """Group -> runs that are shorter than a window."""
    longest: int = 0
    """Rows of the longest run."""

    def notes(self, window: int) -> list[str]:
        """Return sentences about what is not as usual."""
        notes = []
        if self.gaps:
            notes.append(f"{self.gaps:,} gap{'s' * (self.gaps > 1)} in time; no window crosses one")
        if self.repeated:
            notes.append(f"{self.repeated:,} rows have the time of the row before and are left out")
        if self.held:
            notes.append(f"{self.held:,} rows repeat the last one, where nothing was logged")
        if self.short:
            count = sum(self.short.values())
            names = [name for name in self.short if name]
            of = f" of {few(names, 5)}" if names else ""
            notes.append(f"{count:,} run{'s' * (count > 1)}{of} shorter than a window of {window} rows: skipped")
        return notes


class LogRows(NamedTuple):
    """Rows of a batch."""

    values: NDArray[np.float32]
    """(rows, channels)"""
    row: NDArray[np.int64]
    """(rows,) their numbers in the log, counted from 0."""
    times: NDArray[np.int64] | None = None
    """(rows,) nanoseconds."""
    groups: Sequence[str] = ()
    places: NDArray[np.intp] | None = None
    """(rows,) each row's group; None: there is one."""
    labels: NDArray[np.bool_] | None = None

    def take(self, chosen: Any) -> "LogRows":
        """Return some of the rows, without groups."""
        return LogRows(
            self.values[chosen],
            self.row[chosen],
            None if self.times is None else self.times[chosen],
            labels=None if self.labels is None else self.labels[chosen],
        )


def joined(parts: Sequence[LogRows]) -> LogRows:
    """Return the rows of several batches, without groups."""
    if len(parts) == 1:
        return parts[0]

    def of(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    return LogRows(of("values"), of("row"), of("times"), labels=of("labels"))


def in_time(batches: Sequence[LogRows]) -> LogRows:
    """Return all rows of a log, in the order of their times."""
    whole = joined(batches)
    if batches[0].places is not None:
        texts = list(dict.fromkeys(text for batch in batches for text in batch.groups))
        place = {text: i for i, text in enumerate(texts)}
        places = np.concatenate([np.array([place[t] for t in b.groups], np.intp)[b.places] for b in batches])
        whole = whole._replace(groups=texts, places=places)
    if whole.times is None:
        return whole
    order = np.argsort(whole.times, kind="stable")
    taken = whole.take(order)
    return taken if whole.places is None else taken._replace(groups=whole.groups, places=whole.places[order])


class Cutter:
    """Collects the rows of each group, and gives them as runs once they are whole, or long enough."""

    def __init__(self, source: str, series: Series, seen: Seen, *, pieces: bool) -> None:
        """Begin a log; `seen` is told what is found."""
        self.source, self.series, self.seen, self.pieces = source, series, seen, pieces
        self.kind = "local"
        """Of the times, for messages."""
        self.groups: dict[str, _Group] = {}
        self.runs = 0

    def add(self, batch: LogRows) -> Iterator[Run]:
        """Add rows, and yield the runs that they complete."""
        if batch.places is None:
            yield from self._group(None).add(batch)
        else:
            order = np.argsort(batch.places, kind="stable")
            ordered = batch.take(order)
            bounds = np.searchsorted(batch.places[order], np.arange(len(batch.groups) + 1))
            for text, start, stop in zip(batch.groups, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                if start < stop:
                    yield from self._group(text).add(ordered.take(slice(start, stop)))
        if self.pieces and sum(group.rows for group in self.groups.values()) > PIECE_ROWS:
            for group in self.groups.values():
                yield from group.give()

    def end(self) -> Iterator[Run]:
        """Yield what is left of every group."""
        for group in self.groups.values():
            yield from group.end()

    def _group(self, name: str | None) -> "_Group":
        return self.groups.setdefault(name or "", _Group(self, name))

    def require_few_repeated(self, group: str | None) -> None:
        """Refuse a log in which many rows have the time of another.

        Raises:
            InputError: what that may mean.
        """
        if self.seen.repeated > max(_FEW, _MOST_REPEATED * self.seen.rows):
            why = (
                "name the column that tells whose rows they are with --group, or average them with --every"
                if group is None
                else "average them with --every"
            )
            raise InputError(
                f"{self.source}: {self.seen.repeated:,} of the first {self.seen.rows:,} rows have the time of the "
                f"row before{_of(group)}; {why}"
            )


class _Group:
    """Rows of one group that are no whole run yet."""

    def __init__(self, cutter: Cutter, name: str | None) -> None:
        self.cutter, self.name = cutter, name
        self.parts: list[LogRows] = []
        self.rows = 0
        self.number, self.offset = -1, 0
        self.skip = 0
        """Rows to leave out before the next window, where the stride is longer than a window."""
        self.length = 0
        """Rows of the run so far."""
        self.last: int | None = None
        """Time of the last row."""
        every = cutter.series.every
        self.resampler = None if every is None else _resampler(every, cutter)

    def add(self, rows: LogRows) -> Iterator[Run]:
        """Add rows of this group, and yield the runs that end in them."""
        if rows.times is None:
            self._extend(rows)
            return
        rows = self._checked(rows)
        if self.resampler is not None:
            rows = self.resampler.add(rows)
        yield from self._split(rows)

    def _checked(self, rows: LogRows) -> LogRows:
        """Return the rows whose time goes on; those that repeat a time are for resampling alone."""
        times = rows.times
        assert times is not None
        before = times[:1] if self.last is None else np.array([self.last])
        steps = np.diff(times, prepend=before)
        if bool((steps < 0).any()):
            at = int((steps < 0).argmax())
            earlier = int(times[at - 1]) if at else int(before[0])
            kind = self.cutter.kind
            raise InputError(
                f"{self.cutter.source}: row {int(rows.row[at]) + 1:,}: time goes back from "
                f"{shown_time(earlier, kind)} to {shown_time(int(times[at]), kind)}{_of(self.name)}; sort the "
                "log, give --sort, or name the column that tells whose rows they are with --group"
            )
        repeats = steps == 0
        if self.last is None and len(repeats):
            repeats[0] = False
        if len(times):
            self.last = int(times[-1])
        if self.resampler is not None or not repeats.any():
            return rows
        self.cutter.seen.repeated += int(repeats.sum())
        self.cutter.require_few_repeated(self.name)
        return rows.take(~repeats)

    def _split(self, rows: LogRows) -> Iterator[Run]:
        """Take rows, ending a run at each gap."""
        gap = self.cutter.series.gap
        if gap is None or not len(rows.values):
            self._extend(rows)
            return
        assert rows.times is not None
        before = self.parts[-1].times if self.parts else None
        first = rows.times[:1] if before is None else before[-1:]
        cuts = np.flatnonzero(np.diff(rows.times, prepend=first) > gap * SECOND).tolist()
        for i, (start, stop) in enumerate(pairwise([0, *cuts, len(rows.values)])):
            if i:
                self.cutter.seen.gaps += 1
                yield from self._close()
            self._extend(rows.take(slice(start, stop)))

    def _extend(self, rows: LogRows) -> None:
        if not len(rows.values):
            return
        if self.number < 0:
            self.number, self.cutter.runs = self.cutter.runs, self.cutter.runs + 1
            self.cutter.seen.runs += 1
        self.length += len(rows.values)
        self.parts.append(rows)
        self.rows += len(rows.values)

    def give(self) -> Iterator[Run]:
        """Yield the windows that are there as one piece, and keep the rows that the next ones begin with."""
        window, stride = self.cutter.series.window, self.cutter.series.stride
        if self.rows - self.skip < window:
            return
        whole = joined(self.parts)
        count = (self.rows - self.skip - window) // stride + 1
        end = self.skip + (count - 1) * stride + window
        yield self._run(whole.take(slice(self.skip, end)), count)
        following = self.skip + count * stride
        # One row at least stays, so that the next one's step is known.
        kept = min(following, self.rows - 1)
        self.offset += kept
        self.skip = following - kept
        self.parts = [whole.take(slice(kept, None))]
        self.rows -= kept

    def _run(self, rows: LogRows, count: int) -> Run:
        self.cutter.seen.windows += count
        values = np.ascontiguousarray(rows.values)
        return Run(
            self.name, rows.times, values, int(rows.row[0]), rows.labels, self.number, self.offset + self.skip
        )

    def _close(self) -> Iterator[Run]:
        """End the run."""
        window, seen = self.cutter.series.window, self.cutter.seen
        seen.longest = max(seen.longest, self.length)
        if self.number >= 0 and self.length < window:
            seen.short[self.name or ""] = seen.short.get(self.name or "", 0) + 1
        elif self.number >= 0 and (self.offset or self.skip):
            yield from self.give()
        elif self.number >= 0:
            count = (self.rows - window) // self.cutter.series.stride + 1
            yield self._run(joined(self.parts), count)
        self.parts, self.rows, self.number, self.offset, self.skip, self.length = [], 0, -1, 0, 0, 0

    def end(self) -> Iterator[Run]:
        """Yield the last run of the group."""
        if self.resampler is not None:
            yield from self._split(self.resampler.end())
        yield from self._close()


class Resampler:
    """Rows at equal distances, from those at any times of one group.

    A row stands for each interval, which begins at a multiple of its length: the mean of what was logged in it,
    channel by channel. An interval in which nothing was logged repeats the one before.
    """

    def __init__(self, step: int, seen: Seen, hold: int) -> None:
        """Begin a group; `step` is an interval in nanoseconds, `hold` how many in a row may repeat the last."""
        self.step, self.seen, self.hold = step, seen, hold
        self.open: LogRows | None = None
        """Rows of the interval that may still grow."""
        self.before: LogRows | None = None
        """The last row that was given."""

    def add(self, rows: LogRows) -> LogRows:
        """Take rows, and return those of the intervals that they end."""
        if self.open is not None:
            rows = joined([self.open, rows])
        assert rows.times is not None
        if not len(rows.times):
            return rows
        cells = rows.times // self.step
        start = int(np.searchsorted(cells, cells[-1]))
        self.open = rows.take(slice(start, None))
        return self._means(rows.take(slice(0, start)), cells[:start])

    def end(self) -> LogRows:
        """Return the row of the last interval."""
        if self.open is None or self.open.times is None:
            return LogRows(np.empty((0, 0), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
        rows, cells = self.open, self.open.times // self.step
        self.open = None
        return self._means(rows, cells)

    def _means(self, rows: LogRows, cells: NDArray[np.int64]) -> LogRows:
        """Return one row for each interval, and those held between them."""
        if not len(cells):
            return rows
        starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 1))
        there = np.isfinite(rows.values)
        sums = np.add.reduceat(np.where(there, rows.values, 0).astype(np.float64), starts)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            means = (sums / np.add.reduceat(there.astype(np.int64), starts)).astype(np.float32)
        labels = None if rows.labels is None else np.logical_or.reduceat(rows.labels, starts)
        made = LogRows(means, rows.row[starts], cells[starts] * self.step, labels=labels)
        if self.before is not None:
            made = joined([self.before, made])
        assert made.times is not None
        ahead = np.diff(made.times) // self.step
        repeats = np.where(ahead - 1 > self.hold, 1, ahead)
        self.seen.held += int((repeats - 1).sum())
        counts = np.append(repeats, 1)
        places = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        held = made.take(places)
        assert held.times is not None
        held = held._replace(times=held.times + within * self.step)
        self.before, first = made.take(slice(-1, None)), 0 if self.before is None else 1
        return held.take(slice(first, None))


def _resampler(every: float, cutter: Cutter) -> Resampler:
    gap = cutter.series.gap
    return Resampler(round(every * SECOND), cutter.seen, _LONGEST_HOLD if gap is None else round(gap / every) - 1)


def _of(group: str | None) -> str:
    return f" in {group!r}" if group else ""
