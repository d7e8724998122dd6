"""Work on a stranger's graphs in a process of its own, with limits on its memory and time.

Other people's programs run here: a generator of C, onnxruntime's converter, onnxruntime itself. What ends them
ends no command of aetool.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.errors import ExportError

Arrays = Mapping[str, NDArray[Any]]

WORKS = {
    name: Path(__file__).with_name(f"work_{file}.py")
    for name, file in {"generation of C": "generate_c", "conversion": "convert", "a run": "run"}.items()
}
"""What messages call a piece of work, and the program that does it."""
_MEMORY = 4 << 30
"""Bytes that the process may take, besides what its graphs need."""
_MEMORY_PER_BYTE = 16
"""Of a graph's file: it is parsed, copied, and written again."""
_SECONDS = 600
FAILED = 3
"""Exit code of a worker that tells why in REASON."""
REASON = "reason.json"


def in_child(work: str, folder: Path, where: str, *, memory: int | None = None, seconds: int = _SECONDS) -> None:
    """Do one of `WORKS` on the files in `folder`, where it also leaves what it makes.

    Args:
        where: what is worked on, for messages.
        memory: bytes of address space; by default 4 GiB and 16 times the size of the files.
        seconds: of wall-clock time, and of CPU time.

    Raises:
        ExportError: the work failed, crashed, or passed a limit.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    memory = memory or _MEMORY + _MEMORY_PER_BYTE * size
    command = [sys.executable, "-P", str(WORKS[work]), str(memory), str(seconds)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ExportError(
            f"{where}: {work} timed out after {seconds} s; the graph may be hostile, use another target"
        ) from error
    if done.returncode == 0:
        return
    if done.returncode == FAILED:
        reason = json.loads((folder / REASON).read_text(encoding="utf-8"))
        raise ExportError(f"{where}: {reason}; use another target")
    reason = _last_line(done.stderr) or "no message"
    if done.returncode > 0:
        raise ExportError(f"{where}: {work} failed: {reason}; use another target")
    raise ExportError(
        f"{where}: {work} crashed ({signal.Signals(-done.returncode).name}) within {memory / 2**30:.1f} GiB and "
        f"{seconds} s ({reason}); the graph may be hostile, use another target"
    )


def run_graphs(runs: Mapping[str, tuple[bytes, NDArray[Any]]], ending: str, where: str) -> dict[str, Arrays]:
    """Run graphs with onnxruntime in one child: name -> outputs by name.

    Args:
        runs: name -> the graph's file, and the rows for it in float32.
        ending: of the files, ".onnx" or ".ort".

    Raises:
        ExportError: one of them does not run.
    """
    with tempfile.TemporaryDirectory(prefix="aetool-") as folder:
        for name, (content, rows) in runs.items():
            Path(folder, f"{name}{ending}").write_bytes(content)
            np.save(Path(folder, f"{name}.npy"), rows)
        in_child("a run", Path(folder), where)
        found: dict[str, Arrays] = {}
        for name in runs:
            with np.load(io.BytesIO(Path(folder, f"{name}.npz").read_bytes()), allow_pickle=False) as archive:
                found[name] = dict(archive)
    return found


def _last_line(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").split("\n")
    return next((" ".join(line.split())[:200] for line in reversed(lines) if line.strip()), "")
