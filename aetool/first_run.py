"""The first run of somebody else's graphs, in a process of its own, which a crash may end."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bundle import Bundle
from aetool.errors import AetoolError, BundleError
from aetool.runtime.autoencoder import load
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import open_session
from aetool.selftest import read_golden

PATIENCE_S = 600.0
_FEW = 7
_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from aetool import first_run; first_run.child()"


def crash_of(model: bytes, rows: NDArray[Any], patience_s: float = PATIENCE_S) -> str | None:
    """Run an ONNX model of one input in a child process, on one row and on all, and tell how it ended that.

    Args:
        patience_s: seconds until the process is ended.

    Returns:
        How the process ended, such as `crashed (SIGSEGV)`. None where the model ran, or failed in words: whoever
        runs it next gets those.
    """
    with tempfile.TemporaryDirectory(prefix="aetool-first-run-") as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        np.save(Path(folder) / "rows.npy", rows)
        return _in_child("model", folder, patience_s)[0]


def require_first_run(path: str | Path, patience_s: float = PATIENCE_S) -> None:
    """Run every graph of the bundle at `path` in a child process, on golden rows, before this one does.

    Raises:
        BundleError: a graph ends its process; the message names it.
    """
    how, reached = _in_child("bundle", str(path), patience_s)
    if how is not None:
        raise BundleError(
            f"{path}: {reached} {how} in onnxruntime; update onnxruntime, or export the bundle again"
        )


def child() -> None:
    """What the child process does: it says on stdout what it begins; an error in words is none here."""
    kind, path = sys.argv[2:]
    if kind == "model":
        _run_model(Path(path))
        return
    with contextlib.suppress(AetoolError):
        bundle = Bundle.open(path)
        golden = read_golden(bundle)
        for precision in bundle.manifest.variants:
            _run_bundle(path, precision, golden)


def _in_child(kind: str, path: str, patience_s: float) -> tuple[str | None, str]:
    """How a child process ended, None if well; and what it said last."""
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), kind, path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said, _ = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return f"timed out after {patience_s:g} s", _last(said)
    except BaseException:  # Ctrl-C
        process.kill()
        process.wait()
        raise
    # An exit code is Python's: memory that was refused, say. Who runs the graph next gets that in words.
    return (_signal(-process.returncode) if process.returncode < 0 else None), _last(said)


def _last(said: str) -> str:
    return (said.split("\n")[:-1] or ["a graph"])[-1]


def _signal(number: int) -> str:
    names = {int(known): known.name for known in signal.Signals}
    memory = ", out of memory?" if names.get(number) == "SIGKILL" else ""
    return f"crashed ({names.get(number, f'signal {number}')}{memory})"


def _run_model(folder: Path) -> None:
    rows = np.load(folder / "rows.npy")
    with contextlib.suppress(Exception):
        session = open_session((folder / "model.onnx").read_bytes(), PROVIDERS["cpu"], where="the model")
        for batch in (rows[:1], rows):
            session.run(None, {session.get_inputs()[0].name: batch})


def _run_bundle(path: str, precision: str, golden: dict[str, NDArray[Any]]) -> None:
    with load(path, provider="cpu", precision=precision) as model:
        for graph in model.graphs:
            sys.stdout.write(f"{graph} in {precision}\n")
            sys.stdout.flush()
            rows = golden["embedding" if graph == "decoder" else "features"][:_FEW]
            for batch in (rows[:1], rows):
                model.run(graph, batch)
