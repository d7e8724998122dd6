"""What doctor says, also of drivers that crash, hang, print or compute wrongly."""

import json
import time

import numpy as np
import pytest

from aetool.checks import doctor
from aetool.checks.doctor import Finding
from aetool.runtime import machine
from aetool.runtime.providers import PROVIDERS


def said(**finding):
    return f"import sys; sys.stdout.write('hello\\n' + {json.dumps(json.dumps(finding))} + '\\n')"


def test_every_provider_is_tried_and_the_cpu_runs():
    findings = {finding.what: finding for finding in doctor.examine()}
    assert {f"provider {name}" for name in PROVIDERS} <= set(findings)
    assert findings["provider cpu"] == Finding("provider cpu", "runs", True)
    for name in ("cuda", "openvino"):
        found = findings[f"provider {name}"]
        assert found.ok or (found.ok is None and found.state and found.remedy)
    assert findings["threads"].state.startswith(f"{machine.usable_cores()} (cores ")


@pytest.mark.parametrize(
    ("child", "told"),
    [
        ("import os; os.abort()", "crashed (SIGABRT): without a word"),
        ("import sys; sys.exit(3)", "crashed (exit code 3): without a word"),
        ("raise SystemExit('no libcublas')", "crashed (exit code 1): no libcublas"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV): without a word"),
    ],
)
def test_a_driver_that_crashes_is_a_finding(monkeypatch, child, told):
    monkeypatch.setattr(doctor, "_CHILD", child)
    found = doctor.try_apart("cuda")
    assert (found.what, found.state, found.ok) == ("provider cuda", told, False)
    assert found.remedy


def test_a_driver_that_hangs_is_a_finding_and_not_waited_for(monkeypatch):
    monkeypatch.setattr(doctor, "_CHILD", "import time; time.sleep(600)")
    start = time.monotonic()
    found = doctor.try_apart("cuda", patience_s=0.5)
    assert (found.state, found.ok) == ("timed out after 0.5 s", False)
    assert time.monotonic() - start < 10


def test_a_driver_may_print(monkeypatch, capfd):
    monkeypatch.setattr(doctor, "_CHILD", said(what="provider cuda", state="runs", ok=True))
    assert doctor.try_apart("cuda") == Finding("provider cuda", "runs", True)
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_computes_wrongly_is_bad(monkeypatch):
    class Wrong:
        def run(self, names, feed):
            return [np.full((1, 1), 41, np.float32)]

    monkeypatch.setattr(doctor, "open_session", lambda *_, **__: Wrong())
    found = doctor.try_provider("cpu")
    assert (found.state, found.ok) == ("computes 41.0 for 21 + 21", False)


@pytest.mark.parametrize(
    ("installed", "ok", "told"),
    [
        ({"onnxruntime": "1.31.1"}, True, "onnxruntime 1.31.1"),
        ({}, False, "not installed"),
        ({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30.0"}, False, "overwrite each other"),
    ],
)
def test_one_distribution_of_onnxruntime_is_right(installed, ok, told):
    found = doctor._one_runtime(installed)
    assert found.ok is ok and told in found.state
    assert ok or "install aetool with the extra" in found.remedy


# cores


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """groups(own, {folder: cpu.max}): a machine whose process is in the group `own`."""

    def make(own, quotas):
        root = tmp_path / "cgroup"
        for folder, content in quotas.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "cpu.max").write_text(content)
        (tmp_path / "own").write_text(own)
        monkeypatch.setattr(machine, "CGROUPS", root)
        monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
        return machine.cores()

    return make


@pytest.mark.parametrize(
    ("own", "quotas", "quota"),
    [
        ("0::/\n", {"": "max 100000\n"}, None),
        ("0::/\n", {"": "150000 100000\n"}, 1.5),
        ("0::/app/worker\n", {"": "max 100000", "app": "200000 100000", "app/worker": "400000 100000"}, 2.0),
        ("0::/app\n", {"": "max 100000"}, None),
        ("1:cpu:/\n", {"": "150000 100000\n"}, None),
        ("0::/\n", {"": "nonsense"}, None),
        ("0::/../elsewhere\n", {"": "50000 100000"}, 0.5),
    ],
)
def test_the_smallest_quota_of_the_groups_counts(groups, own, quotas, quota):
    assert groups(own, quotas).quota == quota


@pytest.mark.parametrize(
    ("affinity", "quota", "usable"), [(8, None, 8), (8, 1.5, 2), (8, 0.2, 1), (2, 64.0, 2), (8, 3.0, 3)]
)
def test_usable_cores_are_the_affinity_under_the_quota(affinity, quota, usable):
    assert machine.Cores(64, affinity, quota).usable == usable
