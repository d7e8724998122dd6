"""`model.stream()`: scores as windows complete, equal to the batch path bit for bit, whatever the blocks."""

import json
import os
import sys
import threading

import numpy as np
import pytest
from app_fixtures import EXPORTED
from series_bundles import waves

import aetool
from aetool.errors import InputError

SAMPLES = 1_000_000 if os.environ.get("AETOOL_LONG") else 4_000


def windows_of(samples, window=8, stride=2):
    """Every window of one run, (windows, window, channels)."""
    if len(samples) < window:
        return np.empty((0, window, samples.shape[1]), np.float32)
    found = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0)[::stride]
    return np.ascontiguousarray(found.transpose(0, 2, 1))


def in_blocks(push, samples, random, largest=40):
    """Push blocks of random sizes, single samples among them; return all scores."""
    found, at = [], 0
    while at < len(samples):
        size = int(random.choice([1, random.integers(1, largest)]))
        block = samples[at : at + size]
        found.append(push(block[0] if size == 1 else block))
        at += size
    return np.concatenate(found)


def bits(scores):
    return np.asarray(scores).view(np.uint32)


@pytest.mark.parametrize("provider", ["auto", "native"])
def test_a_stream_gives_the_bits_of_the_batch_over_gaps_restarts_states_and_blocks(series, provider):
    random = np.random.default_rng(1)
    samples = waves(SAMPLES, 3)
    samples[random.integers(0, SAMPLES, 20)] = np.nan
    times = np.cumsum(random.choice([1.0, 1.0, 1.0, 30.0], SAMPLES, p=[0.5, 0.3, 0.19, 0.01]))
    runs = np.split(samples, np.flatnonzero(np.diff(times) > 5) + 1)
    with aetool.load(series, provider="native") as batch:
        expected = np.concatenate([batch.score(windows_of(run)) for run in runs])
    with aetool.load(series, provider=provider) as model:
        stream, found, at = model.stream(), [], 0
        while at < SAMPLES:
            size = int(random.choice([1, random.integers(1, 200)]))
            part, when = samples[at : at + size], times[at : at + size]
            found.append(stream.push(part[0], float(when[0])) if size == 1 else stream.push(part, when))
            at += size
            if random.random() < 0.1:
                stream = model.stream(json.loads(json.dumps(stream.state())))
    assert (bits(np.concatenate(found)) == bits(expected)).all()


@pytest.mark.parametrize("stride", [1, 3, 8, 11])
def test_every_stride_gives_the_windows_of_a_table(model, stride):
    samples = waves(150, 3)
    stream = model.stream(stride=stride)
    found = in_blocks(stream.push, samples, np.random.default_rng(stride))
    expected = [model.score(window) for window in windows_of(samples, stride=stride)]
    assert (bits(found) == bits(expected)).all()


def test_on_onnxruntime_each_window_has_the_bits_that_it_has_alone(convolved):
    samples = waves(100, 3)
    with aetool.load(convolved, provider="cpu") as model:
        found = in_blocks(model.stream().push, samples, np.random.default_rng(0))
        assert (bits(found) == bits([model.score(window) for window in windows_of(samples)])).all()


def test_a_row_of_a_table_is_a_window_of_one(rows):
    with aetool.load(EXPORTED) as table:
        found = in_blocks(table.stream().push, rows, np.random.default_rng(0))
        assert (bits(found) == bits([table.score(row) for row in rows])).all()
        named = dict(zip(table.feature_names, rows[0].tolist(), strict=True))
        assert table.stream().push(named) == table.score(rows[0])


def test_a_window_is_scored_with_its_last_sample_and_can_be_read_until_the_next(model):
    samples = waves(12, 3)
    stream = model.stream()
    assert stream.until_next == 8
    assert [len(stream.push(sample)) for sample in samples] == [0] * 7 + [1, 0, 1, 0, 1]
    assert (stream.window == samples[4:12]).all() and stream.until_next == 2
    stream.push(samples[0])
    assert stream.window is None and stream.until_next == 1


def test_columns_are_taken_by_name(model):
    samples = waves(8, 3)
    block = {f"c{i}": samples[:, i] for i in (2, 0, 1)}
    assert model.stream().push(block) == model.score(samples)


@pytest.mark.parametrize(
    "odd",
    [
        (0.1, 2, -3.0),
        (2**53 + 1, 2**60 + 2**36 + 1, -(2**24) - 1),
        (float("nan"), -0.0, 1e-45),
        (None, True, 0.5),
        (np.float64(0.1), np.float32(0.1), 7),
        (3.4028235677973366e38, 1.0, 2.0),
    ],
)
@pytest.mark.parametrize("kind", [list, tuple])
def test_lists_of_numbers_give_the_bits_of_arrays(model, kind, odd):
    listed, arrays = model.stream(), model.stream()
    for i, sample in enumerate(waves(40, 3).tolist()):
        cells = odd if i % 11 == 9 else sample
        array = np.array([np.nan if cell is None else cell for cell in cells], np.float64)
        whole = all(type(cell) is int for cell in cells)
        found = outcome(listed, kind(cells))
        assert found == outcome(arrays, np.array(cells).astype(np.float32) if whole else array)
        assert (listed.state(), listed.until_next) == (arrays.state(), arrays.until_next)


def outcome(stream, sample):
    """The bits of the scores, or what was wrong."""
    try:
        return bits(stream.push(sample)).tolist()
    except InputError as error:
        return str(error)


def test_a_gap_begins_anew_and_no_gap_does_not(model):
    samples = waves(16, 3)
    stream = model.stream(max_gap=2)
    times = [0.0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17]
    found = [len(stream.push(*each)) for each in zip(samples, times, strict=True)]
    assert sum(found) == found[14] == 1
    assert len(model.stream(max_gap=2).push(samples, times)) == 1
    assert len(model.stream(max_gap=3).push(samples, times)) == 5
    assert model.stream().push(samples[:9], np.arange(9) * 5.0).size == 1  # the bundle's gap is 5 s
    assert model.stream().push(samples[:9], np.arange(9) * 5.1).size == 0


def test_a_reset_begins_anew(model):
    stream = model.stream()
    stream.push(waves(7, 3), np.arange(7))
    stream.reset()
    assert stream.push(waves(7, 3), np.arange(7)).size == 0 and stream.until_next == 1


@pytest.mark.parametrize(
    ("samples", "time", "reason"),
    [
        (np.zeros(2, np.float32), None, "expected shape"),
        (np.zeros((2, 4), np.float32), None, "expected shape"),
        (["a", "b", "c"], None, "real numbers"),
        (np.zeros(3, np.float32), 4.0, "not later"),
        (np.zeros(3, np.float32), 3.0, "not later"),
        (np.zeros(3, np.float32), float("nan"), "not later"),
        (np.zeros(3, np.float32), "now", "as a number"),
        (np.zeros((2, 3), np.float32), [5.0, 5.0], "rise"),
        (np.zeros((2, 3), np.float32), [5.0], "2 numbers"),
    ],
)
def test_what_is_refused_changes_nothing(model, samples, time, reason):
    stream = model.stream()
    stream.push(waves(5, 3), np.arange(5))
    before = stream.state()
    with pytest.raises(InputError, match=reason):
        stream.push(samples, time)
    assert stream.state() == before


@pytest.mark.parametrize(
    "change",
    [
        {"window": 9},
        {"version": 2},
        {"samples": "?"},
        {"samples": "AAAA"},
        {"skip": -1},
        {"time": "x"},
        {"stride": 0},
    ],
)
def test_a_state_of_something_else_is_refused(model, change):
    with pytest.raises(InputError, match=r"state|stride"):
        model.stream(model.stream().state() | change)


def test_no_stream_where_rows_are_no_windows(model):
    with pytest.raises(InputError, match="stride"):
        model.stream(stride=0)
    with pytest.raises(InputError, match="of its own"):
        model.stream(model.stream().state(), stride=3)


def test_streams_share_a_model_across_threads_and_threads_a_stream(model):
    samples = waves(400, 3)
    expected = model.stream().push(samples)
    results = [None] * 4
    shared, counts = model.stream(), []

    def work(place):
        stream = model.stream()
        results[place] = np.concatenate([stream.push(sample) for sample in samples])
        counts.append(sum(len(shared.push(sample)) for sample in samples))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((bits(found) == bits(expected)).all() for found in results)
    assert sum(counts) == (4 * len(samples) - 8) // 2 + 1


def test_a_stream_takes_a_few_hundred_bytes_beside_its_window(model):
    stream = model.stream()
    parts = (stream, *(getattr(stream, name) for name in ("_bytes", "_lock", "_last", "_row")))
    arrays = [sys.getsizeof(stream._rows), sys.getsizeof(stream._batch)]
    assert sum(map(sys.getsizeof, parts)) + sum(arrays) - stream._rows.nbytes < 1000


def test_a_stream_goes_on_after_a_fork(model):
    stream = model.stream()
    stream.push(waves(7, 3))
    expected = model.score(waves(8, 3))
    child = os.fork()
    if child == 0:
        os._exit(0 if stream.push(waves(8, 3)[7]) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_model_is_said_to_be_closed_and_nothing_is_lost(series):
    with aetool.load(series) as model:
        stream = model.stream()
        stream.push(waves(9, 3))
        for sample in waves(3, 3):
            stream.push(sample)
    before = stream.state()
    for _ in range(2):
        with pytest.raises(InputError, match="closed"):
            stream.push(waves(3, 3))
    assert stream.state() == before
