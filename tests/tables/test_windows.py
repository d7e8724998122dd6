"""A log becomes runs and windows: groups, gaps, times, resampling, and what is refused."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aetool.bundle.manifest import Series
from aetool.errors import InputError
from aetool.tables.windows import Log, read_runs, window_labels, windows, with_gap

START = datetime.datetime(2026, 1, 1)


def write(path, times, *, machines=None, labels=None, values=None):
    """A CSV log of one channel `x`, which counts the rows unless `values` are given."""
    values = range(len(times)) if values is None else values
    header = ["t", *(["machine"] if machines else []), *(["state"] if labels else []), "x"]
    rows = zip(times, *([machines] if machines else []), *([labels] if labels else []), values, strict=True)
    path.write_text("\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def runs_of(path, series, **options):
    return list(read_runs(path, series, ["x"], **options))


def counts(run):
    return run.values[:, 0].astype(int).tolist()


def test_windows_are_views_of_their_run_in_order(tmp_path):
    (run,) = runs_of(write(tmp_path / "log.csv", range(10)), Series(4, 3, time="t"))
    found = windows(run, 4, 3)
    assert found[:, :, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert np.shares_memory(found, run.values)
    assert run.times.tolist() == list(range(10))


def test_no_window_crosses_a_group_though_rows_alternate(tmp_path):
    times, machines = [0, 0, 1, 1, 2, 2, 3, 3], list("abababab")
    found = runs_of(write(tmp_path / "log.csv", times, machines=machines), Series(2, 1, time="t", group="machine"))
    assert {run.group: counts(run) for run in found} == {"a": [0, 2, 4, 6], "b": [1, 3, 5, 7]}
    assert [run.first_row for run in found] == [0, 1]


def test_no_window_crosses_a_gap(tmp_path):
    log = Log(write(tmp_path / "log.csv", [0, 1, 2, 10, 11, 30]), Series(2, 1, time="t", gap=2.0), ["x"])
    assert [counts(run) for run in log.runs()] == [[0, 1, 2], [3, 4]]
    assert log.seen.notes(2) == [
        "2 gaps in time; no window crosses one",
        "1 run shorter than a window of 2 rows: skipped",
    ]


def test_a_gap_is_five_times_the_usual_step_of_a_group(tmp_path):
    path = write(tmp_path / "log.csv", [0, 1, 10, 11, 20, 21], machines=list("ababab"))
    log = Log(path, Series(2, 1, time="t", group="machine"))
    assert log.head().step == 10.0
    assert with_gap(log.series, 10.0).gap == 50.0


def test_groups_too_short_are_named_counted_and_skipped(tmp_path):
    path = write(tmp_path / "log.csv", range(9), machines=["long"] * 6 + ["a", "b", "b"])
    log = Log(path, Series(4, 1, time="t", group="machine"), ["x"])
    assert [run.group for run in log.runs()] == ["long"]
    assert log.seen.notes(4) == ["2 runs of a, b shorter than a window of 4 rows: skipped"]


def test_a_window_longer_than_any_run_is_refused(tmp_path):
    log = Log(write(tmp_path / "log.csv", range(9)), Series(20, 1, time="t"), ["x"])
    assert list(log.runs()) == []
    with pytest.raises(InputError, match="no window of 20 rows: the longest of 1 runs has 9 rows; give a shorter"):
        log.require_runs()


def test_time_that_goes_back_is_refused_with_its_row(tmp_path):
    path = write(tmp_path / "log.csv", [START, START + datetime.timedelta(seconds=5), START])
    with pytest.raises(InputError, match=r"row 3: time goes back from 2026-01-01 00:00:05 to .*--sort.*--group"):
        runs_of(path, Series(2, 1, time="t"))


def test_time_that_goes_back_from_batch_to_batch_is_refused(tmp_path):
    (tmp_path / "logs").mkdir()
    for name, first in (("a.csv", 10), ("b.csv", 0)):
        write(tmp_path / "logs" / name, range(first, first + 5), machines=["m"] * 5)
    with pytest.raises(InputError, match="row 6: time goes back from 14 to 0 in 'm'"):
        runs_of(tmp_path / "logs", Series(2, 1, time="t", group="machine"))


def test_sort_puts_rows_in_the_order_of_time(tmp_path):
    path = write(tmp_path / "log.csv", [3, 1, 2, 0], machines=list("abab"))
    found = runs_of(path, Series(1, 1, time="t", group="machine"), sort=True)
    assert {run.group: counts(run) for run in found} == {"a": [2, 0], "b": [3, 1]}


def test_a_row_that_repeats_a_time_is_left_out_and_counted(tmp_path):
    times = [*range(2000), 1999]
    log = Log(write(tmp_path / "log.csv", times), Series(2, 1, time="t"), ["x"])
    (run,) = log.runs()
    assert len(run) == 2000
    assert log.seen.notes(2) == ["1 rows have the time of the row before and are left out"]


def test_many_rows_of_one_time_are_refused(tmp_path):
    path = write(tmp_path / "log.csv", np.repeat(range(20), 2))
    with pytest.raises(InputError, match="20 of the first 40 rows have the time of the row before; name"):
        runs_of(path, Series(2, 1, time="t"))


@pytest.mark.parametrize("one_file", [True, False])
def test_times_with_and_without_a_zone_are_refused(tmp_path, one_file):
    zoned, local = ["2026-01-01 00:00:00+01:00"], ["2026-01-01 00:00:01"]
    (tmp_path / "logs").mkdir()
    if one_file:
        write(tmp_path / "logs" / "a.csv", zoned + local)
    else:
        write(tmp_path / "logs" / "a.csv", zoned)
        write(tmp_path / "logs" / "b.csv", local)
    with pytest.raises(InputError, match="mixes times with and without a time zone"):
        runs_of(tmp_path / "logs", Series(1, 1, time="t"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2026-01-01 00:00:00", "2026-01-01 00:00:01.5"], ["2026-01-01T00:00:00", "2026-01-01T00:00:01.5"]),
        (["2026-01-01T01:00:00+01:00", "2026-01-01T00:00:01Z"], ["2026-01-01T00:00:00", "2026-01-01T00:00:01"]),
        (["01.02.2026 10:00", "01.02.2026 10:01"], ["2026-02-01T10:00:00", "2026-02-01T10:01:00"]),
        ([1767225600, 1767225601], ["2026-01-01T00:00:00", "2026-01-01T00:00:01"]),
        ([1767225600123, 1767225601000], ["2026-01-01T00:00:00.123", "2026-01-01T00:00:01"]),
        ([0.5, 1], [0.5, 1.0]),
    ],
)
def test_times_in_the_notations_of_logs(tmp_path, texts, expected):
    (run,) = runs_of(write(tmp_path / "log.csv", texts), Series(2, 1, time="t"))
    if isinstance(expected[0], str):
        expected = np.array(expected, "datetime64[ns]").tolist()
    assert run.times.tolist() == expected


@pytest.mark.parametrize(("texts", "word"), [(["1", "soon"], "'soon'"), (["2026-01-01", ""], "no time")])
def test_a_cell_that_is_no_time_is_refused_with_its_row(tmp_path, texts, word):
    with pytest.raises(InputError, match=f"row 2, column 't'.*{word}"):
        runs_of(write(tmp_path / "log.csv", texts), Series(2, 1, time="t"))


def test_resampling_gives_the_mean_of_each_interval_and_repeats_it_where_nothing_was_logged(tmp_path):
    path = write(tmp_path / "log.csv", [0.2, 0.8, 1.5, 4.1, 20, 21], values=[1, 3, 5, 7, 9, 11])
    log = Log(path, Series(2, 1, every=1.0, time="t", gap=5.0), ["x"])
    first, second = log.runs()
    assert first.times.tolist() == [0, 1, 2, 3, 4] and counts(first) == [2, 5, 5, 5, 7]
    assert second.times.tolist() == [20, 21] and counts(second) == [9, 11]
    assert (log.seen.held, log.seen.gaps) == (2, 1)


def test_pieces_hold_the_windows_of_whole_runs_each_once(tmp_path, monkeypatch):
    from aetool.tables import _cutting

    monkeypatch.setattr(_cutting, "PIECE_ROWS", 50)
    (tmp_path / "logs").mkdir()
    random = np.random.default_rng(0)
    for name, first in (("a.parquet", 0), ("b.parquet", 300), ("c.parquet", 900)):
        rows = np.arange(first, first + 300)
        table = {"t": np.repeat(rows, 3), "machine": np.tile(["p", "q", "r"], 300), "x": random.normal(size=900)}
        pq.write_table(pa.table(table), tmp_path / "logs" / name, row_group_size=64)
    for stride in (1, 3, 11):
        series = Series(7, stride, time="t", group="machine", gap=2.0)
        found = {}
        for pieces in (False, True):
            runs = runs_of(tmp_path / "logs", series, pieces=pieces)
            assert pieces is (max(map(len, runs)) < 300)
            cut = {}
            for run in runs:
                for place, window in enumerate(windows(run, 7, stride)):
                    start = run.times[place * stride]
                    assert (run.group, start) not in cut
                    cut[run.group, start] = window.tobytes()
            found[pieces] = cut
        assert found[True] == found[False] and len(found[True]) > 3 * 800 / stride - 20


def test_a_directory_without_a_group_has_a_run_for_each_file(tmp_path):
    (tmp_path / "logs").mkdir()
    for name in ("b.csv", "a.csv"):
        write(tmp_path / "logs" / name, range(4))
    found = runs_of(tmp_path / "logs", Series(2, 1, time="t"))
    assert [(run.group, run.first_row) for run in found] == [("a.csv", 0), ("b.csv", 4)]


def test_channels_are_the_columns_of_numbers(tmp_path):
    path = write(tmp_path / "log.csv", range(4), machines=list("aabb"), labels=["ok", "ok", "worn", "ok"])
    log = Log(path, Series(2, 1, time="t", group="machine"), label="state")
    assert log.head().channels == ("x",)
    with pytest.raises(InputError, match=r"'machine' \(text\).*--drop machine"):
        Log(path, Series(2, 1, time="t"), label="state").head()


def test_labels_of_rows_mark_windows_by_any_row_or_by_a_share(tmp_path):
    path = write(tmp_path / "log.csv", range(6), labels=["ok", "worn", "ok", "ok", "worn", "worn"])
    (run,) = runs_of(path, Series(3, 1, time="t"), label="state")
    assert run.labels.tolist() == [False, True, False, False, True, True]
    assert window_labels(run.labels, 3, 1).tolist() == [True, True, True, True]
    assert window_labels(run.labels, 3, 1, 0.5).tolist() == [False, False, False, True]
    assert window_labels(run.labels, 3, 3).tolist() == [True, True]
