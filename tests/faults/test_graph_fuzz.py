"""What the check says of graphs made at random is held against onnxruntime itself, in processes of their own."""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from bundle_workers import long_or
from graph_fuzzer import made, one_byte_changed

GRAPHS = long_or(500, 20_000)
PATIENCE_S = 20.0
"""Of its own CPU time, which does not pass while others have the machine."""
CHECK_S = 5.0
WORKER = Path(__file__).with_name("graph_worker.py")
RAN = {"ran", "refused", "refused by onnxruntime"}


class Process:
    """A worker; a new one takes its place when it dies."""

    def __init__(self, log):
        self._log = log
        self._start()

    def _start(self):
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen([sys.executable, WORKER], stdin=-1, stdout=-1, stderr=stream)
        assert self._process.stdout.readline() == b"ready\n"
        self._used = 0

    def use(self, content):
        """Outcome, seconds of check, bytes used, bytes bound, reason; an outcome that is a fault in words."""
        self._used += 1
        if self._used > 2000:  # what onnxruntime leaves behind would add up
            self.close()
            self._start()
        self._process.stdin.write(f"{len(content)}\n".encode() + content)
        self._process.stdin.flush()
        told = self._wait()
        line = self._process.stdout.readline() if told else b""
        if line:
            return json.loads(line)
        self.close()
        fault = f"died ({self._process.returncode})" if told else "hung"
        self._start()
        return fault, 0.0, 0, 1, ""

    def _wait(self):
        until, start = time.monotonic() + 300, self._cpu_s()
        while time.monotonic() < until and self._cpu_s() < start + PATIENCE_S:
            if select.select([self._process.stdout], [], [], 0.5)[0]:
                return True
        return False

    def _cpu_s(self):
        times = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self._process.kill()
        self._process.communicate()


def tried(graphs, log):
    """Outcomes, and the faults among them."""
    process, outcomes, faults, fullest = Process(log), Counter(), [], []
    try:
        for seed, what, content in graphs:
            outcome, took, used, bound, _ = process.use(content)
            fullest = sorted([*fullest, (round(used / max(1, bound), 2), used >> 20, seed, what)])[-5:]
            if used > bound:
                outcome = f"used {used:,} of {bound:,}"
            if took > CHECK_S:
                outcome = f"checked for {took:.1f} s"
            outcomes[outcome.split(":")[0].split(" of ")[0] if outcome not in RAN else outcome] += 1
            if outcome not in RAN:
                faults.append((seed, what, outcome))
                log.with_suffix(f".{seed}.onnx").write_bytes(content)
    finally:
        process.close()
    print(
        f"\n{sum(outcomes.values()):,} graphs: {dict(outcomes)}; {faults[:40]}; "
        f"the fullest (of the bound, MB): {fullest}"
    )
    return outcomes, faults


def test_no_graph_that_is_let_in_crashes_hangs_or_takes_more_than_its_bound(tmp_path):
    outcomes, faults = tried(((seed, *made(seed)[::-1]) for seed in range(GRAPHS)), tmp_path / "log")
    assert faults == []
    assert outcomes["ran"] > GRAPHS / 10 and outcomes["refused"] > GRAPHS / 10


def test_nor_does_one_with_a_byte_changed(tmp_path):
    random = np.random.default_rng(0)
    graphs = ((seed, "", one_byte_changed(made(seed)[0], random)) for seed in range(GRAPHS))
    outcomes, faults = tried(graphs, tmp_path / "log")
    assert faults == []
    assert outcomes["refused"] > GRAPHS / 10
