"""What onnxruntime tells of a measured graph file: which provider takes its nodes, and how long each takes."""

import tempfile
from pathlib import Path

import numpy as np

from aetool.bench.contestants import opened
from aetool.bench.grid import Plan, Setting
from aetool.bench.inspectors import REGISTERED
from aetool.bench.result import NodeTime
from aetool.bench.rows import Pool


def profile(plan: Plan, setting: Setting, provider: str, batch: int, pool: Pool) -> tuple[NodeTime, ...] | None:
    """Time of each node, by onnxruntime's own profiler, whose own time is in it; None for other providers."""
    if provider not in REGISTERED:
        return None
    with (
        tempfile.TemporaryDirectory(prefix="aetool-bench-") as folder,
        opened([setting.inspector("profiled", plan.bundle, provider)]) as (running,),
    ):
        np.save(rows := Path(folder) / "rows.npy", pool.rows[:batch])
        running.load()
        running.take(rows)
        found = running.outputs()
    names = [str(name).partition("|") for name in found["node"]]
    return tuple(NodeTime(node, op, float(us)) for (node, _, op), us in zip(names, found["us"], strict=True))


def placement(plan: Plan, setting: Setting, provider: str) -> dict[str, int] | None:
    """Execution provider -> nodes, as onnxruntime records it; None for other providers."""
    if provider not in REGISTERED:
        return None
    with opened([setting.inspector("placed", plan.bundle, provider)]) as (running,):
        running.load()
        return running.placement()
