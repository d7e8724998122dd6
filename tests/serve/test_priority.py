"""The threads that compute let the one that answers go first."""

import os
import sys
import threading
from pathlib import Path

import pytest

from aetool.serve._app import NICER, give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness on Linux alone")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_that_gives_way_and_those_it_starts_are_nicer_than_the_others():
    before = niceness()

    def yielding():
        give_way()
        return niceness(), in_thread(niceness)

    own, started = in_thread(yielding)
    assert own == started == min(19, before + NICER) > before
    assert niceness() == in_thread(niceness) == before


def test_giving_way_twice_is_no_error_at_the_end_of_the_scale():
    assert in_thread(lambda: [give_way() for _ in range(9)] and niceness()) == 19


def test_a_sandbox_that_forbids_it_is_no_error(monkeypatch):
    def forbidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)
    give_way()


def test_a_server_computes_in_nicer_threads_than_it_answers_in(server):
    def of(stat):
        return int(stat.read_text().rpartition(")")[2].split()[16])  # proc(5): field 19

    home = Path(f"/proc/{server.process.pid}")
    assert of(home / "stat") == niceness()
    assert max(of(stat) for stat in home.glob("task/*/stat")) == min(19, niceness() + NICER)
