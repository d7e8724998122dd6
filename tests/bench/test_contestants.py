"""Contestants in processes of their own: what they say, how they fail, and that they end."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from measuring import SUBJECTS, is_gone

from aetool.bench import contestants
from aetool.bench.contestants import Contestant, Load, opened, wait_until_idle
from aetool.errors import BenchmarkError, ProviderError


def test_what_it_took_to_load_is_told_apart(contestant):
    with opened([contestant("adds")]) as (running,):
        loaded = running.load()
    assert loaded.import_s >= 0.002 and loaded.session_creation_s >= 0.004
    assert loaded.outputs == ("y",)
    assert 0 < loaded.resident_before_bytes <= loaded.resident_after_bytes


def test_outputs_latencies_memory_placement_and_threads(ready, rows):
    with ready("adds", amount=2.0) as running:
        assert np.array_equal(running.outputs()["y"], np.load(rows) + 2)
        assert running.first() > 0
        assert running.warm(Load(batch=4, seconds=0.01)) >= 1
        turn = running.turn(Load(batch=4, seconds=0.05, calls=10))
        assert turn.latencies_ns.dtype == np.int64 and len(turn.latencies_ns) >= 10
        assert turn.rows == 4 * len(turn.latencies_ns)
        assert turn.latencies_ns.sum() / 1e9 <= turn.wall_s
        assert turn.rows_per_s == turn.rows / turn.wall_s
        assert running.peak_memory_bytes() > 1 << 20
        assert running.placement() == {"made-up": 3}
        (thread, *_) = running.threads()
        assert thread["cores"] == sorted(os.sched_getaffinity(0))


def test_no_two_queries_running_are_the_same(ready):
    with ready("alternates") as running:
        assert len(running.turn(Load(seconds=0.05)).latencies_ns) > 600  # more than there are rows
        running.turn(Load(scenario="multi-stream", batch=8, seconds=0.02))


def test_queries_arrive_on_their_own_and_wait_in_line(ready):
    with ready("waits", seconds=0.01) as running:
        turn = running.turn(Load(seconds=0.1, rate=300.0))
    assert len(turn.latencies_ns) == 30
    assert turn.latencies_ns.max() > 5 * 0.01e9  # three times more than it can answer: the line grows


def test_what_libraries_print_does_not_come_between_the_answers(ready):
    with ready("prints") as running:
        assert running.first() > 0
        assert running.placement() is None


def test_nothing_is_imported_before_the_factory_does_it(ready):
    with ready("tells_modules") as running:
        assert list(running.outputs()["modules"]) == []


def test_it_has_variables_of_its_own(rows):
    subject = Contestant("x", f"{SUBJECTS}:tells_variable", {"name": "OMP_NUM_THREADS"}, {"OMP_NUM_THREADS": "3"})
    with opened([subject]) as (running,):
        running.load()
        running.take(rows)
        assert list(running.outputs()["value"]) == ["3"]


# failures


@pytest.mark.parametrize("when", ["load", "call"])
def test_one_that_dies_is_named_with_its_last_words(contestant, rows, when):
    with opened([contestant("dies", "the mortal", when=when)]) as (running,):
        with pytest.raises(BenchmarkError, match=r"the mortal: .*exit code 7.* a last word"):
            running.load()
            running.take(rows)
            running.first()
        with pytest.raises(BenchmarkError, match="the mortal: first: its process"):
            running.first()


def test_one_that_is_killed_is_named_with_the_signal(ready):
    with ready("adds") as running:
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(BenchmarkError, match="signal SIGKILL"):
            running.first()


def test_one_that_raises_is_named_with_what_it_raised(contestant):
    failing = pytest.raises(BenchmarkError, match="the weak: load: RuntimeError: no such luck")
    with opened([contestant("raises", "the weak")]) as (running,), failing:
        running.load()


def test_an_error_of_aetool_stays_what_it_is(contestant):
    ours = pytest.raises(ProviderError, match=r"^provider 'cuda' is not here; use cpu$")
    with opened([contestant("raises_ours")]) as (running,), ours:
        running.load()


def test_one_that_does_not_answer_is_given_up(ready, monkeypatch):
    with ready("waits", seconds=600) as running:
        monkeypatch.setattr(contestants, "ANSWER_S", 0.3)
        with pytest.raises(BenchmarkError, match="subject: first: no answer within 0 s"):
            running.first()


@pytest.mark.parametrize(
    "factory", ["aetool.bench.nothing:here", "aetool.bench.factories:nothing", "nowhere.py:f"]
)
def test_a_factory_that_is_not_there_is_named(factory):
    with opened([Contestant("x", factory)]) as (running,), pytest.raises(BenchmarkError, match=r"nothing|nowhere"):
        running.load()


# they end


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_its_processes_are_gone_afterwards_whatever_happens(contestant, tmp_path, error):
    note = tmp_path / "pids"
    try:
        with opened([contestant("has_a_child", note=str(note)), contestant("adds")]) as running:
            for one in running:
                one.load()
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    pids = [int(pid) for pid in note.read_text().split()] + [one.pid for one in running]
    assert all(is_gone(pid) for pid in pids)


def test_ctrl_c_ends_them(tmp_path):
    note = tmp_path / "pids"
    code = (
        "import time\nfrom aetool.bench.contestants import Contestant, opened\n"
        f"with opened([Contestant('x', {SUBJECTS + ':has_a_child'!r}, {{'note': {str(note)!r}}})]) as (x,):\n"
        "    x.load()\n    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    process.stdout.close()
    assert all(is_gone(int(pid)) for pid in note.read_text().split())


def test_one_whose_parent_is_killed_ends_too(tmp_path):
    note = tmp_path / "pids"
    code = (
        "import os, signal\nfrom aetool.bench.contestants import Contestant, opened\n"
        f"with opened([Contestant('x', {SUBJECTS + ':adds'!r})]) as (x,):\n"
        f"    x.load()\n    open({str(note)!r}, 'w').write(str(x.pid))\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert is_gone(int(note.read_text()))


def test_idle_processes_are_not_waited_for(contestant):
    with opened([contestant("adds")]) as running:
        running[0].load()
        wait_until_idle(running)  # returns
