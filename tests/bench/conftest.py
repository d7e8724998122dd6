"""Contestants whose factories are in subjects.py, and results that were never measured."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from measuring import SUBJECTS, measured

from aetool.bench.contestants import Contestant, opened
from aetool.bench.result import (
    Agreement,
    BenchResult,
    BundleRecord,
    Ceiling,
    GraphFile,
    MachineRecord,
    RatioRecord,
)


@pytest.fixture
def contestant():
    """(factory, name, **arguments) -> Contestant"""

    def made(factory, name="subject", **arguments):
        return Contestant(name, f"{SUBJECTS}:{factory}", arguments)

    return made


@pytest.fixture
def rows(tmp_path):
    """An NPY file of 512 rows of 4, all different."""
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(2048, dtype=np.float32).reshape(512, 4))
    return path


@pytest.fixture
def ready(contestant, rows):
    """(factory, **arguments) -> context manager: a process, loaded and with rows taken."""

    @contextmanager
    def made(factory, **arguments):
        with opened([contestant(factory, **arguments)]) as (running,):
            running.load()
            running.take(rows)
            yield running

    return made


@pytest.fixture
def result():
    """(*rows, machine changes) -> BenchResult"""

    def made(*rows, **machine):
        record = MachineRecord(
            cpu="A processor",
            cpu_flags=("avx2", "fma"),
            cores=2,
            affinity=(0, 1),
            memory_bytes=8 << 30,
            quota_cores=None,
            system="Linux 6",
            python="3.12.1",
            packages={"onnxruntime": "1.31.1"},
            commit="abc1234",
        )
        return BenchResult(
            created="2026-01-02T03:04:05Z",
            command=("aetool", "bench", "machines"),
            machine=replace(record, **machine),
            ceiling=Ceiling({"1": 100.0, "2": 200.0}, 25.0),
            bundle=BundleRecord("machines", "f" * 64, 30, 12, {"score": GraphFile("0" * 64, 1000, 720)}),
            parameters={"seed": 0, "rounds": 5, "seconds": 0.3, "rows": "25 golden rows"},
            agreement=(Agreement("aetool", "score", "score", 1e-7, "25 golden rows"),),
            results=rows or (measured(), measured("raw-onnxruntime")),
            ratios=(
                RatioRecord(
                    "score", "cpu", "fp32", None, 1, "single-stream", "aetool", "raw-onnxruntime",
                    1.0, None, 1.0, (0.9, 1.1),
                ),
            ),
        )  # fmt: skip

    return made
