"""Threads, forks, pickles, and the end: one object serves them all."""

import copy
import multiprocessing
import pickle
import signal
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import aetool
from aetool import InputError
from aetool.runtime import _native_calls as native_calls
from aetool.runtime import graphs
from aetool.runtime.settings import RunSettings

GUARD_S = 30
METHODS = ("encode", "reconstruct", "score", "detect")


def everything(model, rows):
    return [getattr(model, method)(rows) for method in METHODS]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_eight_threads_sharing_one_object_get_what_one_gets(model, many):
    pieces = [many[start : start + 37 * (1 + start % 3)] for start in range(0, 800, 7)] + [many, many[::2]]
    serial = [everything(model, piece) for piece in pieces]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            for found, expected in zip(pool.map(lambda p: everything(model, p), pieces), serial, strict=True):
                assert_same(found, expected)


def test_first_use_from_many_threads_makes_each_session_once(exported, rows, monkeypatch):
    made = []
    make = graphs.open_session

    def counted(*arguments, where, **options):
        made.append(where)
        return make(*arguments, where=where, **options)

    monkeypatch.setattr(graphs, "open_session", counted)
    with aetool.load(exported, provider="cpu") as model, ThreadPoolExecutor(16) as pool:
        together = threading.Barrier(16)

        def first_use(i):
            together.wait()
            return getattr(model, METHODS[i % 4])(rows)

        list(pool.map(first_use, range(16)))
    assert sorted(name.rsplit("/")[-1] for name in made) == [
        "autoencoder.onnx",
        *["detector.onnx"] * 2,  # the score alone, and the decision too
        "encoder.onnx",
    ]


def test_first_use_on_many_rows_from_many_threads_makes_one_more_session(exported, many, monkeypatch):
    made = []
    make = graphs.open_session

    def counted(*arguments, **options):
        made.append(None)
        threading.Event().wait(0.05)  # so that the others come meanwhile
        return make(*arguments, **options)

    settings = RunSettings(chunk_rows=64)
    with (
        aetool.AutoencoderSession(exported, provider="cpu", settings=settings) as model,
        ThreadPoolExecutor(8) as pool,
    ):
        model.score(many[:1])
        monkeypatch.setattr(graphs, "open_session", counted)
        list(pool.map(model.score, [many] * 8))
    assert len(made) == 1


def test_a_first_use_within_a_first_use_of_the_same_thread(exported, rows, monkeypatch):
    """As from a signal handler."""
    model = aetool.load(exported, provider="cpu")
    make, inner = graphs.open_session, []

    def within(*arguments, **options):
        if not inner:
            inner.append(None)
            inner[0] = everything(model, rows)
        return make(*arguments, **options)

    monkeypatch.setattr(graphs, "open_session", within)
    outer = []
    thread = threading.Thread(target=lambda: outer.extend(everything(model, rows)), daemon=True)
    thread.start()
    thread.join(GUARD_S)
    assert not thread.is_alive(), "deadlock"
    assert_same(inner[0], outer)


def test_a_failed_first_use_does_not_spoil_the_next(exported, rows, monkeypatch):
    model = aetool.load(exported, provider="cpu")
    with monkeypatch.context() as patched:
        patched.setattr(graphs, "open_session", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.score(rows)
    assert model.score(rows).shape == (len(rows),)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_opens_the_same_bundle_the_same_way(exported, model, rows, protocol, monkeypatch, tmp_path):
    monkeypatch.chdir(exported.parent)
    with aetool.load(
        "breast-cancer", provider=model.provider, precision="fp32", intra_op_num_threads=2
    ) as original:
        original.score(rows)
        pickled = pickle.dumps(original, protocol)
    monkeypatch.chdir(tmp_path)  # a relative path still leads there
    again = pickle.loads(pickled)
    assert again._arguments[3] == 2
    assert_same(everything(again, rows), everything(model, rows))
    assert len(pickled) < 1000


def test_a_copy_is_independent(exported, rows):
    original = aetool.load(exported)
    twin = copy.deepcopy(original)
    original.close()
    assert twin.score(rows).shape == (len(rows),)


def work(model, rows, connection):
    connection.send(everything(model, rows))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_another_process_gets_the_same_results(exported, many, method, threads, engine):
    context = multiprocessing.get_context(method)
    with aetool.load(exported, provider=engine, intra_op_num_threads=threads) as model:
        expected = everything(model, many)  # live sessions in the parent
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(model, many, sender))
        process.start()
        try:
            assert receiver.poll(GUARD_S), "deadlock"
            assert_same(receiver.recv(), expected)
            process.join(GUARD_S)
            assert process.exitcode == 0
        finally:
            process.kill()
        assert_same(everything(model, many), expected)


def test_a_forked_process_ends_like_any_other(run_python, exported):
    """os.fork and a normal exit, as a pre-forking server does, while threads of the parent are at work."""
    done = run_python(
        """
import os, sys, threading, time
import numpy as np, aetool
model = aetool.load(sys.argv[1], intra_op_num_threads=2)
rows = np.random.default_rng(0).normal(size=(2000, 30))
expected = model.score(rows)
busy = True
def work():
    while busy:
        model.score(rows)
        model.encode(rows[:3])
threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        assert (model.score(rows) == expected).all()
        grandchild = os.fork()
        if grandchild == 0:
            assert (model.score(rows) == expected).all()
            sys.exit(7)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
busy = False
[thread.join() for thread in threads]
print(codes)
""",
        exported,
        timeout=GUARD_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[7, 7, 7]\n", "")


def test_a_forked_process_inherits_neither_sessions_nor_a_lock_that_nobody_will_release(run_python, exported):
    done = run_python(
        """
import os, sys, threading
import aetool
from aetool.runtime import _native_calls as native_calls
rows = [[1.0] * 30] * 3
model = aetool.load(sys.argv[1])
model.score(rows)
model._opener.tried["encoder"] = "a session of the parent"
native_calls.running.append(None)  # a call of another thread
held, release = threading.Event(), threading.Event()
def hold():
    with model._lock:
        held.set()
        release.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    assert not model._graphs and not model._opener.tried and not native_calls.running
    assert model.encode(rows).shape == (3, 120)
    os._exit(7)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
release.set()
native_calls.running.clear()
print(code)
""",
        exported,
        timeout=GUARD_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_after_the_end_began_only_daemon_threads_are_kept_out(monkeypatch):
    monkeypatch.setattr(native_calls, "began", True)
    entered = []
    daemon = threading.Thread(target=lambda: native_calls.call_native(entered.append, "daemon"), daemon=True)
    other = threading.Thread(target=lambda: native_calls.call_native(entered.append, "other"))
    daemon.start()
    other.start()
    other.join(GUARD_S)
    native_calls.call_native(entered.append, "main")
    daemon.join(0.2)
    assert daemon.is_alive()
    assert entered == ["other", "main"]


def test_an_interrupted_call_is_not_waited_for_at_the_end(monkeypatch):
    class Interrupted(deque):
        def append(self, entry):
            super().append(entry)
            raise KeyboardInterrupt  # as Python runs a signal handler when a call is done

    monkeypatch.setattr(native_calls, "running", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        native_calls.call_native(int)
    assert not native_calls.running


def test_the_end_waits_for_calls_under_way(monkeypatch):
    monkeypatch.setattr(native_calls, "began", False)
    inside, go_on, left = threading.Event(), threading.Event(), []

    def native():
        inside.set()
        go_on.wait()
        left.append(True)

    caller = threading.Thread(target=native_calls.call_native, args=(native,))
    caller.start()
    inside.wait()
    threading.Timer(0.1, go_on.set).start()
    native_calls._let_out()
    assert left == [True]
    caller.join(GUARD_S)


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("attempt", range(3))
def test_the_interpreter_ends_cleanly_while_threads_are_at_work(run_python, exported, daemon, attempt):
    done = run_python(
        """
import sys, threading, time
import numpy as np, aetool
daemon = sys.argv[2] == "True"
model = aetool.load(sys.argv[1])
rows = np.random.default_rng(0).normal(size=(3000, 30))
started = threading.Barrier(5)
def work():
    started.wait()
    until = time.monotonic() + 0.5
    while daemon or time.monotonic() < until:
        model.score(rows)
        model.encode(rows[:3])
for _ in range(4):
    threading.Thread(target=work, daemon=daemon).start()
started.wait()
time.sleep(0.1)
""",
        exported,
        daemon,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_exit_handlers_may_still_use_the_model(run_python, exported):
    done = run_python(
        """
import atexit, sys
atexit.register(lambda: print(model.score([[1.0] * 30] * 600).shape))
import aetool
atexit.register(lambda: print(model.score([[1.0] * 30] * 600).shape))
model = aetool.load(sys.argv[1])
""",
        exported,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(600,)\n(600,)\n", "")


def test_an_interrupt_leaves_the_object_usable(model, many):
    expected = model.score(many)

    def interrupted():
        until = time.monotonic() + 1
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            while time.monotonic() < until:
                model.score(many)
        except KeyboardInterrupt:
            return True
        return False

    old = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        # Python drops one that comes while it runs what waits for the end of an object, such as a thread.
        assert any(interrupted() for _ in range(20))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    np.testing.assert_array_equal(model.score(many), expected)


@pytest.mark.parametrize("method", [*METHODS, "decode"])
def test_use_after_close_is_an_input_error(exported, rows, method):
    with aetool.load(exported) as model:
        model.score(rows)
    model.close()  # twice is fine
    with pytest.raises(InputError, match="breast-cancer: the session is closed; load the bundle again"):
        getattr(model, method)(np.ones((2, 120 if method == "decode" else 30)))
    assert model.n_features == 30


def test_closing_while_others_run_lets_them_finish(exported, many, engine):
    model = aetool.load(exported, provider=engine)
    expected = model.score(many)
    results = []

    def work():
        try:
            while True:
                results.append(model.score(many))
        except InputError:
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(results) < 8:
        pass
    model.close()
    for thread in threads:
        thread.join(GUARD_S)
        assert not thread.is_alive()
    for found in results:
        np.testing.assert_array_equal(found, expected)
