"""Engines that compute the files of a run; on one machine, threads."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

from aetool.errors import InputError
from aetool.runtime.machine import usable_cores
from aetool.runtime.session import AutoencoderSession
from aetool.stream._file import Outcome, run_shard
from aetool.stream._inputs import InputFile
from aetool.stream._task import Task

Progress = Callable[[int, int], None]
"""Function that is called with the rows, and bytes of input, that were done since the last call."""


Outcomes = Generator[Outcome, None, None]


class Engine(Protocol):
    """Interface of what computes files, in any order; closing the generator stops the work."""

    def run(self, task: Task, sources: Sequence[InputFile], output: str, progress: Progress) -> Outcomes:
        """Yield the outcome of each of `sources`, as it is known."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Engine in this process; a worker has one file at a time, and its share of the cores to compute."""

    workers: int | None = None
    """Number of files at once; None: one for each core, and no more than there are files."""

    def __post_init__(self) -> None:
        """Refuse fewer than one worker."""
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers: expected 1 or more, found {self.workers}; leave it out for one per core")

    def run(self, task: Task, sources: Sequence[InputFile], output: str, progress: Progress) -> Outcomes:
        """Compute the files in threads; see `Engine`."""
        workers = min(self.workers or usable_cores(), max(1, len(sources)))
        stopped = threading.Event()
        with task.open(max(1, usable_cores() // workers)) as model, ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(_shard, model, task, source, output, progress, stopped) for source in sources]
            try:
                for job in as_completed(jobs):
                    yield job.result()
            finally:
                stopped.set()
                pool.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """Run that ended before its work was done."""


def _shard(
    model: AutoencoderSession,
    task: Task,
    source: InputFile,
    output: str,
    progress: Progress,
    stopped: threading.Event,
) -> Outcome:
    told = 0

    def advance(rows: int, share: float) -> None:
        nonlocal told
        if stopped.is_set():
            raise _StoppedError
        done = int(share * source.size)
        progress(rows, done - told)
        told = done

    return run_shard(model, task, source, output, advance)
