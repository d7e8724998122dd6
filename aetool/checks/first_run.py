"""The first run of foreign graphs, in a process of its own, which a crash may end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.errors import AetoolError, BundleError
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS
from aetool.runtime.session import load

# Run a program on a stranger's graphs in a process of its own: what ends it ends no command of aetool.


class Ended(NamedTuple):
    """End of a process, and its last lines on stdout and on stderr."""

    how: str | None
    """Kind of end, such as `crashed (SIGSEGV)` or `timed out after 600 s`; None where it ended by itself."""
    code: int
    said: str
    complained: str


def run_apart(program: Path, *arguments: str, seconds: float, folder: Path | None = None) -> Ended:
    """Run a file of Python, in `folder`, with this process's import path; it is stopped after `seconds`."""
    # What counts threads by these is numpy's and other people's: no graph here is worth more than one.
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    packages = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(program), *arguments], cwd=folder, stdin=subprocess.DEVNULL,
            env={**os.environ, **one_thread, "PYTHONPATH": packages}, capture_output=True, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Ended(f"timed out after {seconds:g} s", 1, _last_line(error.stdout), "")
    how = None if done.returncode >= 0 else _signal(-done.returncode)
    return Ended(how, done.returncode, _last_line(done.stdout), _last_line(done.stderr))


def _signal(number: int) -> str:
    names = {int(known): known.name for known in signal.Signals}
    memory = ", out of memory?" if names.get(number) == "SIGKILL" else ""
    return f"crashed ({names.get(number, f'signal {number}')}{memory})"


def _last_line(output: bytes | None) -> str:
    lines = (output or b"").decode("utf-8", "replace").split("\n")
    return next((" ".join(line.split())[:200] for line in reversed(lines) if line.strip()), "")


PATIENCE_S = 600.0
_FEW = 7
_PROGRAM = Path(__file__)


def crash_of(model: bytes, rows: NDArray[Any], patience_s: float = PATIENCE_S) -> str | None:
    """Run an ONNX model of one input in a child process, on one row and on all, and return how it crashed.

    Args:
        model: the serialised model.
        rows: rows of its input.
        patience_s: seconds until the process is stopped.

    Returns:
        How the process ended, such as `crashed (SIGSEGV)`. None where the model ran, or failed with an error: the
        next run in this process raises that again.
    """
    with tempfile.TemporaryDirectory(prefix="aetool-first-run-") as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        np.save(Path(folder) / "rows.npy", rows)
        return run_apart(_PROGRAM, "model", folder, seconds=patience_s).how


def require_first_run(path: str | Path, patience_s: float = PATIENCE_S) -> None:
    """Run every graph of the bundle at `path` in a child process, on golden rows, before this one does.

    Raises:
        BundleError: a graph crashes its process; the message names it.
    """
    ended = run_apart(_PROGRAM, "bundle", str(path), seconds=patience_s)
    # An exit code is Python's: memory that was refused, say. Who runs the graph next gets that in words.
    if ended.how is not None:
        raise BundleError(
            f"{path}: {ended.said or 'a graph'} {ended.how} in onnxruntime; update onnxruntime, or export the "
            "bundle again"
        )


def _child() -> None:
    """Run the child process: it prints each step before it begins; a Python error is not reported here."""
    kind, path = sys.argv[1:]
    if kind == "model":
        _run_model(Path(path))
        return
    with contextlib.suppress(AetoolError):
        bundle = Bundle.open(path)
        golden = read_golden(bundle)
        for precision in bundle.manifest.variants:
            _run_bundle(path, precision, golden)


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


if __name__ == "__main__":
    _child()
