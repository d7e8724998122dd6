"""Programs on an agent's directory: whichever model is current, changed over between two calls."""

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import aetool
from aetool import BundleError, InputError
from aetool.release import status_of
from aetool.runtime.following import add_to_report

ROWS = np.random.default_rng(3).normal(1, 0.1, (5, 30)).astype(np.float32)
CHANGES = 500 if os.environ.get("AETOOL_LONG") else 20


@pytest.fixture
def device(site):
    site.push("a")
    site.poll()
    return site


def thresholds(site):
    """Version -> threshold: a, b and c differ by it."""
    found = {}
    for entry in (site.device / "versions").iterdir():
        found[entry.name] = aetool.load(entry).threshold
    return found


def test_each_call_is_computed_by_the_current_model(device):
    with aetool.follow(device.device, look_s=None) as model:
        with model.current() as first:
            assert first.manifest.id[:12] == model.version[:12] == device.current.name[:12]
        assert (model.score(ROWS) == aetool.load(device.made / "a").score(ROWS)).all()
        device.push("b")
        device.poll()
        assert model.version[:12] == first.manifest.id[:12]  # until it looks
        assert model.refresh() and not model.refresh()
        assert (model.detect(ROWS) == aetool.load(device.made / "b").detect(ROWS)).all()
        assert model.version == device.current.name
        assert (model.encode(ROWS) == aetool.load(device.made / "b").encode(ROWS)).all()
        assert (model.reconstruct(ROWS) == aetool.load(device.made / "b").reconstruct(ROWS)).all()


def test_a_call_in_progress_ends_on_the_model_that_it_began_with(device):
    with aetool.follow(device.device, look_s=None) as model, model.current() as first:
        before = first.threshold
        device.push("b")
        device.poll()
        device.push("c")
        device.poll()  # the directory of the first is gone
        assert model.refresh()
        assert first.threshold == before != aetool.load(device.current).threshold
        for method in ("score", "detect", "encode", "reconstruct", "explain"):
            getattr(first, method)(ROWS)


def test_a_thread_looks_by_itself_and_ends_with_the_object(device):
    model = aetool.follow(device.device, look_s=0.01)
    device.push("b")
    device.poll()
    end = time.monotonic() + 30
    while model.version != device.current.name and time.monotonic() < end:
        time.sleep(0.01)
    assert model.version == device.current.name
    thread = next(each for each in threading.enumerate() if each.name == "aetool-follow")
    del model
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_switches_under_load_give_no_failing_and_no_mixed_answer(device):
    """Each answer's version names the threshold that decided it; the graphs of one call are of one bundle."""
    device.push("b", channel="other")
    device.poll(channel="other")
    known = thresholds(device)
    assert len(set(known.values())) == 2
    names, faults, done = sorted(known), [], threading.Event()
    with aetool.follow(device.device, look_s=0.001) as model:

        def load():
            while not done.is_set():
                try:
                    with model.current() as current:
                        found = current.threshold, current.run("detector", ROWS)["is_anomaly"]
                        version = next(name for name in names if name[:12] == current.manifest.id[:12])
                        right = ~(current.score(ROWS) <= np.float32(known[version]))
                    if found[0] != known[version] or (found[1] != right).any():
                        faults.append((version, found))
                    model.score(ROWS)
                except Exception as error:  # noqa: BLE001 - whatever it is
                    faults.append(error)

        clients = [threading.Thread(target=load) for _ in range(2)]
        for client in clients:
            client.start()
        seen = set()
        for change in range(CHANGES):
            link(device.device, names[change % 2])
            end = time.monotonic() + 60
            while model.version != names[change % 2] and time.monotonic() < end:
                time.sleep(0.001)
            seen.add(model.version)
        done.set()
        for client in clients:
            client.join()
    assert faults == [] and seen == set(names)
    assert status_of(device.device).reported.errors == 0


def link(folder, version):
    """What an agent does at a switch."""
    (folder / ".new").symlink_to(Path("versions", version))
    (folder / ".new").replace(folder / "current")


def test_a_model_that_does_not_open_in_the_program_is_taken_back_by_the_agent(device):
    first = device.current.name
    with aetool.follow(device.device, look_s=None) as model:
        second = device.push("b")
        device.poll()
        (device.current / "encoder.onnx").write_bytes(b"rot")
        assert not model.refresh() and model.version == first
        model.score(ROWS)
        with device.agent() as agent:
            assert agent.version == first  # the agent saw the damage too, at its start
        (device.device / "current").unlink()
        (device.device / "current").symlink_to(f"versions/{second}")
        assert status_of(device.device).reported.errors == 1
        assert "encoder.onnx" in status_of(device.device).reported.error


def test_errors_of_the_model_count_and_those_of_the_rows_do_not(device):
    with aetool.follow(device.device, look_s=None) as model:
        with pytest.raises(InputError):
            model.score(np.ones((2, 3)))
        with pytest.raises(RuntimeError), model.current():
            raise RuntimeError("no result from the pump")
        model.score(ROWS)
    found = status_of(device.device).reported
    assert (found.rows, found.errors, found.error) == (5, 1, "RuntimeError: no result from the pump")


def test_anomalies_under_a_threshold_of_the_programs_own_are_not_counted(device):
    with aetool.follow(device.device, threshold=1e-9, look_s=None) as model:
        assert model.detect(ROWS).all()
    assert status_of(device.device).reported.rows == 0


def test_reports_of_several_programs_add_up(device):
    for _ in range(2):
        with aetool.follow(device.device, look_s=None) as model:
            model.score(ROWS)
            model.detect(ROWS[0])
    assert status_of(device.device).reported.rows == 12


def test_programs_that_report_at_the_same_time_lose_no_row(device):
    version = device.current.name

    def add():
        for _ in range(50):
            add_to_report(device.device, version, 3, 1, 0, "", 30)

    programs = [threading.Thread(target=add) for _ in range(4)]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    found = status_of(device.device).reported
    assert (found.rows, found.flagged) == (600, 200)
    assert [entry.name for entry in (device.device / "reports").iterdir()] == [f"{version}.json"]


def test_after_a_fork_the_child_follows_and_reports_for_itself(device):
    script = """
import os, sys, time, numpy as np, aetool
model = aetool.follow(sys.argv[1], look_s=0.01)
model.score(np.ones((5, 30)))
if (child := os.fork()) == 0:
    first = model.version
    model.score(np.ones((3, 30)))
    open(sys.argv[2], "w").close()
    while model.version == first:
        time.sleep(0.01)
    model.score(np.ones((2, 30)))
    sys.exit(0)
_, code = os.waitpid(child, 0)
sys.exit(code)
"""
    ready = device.device.parent / "ready"
    process = subprocess.Popen([sys.executable, "-c", script, str(device.device), str(ready)])
    end = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < end:
        time.sleep(0.01)
    while status_of(device.device).reported.rows < 8 and time.monotonic() < end:
        time.sleep(0.01)
    assert status_of(device.device).reported.rows == 8  # 5 of the parent, 3 of the child
    device.push("b")
    device.poll()
    assert process.wait(60) == 0
    end = time.monotonic() + 60
    while status_of(device.device).reported.rows < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert status_of(device.device).reported.rows == 2


def test_a_program_that_ends_has_reported(device):
    script = "import sys, numpy as np, aetool; aetool.follow(sys.argv[1], look_s=60).score(np.ones((7, 30)))"
    subprocess.run([sys.executable, "-c", script, str(device.device)], check=True)
    assert status_of(device.device).reported.rows == 7


def test_without_a_model_the_message_says_how_to_get_one(tmp_path):
    with pytest.raises(BundleError, match=r"no model there yet .*aetool agent STORE"):
        aetool.follow(tmp_path)


def test_a_signature_can_be_required(device, tmp_path):
    with aetool.follow(device.device, require_signature=device.public, look_s=None) as model:
        model.score(ROWS)
    (device.current / "signature.json").unlink()
    with pytest.raises(BundleError, match="is not signed"):
        aetool.follow(device.device, require_signature=device.public)
