"""Many rows: cut evenly, each chunk run once, by as many threads as there are cores for."""

import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aetool
from aetool.runtime import chunks as bulk
from aetool.runtime.chunks import chunk_size, cut, largest_chunk, run_chunks


@given(rows=st.integers(1, 10**7), largest=st.integers(1, 4096), workers=st.integers(1, 64))
def test_chunks_are_no_larger_than_allowed_and_shared_out_evenly(rows, largest, workers):
    size = chunk_size(rows, largest, workers)
    assert 1 <= size <= largest
    chunks = -(-rows // size)
    busiest = -(-chunks // workers)  # of the workers, in chunks
    assert busiest * size <= max(rows / workers + largest, largest)
    assert size == 1 or busiest * size < 2 * max(rows / workers, 1) or chunks <= workers


@given(
    rows=st.integers(0, 10**5), largest=st.integers(64, 4096), workers=st.integers(1, 64), few_sizes=st.booleans()
)
def test_chunks_cover_every_row_once_and_may_have_few_sizes(rows, largest, workers, few_sizes):
    chunks = cut(rows, largest, workers, few_sizes=few_sizes) if rows else []
    assert [chunk.start for chunk in chunks] == [0, *(chunk.stop for chunk in chunks)][: len(chunks)]
    assert (chunks[-1].stop if chunks else 0) == rows
    sizes = {chunk.stop - chunk.start for chunk in chunks}
    assert all(1 <= size <= largest for size in sizes)
    if few_sizes:
        assert sizes <= {*range(1, 17), 32, 64, 128, 256, 512, 1024, 2048, 4096}


@given(numbers=st.integers(1, 10**9))
def test_a_chunk_fits_the_cache_unless_its_rows_are_huge(numbers):
    rows = largest_chunk(numbers)
    assert bulk.MIN_CHUNK_ROWS <= rows <= bulk.MAX_CHUNK_ROWS
    assert rows == bulk.MIN_CHUNK_ROWS or rows * numbers <= bulk.CHUNK_NUMBERS


class Doubling:
    """A stand-in for a session: y = 2 x, by the addresses that were bound."""

    def __init__(self, before: Callable[[int], object] = lambda _: None) -> None:
        self.before, self.seen, self.threads = before, [], set()

    def io_binding(self) -> SimpleNamespace:
        bound = {}
        return SimpleNamespace(
            bind_input=lambda *a: bound.update(x=a), bind_output=lambda *a: bound.update(y=a), bound=bound
        )

    def run_with_iobinding(self, binding: SimpleNamespace, _: None) -> None:
        import ctypes

        (*_, shape, source), (*_, target) = binding.bound["x"], binding.bound["y"]
        self.before(len(self.seen))
        self.seen.append(shape[0])
        self.threads.add(threading.get_ident())
        count = int(np.prod(shape))
        x, y = (np.ctypeslib.as_array((ctypes.c_float * count).from_address(a)) for a in (source, target))
        np.multiply(x, 2, out=y)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("length", [1, 99, 100, 101, 1000, 1001])
@pytest.mark.parametrize("few_sizes", [False, True])
def test_every_row_is_run_once_and_written_where_it_belongs(workers, length, few_sizes):
    session = Doubling()
    rows = np.random.default_rng(0).normal(size=(length, 3)).astype(np.float32)
    out = np.full_like(rows, np.nan)
    run_chunks(session, "x", rows, {"y": out}, largest=100, workers=workers, few_sizes=few_sizes)
    np.testing.assert_array_equal(out, rows * 2)
    assert sum(session.seen) == length
    assert max(session.seen) <= 100


def test_other_threads_help():
    together = threading.Barrier(2, timeout=20)  # passes only if two run at the same time
    session = Doubling(lambda _: None if threading.get_ident() in session.threads else together.wait())
    rows = np.ones((1000, 3), np.float32)
    run_chunks(session, "x", rows, {"y": np.empty_like(rows)}, largest=100, workers=2)
    assert len(session.threads) == 2


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("at", [0, 1, 5])
def test_an_error_in_any_chunk_is_raised_when_all_have_stopped(error, at):
    def fail(done: int) -> None:
        if done == at:
            raise error

    session = Doubling(fail)
    rows = np.ones((100_000, 3), np.float32)
    with pytest.raises(type(error)):
        run_chunks(session, "x", rows, {"y": np.empty_like(rows)}, largest=100, workers=2)
    done = len(session.seen)
    assert done < 1000  # and what was left is not run
    threading.Event().wait(0.05)
    assert len(session.seen) == done


def test_where_no_thread_can_be_started_the_caller_works_alone(monkeypatch):
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    session = Doubling()
    rows = np.ones((1000, 3), np.float32)
    out = np.empty_like(rows)
    run_chunks(session, "x", rows, {"y": out}, largest=100, workers=4)
    np.testing.assert_array_equal(out, rows * 2)
    assert session.threads == {threading.get_ident()}


def test_an_error_of_a_helper_is_raised_and_ends_the_callers_work():
    caller, failed = threading.get_ident(), threading.Event()

    def fail(_: int) -> None:
        if threading.get_ident() == caller:
            failed.wait(20)
        else:
            failed.set()
            raise ValueError("bad")

    session = Doubling(fail)
    rows = np.ones((100_000, 3), np.float32)
    with pytest.raises(ValueError, match="bad"):
        run_chunks(session, "x", rows, {"y": np.empty_like(rows)}, largest=100, workers=2)
    assert len(session.seen) < 900


def test_interrupts_while_helpers_are_waited_for_are_raised_when_all_have_stopped():
    caller, entered, left, interrupts = threading.get_ident(), threading.Event(), [], []

    def interrupt(*_: object) -> None:
        interrupts.append(None)
        if len(interrupts) < 5:
            raise KeyboardInterrupt

    def slow(_: int) -> None:
        if threading.get_ident() == caller:
            entered.wait(20)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            raise KeyboardInterrupt
        entered.set()
        time.sleep(0.2)
        left.append(None)

    rows = np.ones((1000, 3), np.float32)
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_chunks(Doubling(slow), "x", rows, {"y": np.empty_like(rows)}, largest=100, workers=2)
        assert len(left) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(interrupts) >= 5


def test_one_thread_and_eight_give_the_same_bits(exported, many):
    found = []
    for threads in (1, 8):
        with aetool.load(exported, provider="cpu", intra_op_num_threads=threads) as model:
            found.append([getattr(model, m)(many) for m in ("encode", "reconstruct", "score", "detect")])
    for one, eight in zip(*found, strict=True):
        np.testing.assert_array_equal(one, eight)


def test_no_chunk_is_lost_when_another_thread_finds_that_none_is_left():
    """The other takes the last chunk, and is held up before it runs it until this thread has finished."""
    finished = threading.Event()

    class Slow(Doubling):
        def io_binding(self) -> SimpleNamespace:
            binding = super().io_binding()
            bind = binding.bind_input

            def late(*arguments: Any) -> None:
                if threading.current_thread() is not threading.main_thread():
                    finished.wait(0.2)
                bind(*arguments)

            binding.bind_input = late
            return binding

    for _ in range(5):
        rows = np.ones((1000, 3), np.float32)
        out = np.zeros_like(rows)
        run_chunks(Slow(), "x", rows, {"y": out}, largest=100, workers=4)
        assert (out == 2).all()
