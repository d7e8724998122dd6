"""Files computed by actors of Ray, on one machine or a cluster.

Ray's actors and not Ray Data: a run promises one output for each input, whole or not at all. Ray Data cuts its
input into blocks of its own, and what it writes for a block that is tried again stands beside what the first try
wrote. Here an actor gets a file, and a file that is tried again takes the place of itself.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Read when Ray is imported. Off, unless the variable was set before.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayTaskError

from aetool.errors import AetoolError, InputError, reason_of
from aetool.runtime.machine import usable_cores
from aetool.stream._engines import Outcomes, Progress
from aetool.stream._file import Outcome, run_shard
from aetool.stream._inputs import InputFile
from aetool.stream._task import Task

RETRIES = 3
"""Number of retries of a file after its process died."""
_DEPTH = 2
"""Number of files that an actor has at once: one to compute, one that waits for it."""


class RayWorker:
    """Actor: a bundle, opened once, with one thread to compute and one to decode."""

    def __init__(self, task: Task, output: str) -> None:
        """Open the bundle."""
        pa.set_cpu_count(1)
        self._task, self._output = task, output
        self._model = task.open(1)

    def run(self, source: InputFile) -> Outcome:
        """Compute one file."""
        return run_shard(self._model, self._task, source, self._output)


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Engine of Ray actors, each with one core; paths must be the same on every machine."""

    workers: int | None = None
    """Number of actors; None: as many as Ray has cores, and no more than there are files."""
    address: str | None = None
    """Address of a cluster, or "auto"; None: the Ray that this process is connected to, or a new one for the
    run."""
    gpus_per_worker: float = 0.0
    """GPUs of each actor; with 0.25 four share one."""

    def __post_init__(self) -> None:
        """Refuse values that are too small."""
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers: expected 1 or more, found {self.workers}; leave it out for one per core")
        if self.gpus_per_worker < 0:
            raise InputError(
                f"gpus_per_worker: expected 0 or more, found {self.gpus_per_worker}; 0.5 is half of one"
            )

    def run(self, task: Task, sources: Sequence[InputFile], output: str, progress: Progress) -> Outcomes:
        """Compute the files by actors; see `aetool.stream._engines.Engine`."""
        if not sources:
            return
        own = not ray.is_initialized()  # else the program's, which goes on after the run
        if own:
            self._connect()
        try:
            yield from self._run(task, sources, output, progress)
        except RayTaskError as error:
            if isinstance(error.cause, AetoolError):
                raise error.cause from error
            raise
        finally:
            if own:
                ray.shutdown()

    def _connect(self) -> None:
        common = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address is None:
                cores = self.workers or usable_cores()
                ray.init(address="local", num_cpus=cores, include_dashboard=False, **common)
            else:
                ray.init(address=self.address, **common)
        except Exception as error:  # a node that does not start raises no class of its own
            raise InputError(
                f"no Ray at {self.address or 'this machine'}: {reason_of(error)}; check --address, and "
                "RAY_AUTH_MODE and the token, which must be the cluster's"
            ) from error

    def _run(self, task: Task, sources: Sequence[InputFile], output: str, progress: Progress) -> Outcomes:
        available = int(ray.cluster_resources().get("CPU", 1))
        # A process that dies is started anew, and has the files again that it had.
        kind: Any = ray.remote(RayWorker).options(
            num_cpus=1, num_gpus=self.gpus_per_worker, max_restarts=-1, max_task_retries=RETRIES
        )
        actors = [kind.remote(task, output) for _ in range(min(self.workers or available, len(sources)))]
        waiting = iter(sources)
        running: dict[Any, tuple[Any, InputFile]] = {}

        def give(actor: Any) -> None:
            if (source := next(waiting, None)) is not None:
                running[actor.run.remote(source)] = actor, source

        for _ in range(_DEPTH):
            for actor in actors:
                give(actor)
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, source = running.pop(done)
            give(actor)
            outcome = _outcome(done, source)
            if outcome.counts is not None:
                progress(outcome.counts.rows, source.size)
            yield outcome


def _outcome(done: Any, source: InputFile) -> Outcome:
    try:
        outcome: Outcome = ray.get(done)
        return outcome
    except RayActorError as error:
        died = f"its worker died {RETRIES + 1} times ({reason_of(error)}); more memory, or leave it out"
        return Outcome(source, None, f"{source.path}: {died}")
