"""Commands that write something, run as real processes that a test can kill at any moment.

One process imports everything and runs each command once itself; then it forks for each, so that a kill hits the
command's own work and not its imports.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aetool.bundle.bundle import Bundle

_SCRIPT = """
import functools, gc, json, os, sys
import torch
import aetool.export, aetool.quantize
from aetool.cli import main
from quick_exports import keep_tables

keep_tables()
gc.set_threshold(20_000)

# A kill is to hit what writes, and not three seconds of measuring how fast that is.
aetool.quantize.QuantizeOptions = functools.partial(aetool.quantize.QuantizeOptions, rounds=1, seconds=0.01)
torch.set_num_threads(1)  # no pool of threads, which a fork would not have
answers, requests = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(0))
null = os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(null, descriptor)
for line in requests:
    arguments, apart = json.loads(line)
    gc.freeze()  # a child that looked for garbage among all this would copy it
    pid = os.fork() if apart else os.getpid()
    if pid == 0 or not apart:
        try:
            main(arguments)
        except SystemExit as end:
            if apart:
                os._exit(end.code)
            code = end.code
    print(pid, file=answers, flush=True)
    if apart:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(code, file=answers, flush=True)
"""


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Runner:
    """Runs commands of aetool, one at a time."""

    def __enter__(self) -> "Runner":
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], stdin=-1, stdout=-1, text=True, env=_environment()
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, arguments: Sequence[object], kill_after_s: float | None = None, *, apart: bool = True) -> int:
        """The exit code; -9 where the kill came before the end. Not `apart`: in the process that forks."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([[str(argument) for argument in arguments], apart]) + "\n")
        self._process.stdin.flush()
        pid = int(self._line())
        if kill_after_s is not None and not select.select([self._process.stdout], [], [], kill_after_s)[0]:
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(pid, signal.SIGKILL)
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(frozen=True)
class Writing:
    """A command that writes `-o`, or in the place of OUT, once for the old result and once for the new one."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    state: Callable[[Path], str]
    """Of a whole result, what tells the old one from the new one; raises for anything else."""


def line(words: Sequence[str], sources: Path, out: Path) -> list[object]:
    """`words` as a command line that writes `out`; those that are files of `sources` are taken from there."""
    given = [out if word == OUT else sources / word if (sources / word).exists() else word for word in words]
    return [*given, *([] if OUT in words else ["-o", out]), "--overwrite"]


def bundle_state(path: Path) -> str:
    return Bundle.open_whole(path).manifest.name


def precisions_state(path: Path) -> str:
    return " ".join(Bundle.open_whole(path).manifest.variants)


def checkpoint_state(path: Path) -> str:
    from aetool.model import load_checkpoint

    return str(len(load_checkpoint(path).history))


def table_state(path: Path) -> str:
    return str(np.load(path).shape)


OUT = "OUT"
ANY_COST = ("--max-flips", "1", "--max-auroc-drop", "1", "--min-speedup", "0")
TRAIN = ("train", "train.csv", "--label", "broken", "--drop", "id")
WRITING = {
    "train": Writing((*TRAIN, "--epochs", "1"), (*TRAIN, "--epochs", "2"), checkpoint_state),
    "export": Writing(
        ("export", "checkpoint", "--name", "old"), ("export", "checkpoint", "--name", "new"), bundle_state
    ),
    "score": Writing(("score", "bundle", "new.csv"), ("score", "bundle", "train.csv"), table_state),
    "quantize": Writing(
        ("export", "checkpoint", "--name", "quantized"),
        ("quantize", OUT, "--data", "train.csv", "--label", "broken", "--precision", "bf16", *ANY_COST),
        precisions_state,
    ),
}
"""A command that writes something is added here, and is killed like the others."""
ENDINGS = {"score": ".npy"}
