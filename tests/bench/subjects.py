"""Contestants for tests: factories that are run in processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def adds(phase, *, amount=1.0, outputs=("y",)):
    with phase("import"):
        time.sleep(0.002)
    with phase("session_creation"):
        time.sleep(0.004)
    return SimpleNamespace(call=lambda rows: rows + np.float32(amount), outputs=outputs, placement={"made-up": 3})


def waits(phase, *, seconds):
    def call(rows):
        time.sleep(seconds)
        return rows

    return SimpleNamespace(call=call, outputs=("y",))


def alternates(phase):
    """Remembers what it was called with: a row that comes twice running is an error."""
    last = []

    def call(rows):
        if last and np.array_equal(last[0], rows):
            raise ValueError("the same rows twice")
        last[:] = [rows.copy()]
        return rows

    return SimpleNamespace(call=call, outputs=("y",))


def prints(phase):
    def call(rows):
        print("a library that talks", flush=True)
        os.write(1, b"and one in C\n")
        return rows

    return SimpleNamespace(call=call, outputs=("y",))


def dies(phase, *, when="call", code=7):
    def die(rows=None):
        print("a last word", file=sys.stderr, flush=True)
        os._exit(code)

    if when == "load":
        die()
    return SimpleNamespace(call=die, outputs=("y",))


def raises(phase, *, text="no such luck"):
    raise RuntimeError(text)


def raises_ours(phase):
    from aetool.errors import ProviderError

    raise ProviderError("provider 'cuda' is not here; use cpu")


def has_a_child(phase, *, note):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(note).write_text(f"{os.getpid()} {child.pid}")
    return SimpleNamespace(call=lambda rows: rows, outputs=("y",))


def tells_modules(phase):
    with phase("import"):
        found = sorted(name for name in ("aetool", "onnxruntime", "torch") if name in sys.modules)
    return SimpleNamespace(call=lambda rows: np.array(found, dtype="U20"), outputs=("modules",))


def tells_variable(phase, *, name):
    return SimpleNamespace(call=lambda rows: np.array([os.environ.get(name, "")]), outputs=("value",))


def scores(phase, *, upside_down):
    """Scores (rows,) of which one is far away, and the others in their order or upside down."""

    def call(rows):
        near = np.arange(len(rows), dtype=np.float32)
        near = near[::-1].copy() if upside_down else near
        near[0] = 1e7
        return near

    return SimpleNamespace(call=call, outputs=("score",))
