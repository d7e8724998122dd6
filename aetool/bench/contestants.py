"""Contestants, each in a long-lived process: in one process their thread pools would disturb each other."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool import errors
from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import AetoolError, BenchmarkError

Rows = NDArray[np.float32]

ANSWER_S = 120.0
"""Time limit of a command, in seconds, on top of its own duration; torch.compile needs most of it."""
_WORKER = Path(__file__).with_name("_worker.py")
_STDERR_TAIL = 600
_IDLE_CHECK_S, _IDLE_LIMIT_S = 0.02, 2.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something to measure, in words: another process makes it."""

    name: str
    """Name in results."""
    factory: str
    """module:function, or file.py:function.

    Called as `function(phase, **arguments)`; it wraps its parts in `with phase("import")` and
    `with phase("session_creation")`, and gives an object with

        call(rows)   (rows, ...) float32 -> one array, or a sequence of arrays
        outputs      a name for each of these arrays
        placement    where it is known: execution provider -> nodes, or a function that gives it
        provider     where it is known: who runs it, in aetool's words

    The module is executed without its parent packages. It should import at its top only what is not to be timed.
    """
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """JSON."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its process, besides those of this one."""


def bundle_contestant(name: str, path: Path, limits: Limits, **arguments: Any) -> Contestant:
    """Return the contestant that runs the bundle at `path` through aetool; arguments as in `factories.bundle`."""
    if limits != DEFAULT_LIMITS:
        arguments["limits"] = limits._asdict()
    return Contestant(name, "aetool.bench.factories:bundle", {"path": str(path.absolute()), **arguments})


@dataclass(frozen=True, slots=True)
class Loaded:
    """Cost of getting a contestant ready."""

    import_s: float
    """Its libraries; numpy is there already, for everybody."""
    session_creation_s: float
    resident_before_bytes: int | None
    resident_after_bytes: int | None
    """Resident memory of the process before and after, bytes; None where the system does not report it."""
    outputs: tuple[str, ...]
    provider: str | None
    """Execution provider, by aetool's name; None if the contestant does not report it."""


@dataclass(frozen=True, slots=True)
class ContestantTurn:
    """Measurements of one contestant's turn."""

    latencies_ns: NDArray[np.int64]
    """Latency of every query, (queries,), in order, nanoseconds."""
    wall_s: float
    cpu_s: float
    """CPU time of all threads of the process, seconds."""
    rows: int
    """Answered."""

    @property
    def p50_s(self) -> float:
        """Return the median latency, in seconds."""
        return float(np.median(self.latencies_ns)) / 1e9

    @property
    def rows_per_s(self) -> float:
        """Return the throughput, in rows per second."""
        return self.rows / self.wall_s


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one turn."""

    batch: int = 1
    """Rows in one query."""
    seconds: float = 0.5
    calls: int = 1
    """At least so many queries, even if `seconds` have passed."""
    scenario: str = "single-stream"
    """See `aetool.bench.rounds`."""
    rate: float | None = None
    """Queries a second that arrive on their own; None: the next comes when the last is answered."""


class Running:
    """A contestant's process. Use `opened`, which ends it whatever happens.

    Raises (every method):
        BenchmarkError: it died, answered nothing in time, or failed; the message names it and the end of what it
            wrote on stderr.
        AetoolError: of the class that was raised in the process, where it was one of aetool's own.
    """

    def __init__(self, contestant: Contestant, scratch: Path) -> None:
        """Start the process."""
        self.contestant = contestant
        self.name = contestant.name
        self._files = Path(tempfile.mkdtemp(dir=scratch))
        self._unread = b""
        self._stderr = (self._files / "stderr").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **contestant.environment},
            start_new_session=True,  # Ctrl-C is for this process, which ends the others, and their own, itself
        )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def load(self) -> Loaded:
        """Let the factory make the contestant."""
        found = self._ask(
            "load", factory=self.contestant.factory, arguments=dict(self.contestant.arguments), path=sys.path
        )
        return Loaded(
            found["phases"].get("import", 0.0),
            found["phases"].get("session_creation", 0.0),
            found["resident_before"],
            found["resident_after"],
            tuple(found["outputs"]),
            found["provider"],
        )

    def take(self, rows: Path) -> None:
        """Take the rows of an NPY file; what is run from now on is run on them. Peak memory counts from here."""
        self._ask("take_rows", rows=str(rows))

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs for all rows taken, by name."""
        to = self._files / "outputs.npz"
        self._ask("outputs", to=str(to))
        with np.load(to, allow_pickle=False) as archive:
            return dict(archive)

    def first(self) -> float:
        """Run on one row, once: seconds."""
        return float(self._ask("first")["seconds"])

    def warm(self, load: Load, seed: int = 0) -> int:
        """Run a turn like `turn`, discard its measurements and return the number of queries."""
        return int(self._put_to("warm", load, seed)["samples"])

    def turn(self, load: Load, seed: int = 0) -> ContestantTurn:
        """Put it to `load`, and measure."""
        to = self._files / "latencies.npy"
        found = self._put_to("run", load, seed, rate=load.rate, to=str(to))
        latencies = np.load(to, allow_pickle=False)
        return ContestantTurn(latencies, found["wall_s"], found["cpu_s"], load.batch * len(latencies))

    def _put_to(self, command: str, load: Load, seed: int, **more: Any) -> dict[str, Any]:
        given = {"scenario": load.scenario, "batch": load.batch, "seconds": load.seconds, "calls": load.calls}
        return self._ask(command, load.seconds, **given, seed=seed, **more)

    def peak_memory_bytes(self) -> int | None:
        """Return the highest resident memory since the rows were taken, or since `forget_peak`, in bytes."""
        return self._ask("memory")["peak"]  # type: ignore[no-any-return]

    def forget_peak(self) -> None:
        """Restart the measurement of peak memory."""
        self._ask("forget_peak")

    def placement(self) -> dict[str, int] | None:
        """Return execution provider -> number of nodes, as recorded by onnxruntime; None if it records none."""
        return self._ask("state")["placement"]  # type: ignore[no-any-return]

    def threads(self) -> list[dict[str, Any]]:
        """Return the threads of the process: id, and the cores each may run on."""
        return self._ask("state")["threads"]  # type: ignore[no-any-return]

    def end(self) -> None:
        """Kill the process and those it started."""
        with suppress(ProcessLookupError):  # all gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(BrokenPipeError):  # a command that it did not live to read
                if stream is not None:
                    stream.close()

    def _ask(self, do: str, seconds: float = 0.0, /, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **command}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(do) from None
        answer = json.loads(self._line(do, ANSWER_S + 10 * seconds))
        if "error" in answer:
            kind = getattr(errors, answer["type"], None)
            if isinstance(kind, type) and issubclass(kind, AetoolError) and kind is not errors.DependencyError:
                raise kind(answer["error"])
            raise self._failed(do, f"{answer['type']}: {answer['error']}")
        return answer  # type: ignore[no-any-return]

    def _line(self, do: str, seconds: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise self._failed(do, f"no answer within {seconds:.0f} s")
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise self._ended(do)
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self, do: str) -> BenchmarkError:
        return self._failed(do, f"its process ended ({_how(self._process.wait())})")

    def _failed(self, do: str, what: str) -> BenchmarkError:
        said = (self._files / "stderr").read_bytes().decode(errors="replace")
        end = " ".join(said.split())[-_STDERR_TAIL:]
        return BenchmarkError(f"{self.name}: {do}: {what}{f'; it wrote: {end}' if end else ''}")


@contextmanager
def opened(contestants: Sequence[Contestant]) -> Iterator[list[Running]]:
    """Start the contestants' processes; all of them are killed at the end, whatever happens."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetool-bench-")))
        running = []
        for contestant in contestants:
            running.append(Running(contestant, scratch))
            stack.callback(running[-1].end)
        yield running


def wait_until_idle(running: Sequence[Running]) -> None:
    """Wait until none of them uses the CPU: thread pools spin for a while after their work."""
    limit = time.monotonic() + _IDLE_LIMIT_S
    before = [_ticks(contestant.pid) for contestant in running]
    while time.monotonic() < limit:
        time.sleep(_IDLE_CHECK_S)
        now = [_ticks(contestant.pid) for contestant in running]
        if now == before:
            return
        before = now


def _ticks(pid: int) -> int:
    """Return the processor time that a process has used, in the kernel's ticks."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])  # utime, stime: proc(5)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
