"""Denormal numbers: flushed inside a run where they are slow, the caller's arithmetic untouched."""

import threading

import numpy as np
import pytest

import aetool
from aetool.runtime import _native_calls as native_calls

TINY = np.full(8, 1e-39, np.float32)
LINUX_X86 = native_calls.sys.platform == "linux" and native_calls.platform.machine() == "x86_64"

pytestmark = pytest.mark.skipif(not LINUX_X86, reason="the mode is set on Linux on x86-64 only")


@pytest.fixture
def slow(monkeypatch):
    for module in ("_native_calls", "ort"):
        monkeypatch.setattr(f"aetool.runtime.{module}.slow_here", lambda: True)


def kept() -> bool:
    return bool((TINY * np.float32(1) == TINY).all() and (TINY * np.float32(1) != 0).all())


def test_denormals_are_zero_inside_and_numbers_again_outside(slow):
    flushed = native_calls.flushing(lambda factor: TINY * factor)
    assert kept()
    assert not flushed(np.float32(1)).any()
    assert kept()


def test_an_error_inside_puts_the_mode_back(slow):
    with pytest.raises(ZeroDivisionError):
        native_calls.flushing(lambda: 1 / 0)()
    assert kept()


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupt_between_the_calls_puts_the_mode_back(slow, monkeypatch, at):
    get, put, flush = native_calls._mode_of_this_thread()
    calls = []

    def interrupted(mode):
        put(mode)
        calls.append(mode)
        if len(calls) == at:
            raise KeyboardInterrupt  # as Python runs a signal handler when a call is done

    monkeypatch.setattr(native_calls, "_mode_of_this_thread", lambda: (get, interrupted, flush))
    with pytest.raises(KeyboardInterrupt):
        native_calls.flushing(lambda: None)()
    assert kept()


def test_a_mode_that_the_caller_has_chosen_comes_back(slow):
    seen = []
    outer = native_calls.flushing(lambda: (native_calls.flushing(lambda: None)(), seen.append(kept())))
    outer()
    assert seen == [False]
    assert kept()


def test_where_denormals_cost_nothing_the_function_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(native_calls, "slow_here", lambda: False)
    assert native_calls.flushing(kept) is kept


@pytest.mark.parametrize("length", [1, 200, 5000])
def test_results_are_the_same_and_no_thread_is_changed(slow, exported, model, many, length):
    with aetool.load(exported, provider="cpu", intra_op_num_threads=2) as flushing:
        for method in ("encode", "reconstruct", "score", "detect"):
            np.testing.assert_array_equal(
                getattr(flushing, method)(many[:length]), getattr(model, method)(many[:length])
            )
    seen = [kept()]
    thread = threading.Thread(target=lambda: seen.append(kept()))
    thread.start()
    thread.join()
    assert seen == [True, True]


@pytest.mark.parametrize("length", [1, 200, 5000])
def test_every_kind_of_run_flushes(slow, exported, many, monkeypatch, length):
    get, put, flush = native_calls._mode_of_this_thread()
    flushed = []

    def noted(mode):
        flushed.append(flush(mode) == mode)
        put(mode)

    monkeypatch.setattr(native_calls, "_mode_of_this_thread", lambda: (get, noted, flush))
    with aetool.load(exported, provider="cpu", intra_op_num_threads=1) as model:
        model.score(many[:length])
        flushed.clear()
        model.score(many[:length])
    assert any(flushed)
