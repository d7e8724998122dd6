"""Work on untrusted graphs in a process of its own, with limits on its memory and time.

Other people's programs run here: a generator of C, onnxruntime's converter, onnxruntime itself.
"""

import io
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.checks.first_run import run_apart
from aetool.errors import ExportError

Arrays = Mapping[str, NDArray[Any]]

_PROGRAM = Path(__file__).with_name("_work.py")
WORKS = {
    name: (_PROGRAM, work)
    for name, work in {"generation of C": "generate_c", "conversion": "convert", "a run": "run"}.items()
}
"""Name of a piece of work in messages -> the program that does it, and its name there."""
_MEMORY = 4 << 30
"""Memory of the process, in bytes, besides its graphs."""
_MEMORY_PER_BYTE = 16
"""Memory per byte of a graph's file: it is parsed, copied, and written again."""
_SECONDS = 600
FAILED = 3
"""Exit code of a worker that writes the reason to REASON."""
_REASON = "reason.json"


def in_child(work: str, folder: Path, where: str, *, memory: int | None = None, seconds: int = _SECONDS) -> None:
    """Do one of `WORKS` on the files in `folder`, where it also leaves what it makes.

    Args:
        work: a key of `WORKS`.
        folder: its working directory.
        where: what is worked on, for messages.
        memory: bytes of address space; by default 4 GiB and 16 times the size of the files.
        seconds: of wall-clock time, and of CPU time.

    Raises:
        ExportError: the work failed, crashed, or passed a limit.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    memory = memory or _MEMORY + _MEMORY_PER_BYTE * size
    ended = run_apart(*WORKS[work], str(memory), str(seconds), seconds=seconds, folder=folder)
    if ended.code == 0:
        return
    if ended.code == FAILED:
        reason = json.loads((folder / _REASON).read_text(encoding="utf-8"))
        raise ExportError(f"{where}: {reason}; use another target")
    reason = ended.complained or "no message"
    if ended.how is None:
        raise ExportError(f"{where}: {work} failed: {reason}; use another target")
    limits = f" within {memory / 2**30:.1f} GiB and {seconds} s ({reason})" if ended.code < 0 else ""
    raise ExportError(f"{where}: {work} {ended.how}{limits}; the graph may be hostile, use another target")


def run_graphs(runs: Mapping[str, tuple[bytes, NDArray[Any]]], ending: str, where: str) -> dict[str, Arrays]:
    """Run graphs with onnxruntime in one child: name -> outputs by name.

    Args:
        runs: name -> the graph's file, and the rows for it in float32.
        ending: of the files, ".onnx" or ".ort".
        where: the bundle, for messages.

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


# Shared by the processes `work_*`: limits, and the reason of a failure.

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]


class WorkError(Exception):
    """Error in the graph, in words."""


def run_limited(work: Callable[[], None]) -> int:
    """Do `work` on the files of the current directory within limits, and return the exit code."""
    memory, seconds = map(int, sys.argv[1:])
    if resource is not None:
        for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
            hard = resource.getrlimit(kind)[1]
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        work()
    except WorkError as error:
        Path(_REASON).write_text(json.dumps(str(error)), encoding="utf-8")
        return FAILED
    return 0
