"""The two ways to put a load on something, with a clock that only moves when told to."""

import numpy as np
import pytest

from aetool.bench._worker import back_to_back, batches, open_loop, poisson, streams


class Clock:
    """Nanoseconds; every look at it takes one."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9)

    def takes(self, *durations):
        """A callable that takes so long, one call after the other, the last for ever."""
        left = list(durations)

        def call(query):
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_a_stall_is_charged_to_every_query_that_it_delays():
    clock = Clock()
    arrivals = [10_000 * i for i in range(1, 21)]  # one every 10 us; each takes 1 us, but the fifth 50 us
    call = clock.takes(1000, 1000, 1000, 1000, 50_000, 1000)
    latencies, _ = open_loop(call, [None], arrivals, clock=clock, sleep=clock.sleep)
    waited = [latency // 1000 for latency in latencies]
    # Counted from when a query was sent, all but one would have taken 1 us.
    assert waited == [1, 1, 1, 1, 50, 41, 32, 23, 14, 5, *[1] * 10]


def test_the_next_query_waits_for_its_arrival():
    clock = Clock()
    _, wall = open_loop(clock.takes(10), [None], [0, 5_000_000_000], clock=clock, sleep=clock.sleep)
    assert 5_000_000_000 <= wall < 5_001_000_000


def test_back_to_back_counts_every_query_and_the_time_between_them():
    clock = Clock()
    latencies, wall = back_to_back(clock.takes(98), [1, 2], seconds=1e-6, clock=clock)
    assert list(latencies) == [99] * 10 and wall >= 1000


def test_back_to_back_goes_on_until_there_are_queries_enough():
    clock = Clock()
    latencies, _ = back_to_back(clock.takes(5_000_000), [None], seconds=1e-3, calls=7, clock=clock)
    assert len(latencies) == 7


def test_arrivals_are_those_of_the_seed_and_come_at_the_rate():
    assert poisson(1000, 0.5, 3) == poisson(1000, 0.5, 3) != poisson(1000, 0.5, 4)
    gaps = np.diff([0, *poisson(1000, 20, 0)]) / 1e9
    assert gaps.mean() == pytest.approx(1e-3, rel=0.05)
    assert gaps.std() == pytest.approx(1e-3, rel=0.1)  # of an exponential distribution, as its mean


def test_queries_are_real_rows_and_not_the_same_ones():
    rows = np.arange(200, dtype=np.float32).reshape(100, 2)
    queries = batches(rows, 8, seed=0)
    assert len({query.tobytes() for query in queries}) == len(queries) == 93
    assert all(np.shares_memory(query, rows) and query.shape == (8, 2) for query in queries)
    assert [q[0, 0] for q in queries] != [q[0, 0] for q in batches(rows, 8, seed=1)]


def test_streams_are_single_rows_each_used_once():
    rows = np.arange(200, dtype=np.float32).reshape(100, 2)
    queries = streams(rows, 8, seed=0)
    assert len(queries) == 12 and all(len(query) == 8 and query[0].shape == (2,) for query in queries)
    assert len({row.tobytes() for query in queries for row in query}) == 96


def test_more_rows_a_query_than_there_are_is_refused():
    with pytest.raises(ValueError, match="9 rows a query"):
        batches(np.zeros((8, 2)), 9, 0)
