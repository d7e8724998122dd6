"""Memory: results are nobody else's, buffers are not shared, nothing grows, nothing is copied."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aetool
from aetool.runtime.cpu import BLOCKS_KEPT, MIN_BYTES, Recycler

FLOAT32 = np.dtype(np.float32)
LARGE = MIN_BYTES // 4  # numbers


@given(sizes=st.lists(st.tuples(st.integers(0, 3 * LARGE), st.booleans()), max_size=12))
def test_recycled_arrays_that_are_held_never_share_memory(sizes):
    recycler, held = Recycler(), []
    for i, (size, hold) in enumerate(sizes):
        array = recycler.empty((size,), FLOAT32)
        array.fill(i)
        if hold:
            held.append((i, array))
        del array
    for i, array in held:
        assert (array == i).all()


def test_memory_comes_back_once_the_array_and_its_views_are_gone():
    recycler = Recycler()
    array = recycler.empty((LARGE, 2), FLOAT32)
    address = array.ctypes.data
    view = array[5:, 0]
    del array
    other = recycler.empty((LARGE, 2), FLOAT32)
    assert other.ctypes.data != address
    del view
    assert recycler.empty((LARGE, 2), FLOAT32).ctypes.data == address


def test_no_more_than_a_few_blocks_are_kept():
    recycler = Recycler()
    arrays = [recycler.empty((LARGE,), FLOAT32) for _ in range(5)]
    assert len(recycler._free) == 0
    del arrays
    gc.collect()
    assert len(recycler._free) == BLOCKS_KEPT


def test_a_small_result_does_not_hold_a_large_block():
    recycler = Recycler()
    large = recycler.empty((8 * LARGE,), FLOAT32)
    del large
    small = recycler.empty((LARGE,), FLOAT32)
    assert small.nbytes == LARGE * 4
    assert [block.nbytes for block in recycler._free] == [8 * LARGE * 4]


def test_a_large_result_is_as_usable_as_any(model, many):
    large = model.reconstruct(np.resize(many, (40_000, 30)))
    assert large.flags.writeable
    assert large.flags.c_contiguous
    large += 1
    np.testing.assert_array_equal(large[-3:].copy(), large[-3:])


def test_a_call_within_a_call_does_not_touch_the_outer_result(run_python, exported):
    """A signal handler that scores, at any point of a call that scores."""
    done = run_python(
        """
import signal, sys, numpy as np, aetool
model = aetool.load(sys.argv[1], provider="cpu")
random = np.random.default_rng(0)
rows = random.normal(1, 1, (50, 30)).astype(np.float32)
other = random.normal(9, 1, (1, 30)).astype(np.float32)
expected = [model.reconstruct(row[None]) for row in rows]
calls = 0
def handler(*_):
    global calls
    calls += 1
    model.reconstruct(other)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for _ in range(400):
    for row, right in zip(rows, expected):
        assert (model.reconstruct(row[None]) == right).all()
signal.setitimer(signal.ITIMER_REAL, 0)
assert calls > 50, calls
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


def test_buffers_of_a_few_rows_come_back(exported, rows):
    with aetool.load(exported, provider="cpu") as model:
        for _ in range(2):
            for run in (model.score, model.detect, lambda some: model.run("detector", some)):
                run(rows[:3])
        ready = [few for name in ("score alone", "detector") for few in model._graphs[name]._ready.values()]
        assert [len(few[3, 30]) for few in ready] == [1, 1, 1]


@pytest.mark.parametrize("let_go", [aetool.AutoencoderSession.close, lambda _: None])
def test_sessions_go_with_the_object_and_need_no_collector(exported, many, let_go):
    model = aetool.load(exported, provider="cpu")
    model.score(many)
    model.score(many[0])
    graph = model._graphs["score alone"]
    model._opener.tried["encoder"] = graph.direct
    left = [weakref.ref(graph), weakref.ref(graph.direct), weakref.ref(graph._chunk_session())]
    del graph
    gc.disable()
    try:
        let_go(model)
        del model
        assert [session() for session in left] == [None] * 3
    finally:
        gc.enable()


RESIDENT = """
import sys, numpy as np, aetool
def memory(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) / 1024
"""


def test_many_rows_take_no_memory_but_that_of_the_result(run_python, exported):
    done = run_python(
        RESIDENT
        + """
rows = np.ones((1_000_000, 30), np.float32)  # 114 MB
with aetool.load(sys.argv[1], provider="cpu") as model:
    model.score(rows[:100_000])
    before = memory("VmHWM")
    model.score(rows)
    print(memory("VmHWM") - before)
""",
        exported,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 24  # MB; the scores are 4, a copy of the rows would be 114


def test_random_batch_sizes_do_not_make_memory_grow(run_python, exported):
    done = run_python(
        RESIDENT
        + """
random = np.random.default_rng(0)
rows = np.ones((4000, 30), np.float32)
with aetool.load(sys.argv[1], provider="cpu") as model:
    def calls(count):
        for size in random.integers(1, 4000, count // 20):
            model.reconstruct(rows[:size])
        for size in random.integers(1, 20, count):
            model.score(rows[:size])
    calls(6000)
    before = memory("VmRSS")
    calls(12000)
    print(memory("VmRSS") - before)
""",
        exported,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 4  # MB
