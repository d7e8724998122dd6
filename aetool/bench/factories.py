"""Factories of contestants: a bundle through aetool, and the same graph file through other runtimes' own APIs.

This module is executed alone in the contestant's process; the factories import what is timed.
"""

import base64
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

Phase = Callable[[str], AbstractContextManager[None]]

OUTPUT: Mapping[str, str] = {"encode": "embedding", "reconstruct": "reconstruction", "score": "score"}
"""Measured method -> the output that a caller gets."""
_OPENVINO_CHUNK = 1024
"""Rows of one of its requests where there are many: the fastest of 256 to 4,096 on the models of the README."""
REGISTERED = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Providers of the raw runtime: aetool's name -> onnxruntime's."""


def bundle(
    phase: Phase,
    *,
    path: str,
    graph: str,
    provider: Any,
    precision: str,
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> Any:
    """Load the bundle with `aetool.load(path)` and call its method `graph`: encode, reconstruct or score.

    With `settings`, of `aetool.runtime.settings`, no tuning file is looked for.
    """
    with phase("import"):
        import aetool
    options: dict[str, Any] = {} if threads is None else {"intra_op_num_threads": threads}
    if settings is not None:
        from aetool.runtime.settings import RunSettings

        options["settings"] = RunSettings(**settings)
    if limits is not None:
        options["limits"] = aetool.Limits(**limits)
    with phase("session_creation"):
        model = aetool.AutoencoderSession(path, provider=provider, precision=precision, **options)
        call = getattr(model, graph)
        call(np.empty((0, *model.input_shape), np.float32))  # sessions are made at first use
    from aetool.choices import CALLS  # after what is timed

    return SimpleNamespace(
        call=call,
        outputs=(OUTPUT[graph],),
        placement=lambda: dict(Counter(node.provider for node in model.placement(CALLS[graph]))),
        provider=model.provider,
    )


def raw_onnxruntime(
    phase: Phase, *, file: str, graph: str, provider: str = "cpu", threads: int | None = None
) -> Any:
    """Run onnxruntime as its documentation shows it: default options, `session.run`."""
    with phase("import"):
        # As aetool does: without it onnxruntime's telemetry thread runs beside the measurement.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime
    with phase("session_creation"):
        options = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=[REGISTERED[provider]])
    name, outputs = session.get_inputs()[0].name, [OUTPUT[graph]]
    return SimpleNamespace(
        call=lambda rows: session.run(outputs, {name: rows}), outputs=tuple(outputs), provider=provider
    )


def openvino(
    phase: Phase,
    *,
    file: str,
    graph: str,
    threads: int | None = None,
    precision: str | None = "f32",
    hint: str = "THROUGHPUT",
) -> Any:
    """Run OpenVINO's own API, on the CPU in float32.

    As its documentation advises: one request under the latency hint; many rows in chunks through a queue of
    requests under the throughput hint, which is made when the first such call comes.

    `precision` None is its own default: bfloat16 where the CPU has it, another computation. `hint` is for many
    rows.
    """
    with phase("import"):
        import openvino as runtime
    settings = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    with phase("session_creation"):
        core = runtime.Core()
        model = core.read_model(file)
        compiled = core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
        request = compiled.create_infer_request()
    output = [port.get_any_name() for port in compiled.outputs].index(OUTPUT[graph])
    queues: list[Any] = []
    whole: list[Any] = []

    def keep(done: Any, start: int) -> None:
        part = done.get_output_tensor(output).data
        whole[0][start : start + len(part)] = part

    def call(rows: Any) -> Any:
        if len(rows) <= _OPENVINO_CHUNK:
            # A result is a view into the request's memory: copied, as everybody else gives arrays of one's own.
            return request.infer(rows, share_inputs=True)[output].copy()
        if not queues:
            many = core.compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": hint})
            queues.append(runtime.AsyncInferQueue(many))
            queues[0].set_callback(keep)
        shape = compiled.outputs[output].get_partial_shape()
        whole[:] = [np.empty((len(rows), *(side.get_length() for side in list(shape)[1:])), np.float32)]
        for start in range(0, len(rows), _OPENVINO_CHUNK):
            queues[0].start_async(rows[start : start + _OPENVINO_CHUNK], start, share_inputs=True)
        queues[0].wait_all()
        return whole.pop()

    return SimpleNamespace(call=call, outputs=(OUTPUT[graph],), provider="cpu")


# The machine's peak rates: factories, each executed alone in its own process.

# A whole ONNX model: y = a @ b, float32, IR 8, opset 13.
_MATMUL = base64.b64decode(
    "CAgSADpeChEKAWEKAWISAXkiBk1hdE11bBIEcGVha1oVCgFhEhAKDggBEgoKAxIBbQoDEgFrWhUKAWISEAoOCAESCgoDEgFrCgMSAW5iFQoBeRIQCg4IARIKCgMSAW0KAxIBbkIECgAQDQ=="
)


def numpy_matmul(phase: Any, *, size: int) -> Any:
    """Compute rows @ b in numpy; variables of its BLAS set the number of threads."""
    second = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    product = np.empty((size, size), np.float32)

    def call(rows: Any) -> Any:
        return np.matmul(rows, second, out=product)

    return SimpleNamespace(call=call, outputs=("y",))


def onnxruntime_matmul(phase: Any, *, size: int, threads: int) -> Any:
    """Compute rows @ b in onnxruntime."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with phase("import"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with phase("session_creation"):
        session = onnxruntime.InferenceSession(_MATMUL, options, providers=["CPUExecutionProvider"])
    second = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    return SimpleNamespace(call=lambda rows: session.run(None, {"a": rows, "b": second}), outputs=("y",))


def copy(phase: Any) -> Any:
    """Copy the rows into memory that is allocated already."""
    target: list[Any] = []

    def call(rows: Any) -> Any:
        if not target:
            target.append(np.empty_like(rows))
        np.copyto(target[0], rows)
        return target[0]

    return SimpleNamespace(call=call, outputs=("copy",))


# Node times and placement of a graph file, from onnxruntime: factories.
#
# Each runs in its own process, since recording costs time and memory that no contestant should pay.

PROFILED_SECONDS, PROFILED_RUNS = 0.2, 5


def profiled(phase: Phase, *, file: str, provider: str, threads: int | None = None) -> Any:
    """Profile a graph file: a call gives two arrays, one entry per node: mean time in µs, and `node|operator`."""
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
    """Record the placement of a graph's nodes: execution provider -> nodes; None if onnxruntime cannot record
    it."""
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
    import onnxruntime

    return onnxruntime, onnxruntime.SessionOptions()
