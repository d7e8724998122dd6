"""Windows of a log: its rows by group, cut at gaps into runs, and windows of a run as views."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.bundle.manifest import Series
from aetool.errors import InputError
from aetool.suggest import file_hint
from aetool.tables._cutting import Cutter, LogRows, Run, Seen, in_time
from aetool.tables._labels import read_labels
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._log_columns import (
    SECOND,
    read_groups,
    read_times,
    require_one_kind,
    shown_times,
    time_texts,
)
from aetool.tables._problems import refuse
from aetool.tables._table import Table
from aetool.tables.formats import pa, require_pyarrow
from aetool.tables.streaming import first_table, read_batches, streamed_ending

GAP_STEPS = 5
"""A step so many times as long as the usual one is a gap, where nobody says what is."""

__all__ = [
    "Log",
    "Run",
    "read_runs",
    "read_windows",
    "time_texts",
    "window_labels",
    "windows",
    "with_gap",
]


def windows(run: Run, window: int, stride: int) -> NDArray[np.float32]:
    """Return the windows of a run, (windows, window, channels), a view of its rows; none where it is too short."""
    values = run.values
    if len(values) < window:
        return np.empty((0, window, values.shape[1]), np.float32)
    return np.lib.stride_tricks.sliding_window_view(values, (window, values.shape[1]))[::stride, 0]


def window_labels(labels: NDArray[np.bool_], window: int, stride: int, share: float = 0.0) -> NDArray[np.bool_]:
    """Return which windows are anomalies, (windows,): those with any such row, or at least a `share` of them."""
    if len(labels) < window:
        return np.empty(0, bool)
    counts = np.concatenate([[0], np.cumsum(labels)])
    inside = counts[window:] - counts[:-window]
    found: NDArray[np.bool_] = (inside >= max(1, share * window))[::stride]
    return found


def read_runs(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    series: Series,
    channels: Sequence[str],
    **options: Any,
) -> Iterator[Run]:
    """Yield the runs of a log: CSV or Parquet files, or directories of them.

    Args:
        paths: the files, read in this order; of a directory those in it, by name.
        series: how they become windows.
        channels: columns of numbers, in order.
        options: of `Log`.

    Raises:
        InputError: a file cannot be read or has no such columns, times go back, or have no order.
        DependencyError: pyarrow is missing.
    """
    yield from Log(paths, series, channels, **options).runs()


class Windows(NamedTuple):
    """Windows of a log in memory."""

    table: Table
    """Their values, (windows, window, channels) float32, whose and when they are, and their labels, if any."""
    every: int
    """1: all of them; 4: every fourth, since there are too many."""


def read_windows(log: "Log", numbers: int = 1 << 26) -> Windows:
    """Read the windows of a log, a stride apart; where they hold more than `numbers`, every second, or fourth.

    Raises:
        InputError: none, or see `read_runs`.
    """
    series, step, count = log.series, 1, 0
    assert log.channels is not None
    most = max(2, numbers // (series.window * len(log.channels)))
    parts: list[tuple[int, NDArray[np.float32], dict[str, NDArray[Any]]]] = []
    for run in log.runs():
        views = windows(run, series.window, series.stride)
        chosen = np.arange(-count % step, len(views), step)
        names = window_columns(run, chosen * series.stride, series.window)
        if run.labels is not None:
            names["label"] = window_labels(run.labels, series.window, series.stride)[chosen]
        parts.append((count, views[chosen], names))
        count += len(views)
        while sum(len(values) for _, values, _ in parts) > most:
            parts = [_thinned(*part, step) for part in parts]
            step *= 2
    log.require_runs()
    values = np.concatenate([values for _, values, _ in parts])
    columns = {name: np.concatenate([names[name] for *_, names in parts]) for name in parts[0][2]}
    labels = columns.pop("label", None)
    return Windows(Table((), values, labels, columns, log.source, named=False), step)


def _thinned(
    first: int, values: NDArray[np.float32], names: dict[str, NDArray[Any]], step: int
) -> tuple[int, NDArray[np.float32], dict[str, NDArray[Any]]]:
    """Return every second window of those that are every `step`th from number `first` on."""
    start = (first + step - 1) // step % 2
    return first, values[start::2].copy(), {name: column[start::2] for name, column in names.items()}


def window_columns(run: Run, starts: NDArray[np.intp], window: int) -> dict[str, NDArray[Any]]:
    """Return whose and when windows are that begin at `starts` of a run, (windows,) each.

    `group` where there are groups; `start` and `end`: the times of the first and the last row, or, without times,
    the numbers of those rows, counted from 1.
    """
    found: dict[str, NDArray[Any]] = {}
    if run.group is not None:
        found["group"] = np.full(len(starts), run.group)
    ends = starts + window - 1
    if run.times is None:
        return {**found, "start": run.first_row + starts + 1, "end": run.first_row + ends + 1}
    return {**found, "start": run.times[starts], "end": run.times[ends]}


def with_gap(series: Series, step: float | None) -> Series:
    """Return `series` with the time that is a gap, where that is not known: `GAP_STEPS` of the usual steps."""
    usual = series.every or step
    if series.gap is not None or series.time is None or usual is None:
        return series
    return series._replace(gap=GAP_STEPS * usual)


class Head(NamedTuple):
    """What the first rows of a log say."""

    channels: tuple[str, ...]
    reading: Reading
    notes: tuple[str, ...]
    left_out: Mapping[str, str]
    step: float | None
    """Usual seconds from one row of a group to the next; None without times."""


class Log:
    """A log on disk, which may be read any number of times."""

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        series: Series,
        channels: Sequence[str] | None = None,
        *,
        label: str | None = None,
        drop: Sequence[str] = (),
        sort: bool = False,
        pieces: bool = False,
        reading: Reading = AS_FOUND,
        like: Reading = AS_FOUND,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Find the files.

        Args:
            paths: the files, read in this order; of a directory those in it, by name.
            series: how they become windows; without `gap`, `GAP_STEPS` usual steps are one.
            channels: columns of numbers, in order; all of them where None, see `head`.
            label: column that marks anomalies.
            drop: columns that are no channels.
            sort: put the rows of each group in the order of their time, in memory; else that is required.
            pieces: give long runs in pieces that share `window` rows less one stride: memory stays small.
            reading: as of `read_table`.
            like: as of `read_table`.
            limits: as of `read_table`.

        Raises:
            InputError: no such file.
            DependencyError: pyarrow is missing.
        """
        require_pyarrow()
        self.files = _files(paths)
        self.source = (
            str(self.files[0]) if len(self.files) == 1 else f"{self.files[0].parent} ({len(self.files)} files)"
        )
        self.series, self.channels = series, None if channels is None else tuple(channels)
        self.label, self.drop, self.sort, self.pieces = label, tuple(drop), sort, pieces
        self.reading, self.like, self.limits = reading, like, limits
        self.seen = Seen()
        self.kind = "local"
        """Of the times, once a row was read: see `_log_columns.Times`."""
        self.form: str | None = None
        """Of the times, likewise."""
        self._kinds: set[str] = set()
        self._anomalous: dict[str, bool] | None = None

    def head(self) -> Head:
        """Read the first rows, and choose the channels: every column of numbers but time, group and label.

        Raises:
            InputError: columns that are no numbers, or are not there.
        """
        path = self.files[0]
        keep = tuple(name for name in (self.series.time, self.series.group) if name is not None)
        drop = (*self.drop, *([self.label] if self.label is not None else []))
        table = first_table(
            self._opener(path),
            str(path),
            drop=drop,
            keep=keep,
            columns=self.channels,
            categorical=None,
            reading=self.reading,
            limits=self.limits,
        )
        self.channels, self.like = table.names, table.reading
        step = self._usual_step()
        self.like = replace(self.like, time=self.form)
        return Head(table.names, self.like, table.notes, table.left_out, step)

    def _usual_step(self) -> float | None:
        if self.series.time is None:
            return None
        for batch in self._batches(self.files[0], 0):
            order = np.arange(len(batch.values))
            if batch.places is not None:
                order = np.argsort(batch.places, kind="stable")
            assert batch.times is not None
            steps = np.diff(batch.times[order])
            if batch.places is not None:
                steps = steps[np.diff(batch.places[order]) == 0]
            steps = steps[steps > 0]
            return float(np.median(steps)) / SECOND if len(steps) else None
        return None

    def runs(self) -> Iterator[Run]:
        """Yield the runs, in pieces where that was asked for; `seen` tells what was found.

        Raises:
            InputError: see `read_runs`.
        """
        self.seen = Seen()
        cutter = Cutter(self.source, self.series, self.seen, pieces=self.pieces)
        for batch in self._in_order():
            self.seen.rows += len(batch.values)
            cutter.kind = self.kind
            for run in cutter.add(batch):
                yield self._shown(run)
        for run in cutter.end():
            yield self._shown(run)

    def _shown(self, run: Run) -> Run:
        return run if run.times is None else replace(run, times=shown_times(run.times, self.kind))

    def _in_order(self) -> Iterator[LogRows]:
        """Yield batches whose times ascend within each group."""
        rows, several = 0, len(self.files) > 1 and self.series.group is None
        batches = []
        for path in self.files:
            for read in self._batches(path, rows):
                here = np.zeros(len(read.values), np.intp)
                batch = read._replace(groups=[path.name], places=here) if several else read
                rows += len(batch.values)
                if self.sort:
                    batches.append(batch)
                else:
                    yield batch
        if batches:
            yield in_time(batches)

    def _batches(self, path: Path, first_row: int) -> Iterator[LogRows]:
        assert self.channels is not None
        series = self.series
        anomalous = self._labels() if self.label is not None else None
        names = [name for name in (series.time, series.group, self.label) if name is not None]
        done = 0
        for batch in read_batches(
            self._opener(path),
            str(path),
            only=self.channels,
            keep=tuple(dict.fromkeys(names)),
            reading=self.reading,
            like=self.like,
            limits=self.limits,
        ):
            found = LogRows(batch.values, first_row + done + np.arange(len(batch.values)))
            if series.time is not None and len(batch.values):
                times = read_times(batch.kept[series.time], series.time, str(path), done)
                self._kinds.add(times.kind)
                require_one_kind(self._kinds, series.time, self.source)
                self.kind, self.form = times.kind, times.form
                found = found._replace(times=times.values)
            if series.group is not None:
                groups, places = read_groups(batch.kept[series.group], series.group)
                found = found._replace(groups=groups, places=places)
            if anomalous is not None and self.label is not None:
                texts, places = read_groups(batch.kept[self.label], self.label)
                known = np.array([anomalous.get(text, False) for text in texts], bool)
                found = found._replace(labels=known[places])
            done += len(batch.values)
            yield found

    def _labels(self) -> dict[str, bool]:
        """Return label -> is anomaly, from the labels of all files: one pass over that column."""
        if self._anomalous is None:
            assert self.label is not None
            texts: dict[str, None] = {}
            for path in self.files:
                batches = read_batches(
                    self._opener(path),
                    str(path),
                    only=(),
                    keep=(self.label,),
                    reading=self.reading,
                    limits=self.limits,
                )
                for batch in batches:
                    found, places = read_groups(batch.kept[self.label], self.label)
                    texts |= {found[place]: None for place in np.unique(places)}
            column = pa.array([text or None for text in texts], pa.string())
            read = read_labels(column, self.label, self.reading, self.like)
            if read.values is None:
                refuse(read.problems, self.source)
            self._anomalous = dict(zip(texts, read.values.tolist(), strict=True))
        return self._anomalous

    def _opener(self, path: Path) -> Any:
        return lambda: pa.OSFile(str(path), "rb")

    def require_runs(self) -> None:
        """Refuse a log that was read and had no window.

        Raises:
            InputError: every run is shorter than a window.
        """
        if self.seen.windows == 0:
            longest = f"the longest of {self.seen.runs:,} runs has {self.seen.longest:,} rows"
            raise InputError(
                f"{self.source}: no window of {self.series.window} rows: {longest}; give a shorter --window, a "
                "longer --gap, or more rows"
            )


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the files of a log.

    Raises:
        InputError: no such file, or none in a directory.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file() and _is_log(each))
            if not inside:
                raise InputError(f"{path}: no log in it: CSV or Parquet files are expected")
            found += inside
        elif not path.is_file():
            raise InputError(f"{path}: no such file{file_hint(path)}: give the path of a CSV or Parquet file")
        elif path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty: a log was expected; write it again")
        else:
            found.append(path)
    return found


def _is_log(path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in (path.name, path.parent.name))
    return not hidden and streamed_ending(path.name) is not None
