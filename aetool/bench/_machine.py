"""The machine that a result comes from, and its peak compute and copy rates."""

import os
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np

from aetool.bench.contestants import Contestant, Load, opened, wait_until_idle
from aetool.bench.result import Ceiling, MachineRecord
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.onnx_check.model import read_model
from aetool.runtime.machine import affinity, cores, cpu

PACKAGES = (
    "aetool",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-ep-openvino",
    "onnxscript",
    "openvino",
    "pyod",
    "torch",
)


def machine() -> MachineRecord:
    """Return CPU, cores, memory, versions and commit, by which results can be compared."""
    model, flags = cpu()
    return MachineRecord(
        cpu=model,
        cpu_flags=flags,
        cores=len(affinity()),
        affinity=tuple(affinity()),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        quota_cores=cores().quota,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        commit=_commit(),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    """Return the commit of the source tree that aetool runs from; "unknown" for an installed wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return "unknown"
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=root
        )
    except OSError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"


# Peak rates of this machine, measured with every result: a figure means little without its ceiling.

SIZE = 1536
"""Side of the square matrices: 9 MB each, more than a core's cache holds, and 7 GFLOP a product."""
COPY_BYTES = 128 << 20
_SECONDS = 0.4
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def ceiling(threads: tuple[int, ...] | None = None, seconds: float = _SECONDS) -> Ceiling:
    """Measure, each in a process of its own; by default for one thread and for all cores."""
    wanted = sorted(set(threads or (1, cores().usable)))
    peaks = {str(count): max(_matmul(contestant, seconds) for contestant in _products(count)) for count in wanted}
    return Ceiling(peaks, _copy(seconds))


def _products(threads: int) -> list[Contestant]:
    variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return [
        Contestant("numpy matmul", "aetool.bench.factories:numpy_matmul", {"size": SIZE}, variables),
        Contestant(
            "onnxruntime MatMul", "aetool.bench.factories:onnxruntime_matmul", {"size": SIZE, "threads": threads}
        ),
    ]


def _matmul(contestant: Contestant, seconds: float) -> float:
    rows = np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32)
    return 2 * SIZE**3 / _fastest(contestant, rows, seconds) / 1e9


def _copy(seconds: float) -> float:
    rows = np.ones((COPY_BYTES >> 12, 1 << 10), np.float32)
    return 2 * rows.nbytes / _fastest(Contestant("copy", "aetool.bench.factories:copy"), rows, seconds) / 1e9


def _fastest(
    contestant: Contestant, rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", seconds: float
) -> float:
    """Return the seconds of the fastest call on all rows: a peak is what was reached once."""
    with opened([contestant]) as (running,), tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "rows.npy", rows)
        running.load()
        running.take(path)
        load = Load(batch=len(rows), seconds=seconds, calls=3)
        running.warm(Load(batch=len(rows), seconds=seconds / 4, calls=1))
        wait_until_idle([running])
        return float(running.turn(load).latencies_ns.min()) / 1e9


# Multiply-adds of a graph, read from the ONNX file's bytes without the package onnx.

_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
_OTHERS = ("Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "Attention", "Einsum", "Loop", "Scan", "If")
_THROUGH = ("DequantizeLinear", "QuantizeLinear", "Cast", "Transpose", "Identity")
"""Operators that may lie between a weight and its product."""


def multiply_adds_per_row(model: bytes, limits: Limits = DEFAULT_LIMITS) -> int | None:
    """Count the multiply-adds of all products with a constant matrix; None if the graph has other arithmetic.

    Each such matrix, (in, out), is in * out multiply-adds for one row.
    """
    graph = read_model(model, limits.depth, limits.nodes).graph
    sizes = {tensor.name: tensor.dims[0] * tensor.dims[1] for tensor in graph.constants if len(tensor.dims) == 2}
    total = 0
    for node in graph.nodes:
        operator = node.operator.rpartition(".")[2]  # onnxruntime's own alike
        if operator in _OTHERS:
            return None
        if operator in _THROUGH and node.inputs and node.outputs:
            sizes[node.outputs[0]] = sizes.get(node.inputs[0], 0)
        elif operator in _PRODUCTS:
            if not (size := max((sizes.get(name, 0) for name in node.inputs), default=0)):
                return None  # neither operand is a constant matrix
            total += size
    return total
