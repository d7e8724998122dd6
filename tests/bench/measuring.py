"""What the tests of measurements share: where things are, whether a process ended, a row never measured."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from aetool.bench._statistics import histogram, latency_of, stability
from aetool.bench.result import Measured, Round

SUBJECTS = str(Path(__file__).with_name("subjects.py"))
EXPORTED = Path(__file__).parents[2] / "exported" / "breast-cancer"


def is_gone(pid):
    """Whether a process ends within a moment."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def measured(contestant="aetool", *, rounds=(1e-5, 1.01e-5, 1.02e-5, 1.01e-5, 1e-5), **changes):
    """A row of a result whose rounds took so many seconds a query."""
    turns = [np.full(100, round(seconds * 1e9)) for seconds in rounds]
    latencies = np.concatenate(turns) / 1e9
    made = Measured(
        contestant=contestant,
        graph="score",
        provider="cpu",
        precision="fp32",
        threads=None,
        batch=1,
        scenario="single-stream",
        placement={"CPUExecutionProvider": 7},
        import_s=0.1,
        session_creation_s=0.02,
        first_run_s=0.001,
        resident_after_load_bytes=50 << 20,
        peak_memory_bytes=60 << 20,
        samples=len(latencies),
        warm_up_samples=10,
        latency_s=latency_of(latencies),
        histogram=histogram(latencies),
        throughput_rows_per_s=1 / rounds[0],
        arrivals_per_s=None,
        rounds=tuple(Round(seconds, 1 / seconds) for seconds in rounds),
        stability=stability(turns),
        share_of_peak=0.25,
        profile=None,
    )
    return replace(made, **changes)
