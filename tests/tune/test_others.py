"""How busy other processes keep the cores."""

import subprocess
import sys

from aetool.runtime.machine import usable_cores
from aetool.tune import _candidates as candidates
from aetool.tune._candidates import Others, physical_cores

SPIN = "import time; end = time.time() + 1.0\nwhile time.time() < end: pass"


def test_what_this_process_and_its_own_do_is_not_others(monkeypatch):
    monkeypatch.setattr(candidates, "_busy_s", candidates._own_s)  # a machine where nobody else does anything
    found = Others()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    assert found.share < 0.05  # and not the half or the whole of the cores; clocks are read one after another


def test_what_somebody_else_does_is(monkeypatch):
    clock = iter([0.0, 10.0])
    busy = iter([0.0, 10.0 * len(candidates.affinity()) * 0.4])
    monkeypatch.setattr(candidates.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(candidates, "_busy_s", lambda: next(busy))
    monkeypatch.setattr(candidates, "_own_s", lambda: 0.0)
    assert abs(Others().share - 0.4) < 1e-9


def test_this_machine_tells_how_busy_it_was():
    assert candidates._busy_s() > 0 and candidates._own_s() > 0


def test_there_is_a_core_and_no_more_than_may_be_used():
    assert 1 <= physical_cores() <= max(usable_cores(), len(candidates.affinity()))
