"""What onnxruntime itself tells of a graph file: factories, like `aetool.bench.peers`.

Each in a process of its own, since recording costs time and memory that no contestant should pay.
"""

import importlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Phase = Callable[[str], AbstractContextManager[None]]

REGISTERED = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Those that can be inspected: aetool's name -> onnxruntime's."""
PROFILED_SECONDS, PROFILED_RUNS = 0.2, 5


def profiled(phase: Phase, *, file: str, provider: str, threads: int | None = None) -> Any:
    """A call gives two arrays, one entry a node: mean time in microseconds, and `node|operator`."""
    onnxruntime, options = _options()
    options.enable_profiling = True
    options.intra_op_num_threads = threads or 1

    def call(rows: Any) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(file, options, providers=[REGISTERED[provider]])
            name = session.get_inputs()[0].name
            end, runs = time.perf_counter() + PROFILED_SECONDS, 0
            while runs < PROFILED_RUNS or time.perf_counter() < end:
                session.run(None, {name: rows})
                runs += 1
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        took: dict[str, float] = {}
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                node = f"{event['name'].removesuffix('_kernel_time')}|{event['args'].get('op_name', '')}"
                took[node] = took.get(node, 0.0) + event["dur"] / runs
        return np.array(list(took.values())), np.array(list(took))

    return SimpleNamespace(call=call, outputs=("us", "node"))


def placed(phase: Phase, *, file: str, provider: str, threads: int | None = None) -> Any:
    """Its `placement`: execution provider -> nodes, as recorded; None from an onnxruntime that cannot tell."""
    onnxruntime, options = _options()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(file, options, providers=[REGISTERED[provider]])
    found = None
    if hasattr(session, "get_provider_graph_assignment_info"):  # since 1.24.1
        counts: Counter[str] = Counter()
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        found = dict(counts)
    return SimpleNamespace(call=None, outputs=(), placement=found)


def _options() -> tuple[Any, Any]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    onnxruntime = importlib.import_module("onnxruntime")
    return onnxruntime, onnxruntime.SessionOptions()
