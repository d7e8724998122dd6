"""Run a program on a stranger's graphs in a process of its own: what ends it ends no command of aetool."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """How a process ended, and its last lines on stdout and on stderr."""

    how: str | None
    """Such as `crashed (SIGSEGV)` or `timed out after 600 s`; None where it ended by itself."""
    code: int
    said: str
    complained: str


def run_apart(program: Path, *arguments: str, seconds: float, folder: Path | None = None) -> Ended:
    """Run a file of Python, in `folder`, with what this process imports; it is ended after so many seconds."""
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
