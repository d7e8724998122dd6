"""One contestant in its own process: JSON commands come in line by line, JSON responses go out.

Run as a file, not as a module of aetool: then nothing of aetool and no inference library is imported before the
clock of the contestant's own imports starts. It needs the standard library and numpy.
"""

import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[Any], Any]
Clock = Callable[[], int]

_MOST_STARTS = 8192
_SPIN_NS = 1_000_000
"""Waits shorter than this are spent polling the clock, in nanoseconds: the kernel wakes a sleeper late."""


# Closed loop and open loop


def back_to_back(
    call: Call, queries: Sequence[Any], *, seconds: float, calls: int = 1, clock: Clock = time.perf_counter_ns
) -> tuple["array[int]", int]:
    """Send the next query when the last one is answered, for `seconds` and at least `calls` times.

    Returns:
        Every latency and the wall time, nanoseconds.
    """
    latencies = array("q")
    begin = clock()
    end = begin + int(seconds * 1e9)
    for query in cycle(queries):
        start = clock()
        call(query)
        stop = clock()
        latencies.append(stop - start)
        if stop >= end and len(latencies) >= calls:
            break
    return latencies, stop - begin


def open_loop(
    call: Call,
    queries: Sequence[Any],
    arrivals: Sequence[int],
    *,
    clock: Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple["array[int]", int]:
    """Send queries at their arrival times, whether the last one is answered or not; they wait in line.

    A latency counts from the intended arrival, so that a stall is charged to every query that it delays
    (no coordinated omission).

    Args:
        call: the contestant's function.
        queries: one for each arrival.
        arrivals: nanoseconds from the start, ascending.
        clock: gives nanoseconds.
        sleep: waits, in seconds.

    Returns:
        Every latency and the wall time, nanoseconds.
    """
    latencies = array("q")
    begin = clock()
    stop = begin
    for arrival, query in zip(arrivals, cycle(queries), strict=False):
        due = begin + arrival
        while (left := due - clock()) > 0:
            if left > 2 * _SPIN_NS:
                sleep((left - _SPIN_NS) / 1e9)
        call(query)
        stop = clock()
        latencies.append(stop - due)
    return latencies, stop - begin


def poisson(rate: float, seconds: float, seed: int) -> list[int]:
    """Return the arrivals of a Poisson process, nanoseconds: `rate` a second for `seconds`, at least one."""
    random = np.random.default_rng(seed)
    gaps = random.exponential(1e9 / rate, max(1, round(rate * seconds)))
    return [int(arrival) for arrival in np.cumsum(gaps)]


def batches(rows: NDArray[Any], batch: int, seed: int) -> list[NDArray[Any]]:
    """Return queries of `batch` rows each, views into `rows`, all different if there are enough rows."""
    last = len(rows) - batch
    if last < 0:
        raise ValueError(f"{batch} rows a query, but {len(rows)} rows given")
    starts = np.random.default_rng(seed).permutation(last + 1)[:_MOST_STARTS]
    return [rows[start : start + batch] for start in starts]


def streams(rows: NDArray[Any], batch: int, seed: int) -> list[list[NDArray[Any]]]:
    """Return queries of `batch` single rows each, as they come from that many streams."""
    random = np.random.default_rng(seed)
    queries = max(1, min(_MOST_STARTS, len(rows) // batch))
    chosen = random.permutation(len(rows))[: queries * batch].reshape(queries, batch)
    return [[rows[i] for i in query] for query in chosen]


# Memory and threads of this process


def memory() -> dict[str, int | None]:
    """Return resident memory now and at its peak, bytes; None where the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {"resident": None, "peak": None}
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return {name: int(fields[key].split()[0]) * 1024 for name, key in (("resident", "VmRSS"), ("peak", "VmHWM"))}


def forget_peak() -> None:
    """Restart the measurement of peak memory."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not allowed: then it counts from the start of the process
        return


def threads() -> list[dict[str, Any]]:
    """Return the threads of this process and the cores each may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found.append({"id": int(task.name), "cores": sorted(os.sched_getaffinity(int(task.name)))})
        except ProcessLookupError:  # it ended meanwhile
            continue
    return found


class Phases:
    """Handed to a factory: `with phase("import"): ...` times a part of its work."""

    def __init__(self) -> None:
        """Start with no phases."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one phase."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def module_alone(name: str) -> ModuleType:
    """Import the module `name` (or the file, if it ends in .py) without its parent packages."""
    where = name if name.endswith(".py") else _file_of(name)
    spec = importlib.util.spec_from_file_location("_contestant", where)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{name}: no Python module", name=name)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _file_of(name: str) -> str:
    """Return the module's file; `importlib.util.find_spec` would import its parents."""
    places: Any = None
    spec = None
    for end in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:end]), places)
        places = spec.submodule_search_locations if spec else ()
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module {name}", name=name)
    return spec.origin


def _as_arrays(outputs: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return a call's outputs, one array or several, by name."""
    values = [outputs] if isinstance(outputs, np.ndarray) else list(outputs)
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


# Commands


class Worker:
    """The contestant, once it is loaded, and the rows it gets."""

    subject: Any
    rows: NDArray[Any]

    def load(self, factory: str, arguments: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
        """Make the contestant and return what that took."""
        sys.path[:] = path
        module, _, function = factory.rpartition(":")
        phases, before = Phases(), memory()
        self.subject = getattr(module_alone(module), function)(phases, **arguments)
        return {
            "phases": phases.seconds,
            "resident_before": before["resident"],
            "resident_after": memory()["resident"],
            "outputs": list(self.subject.outputs),
            "provider": getattr(self.subject, "provider", None),
        }

    def take_rows(self, rows: str) -> dict[str, Any]:
        """Read the rows of a file."""
        self.rows = np.load(rows, allow_pickle=False)
        forget_peak()
        return {"rows": len(self.rows)}

    def outputs(self, to: str) -> dict[str, Any]:
        """Write the outputs for all rows to a file."""
        found = _as_arrays(self.subject.call(self.rows), self.subject.outputs)
        np.savez(to, **found)  # type: ignore[arg-type]
        return {"outputs": list(found)}

    def first(self) -> dict[str, Any]:
        """Time the first query."""
        row = self.rows[:1]
        start = time.perf_counter()
        self.subject.call(row)
        return {"seconds": time.perf_counter() - start}

    def warm(self, scenario: str, batch: int, seconds: float, calls: int, seed: int) -> dict[str, Any]:
        """Run queries without keeping the latencies."""
        call, queries = self._load_of(scenario, batch, seed)
        latencies, wall = back_to_back(call, queries, seconds=seconds, calls=calls)
        return {"samples": len(latencies), "seconds": wall / 1e9}

    def run(  # the parameters of one turn
        self, scenario: str, batch: int, seconds: float, calls: int, rate: float | None, seed: int, to: str
    ) -> dict[str, Any]:
        """Run one turn and write its latencies to a file."""
        call, queries = self._load_of(scenario, batch, seed)
        gc.collect()  # what the last turn left behind
        used = time.process_time()
        if rate is None:
            latencies, wall = back_to_back(call, queries, seconds=seconds, calls=calls)
        else:
            latencies, wall = open_loop(call, queries, poisson(rate, seconds, seed))
        used = time.process_time() - used
        np.save(to, np.frombuffer(latencies, dtype=np.int64))
        return {"samples": len(latencies), "wall_s": wall / 1e9, "cpu_s": used}

    def memory(self) -> dict[str, Any]:
        """Return the memory in use."""
        return memory()

    def forget_peak(self) -> dict[str, Any]:
        """Reset the peak of resident memory."""
        forget_peak()
        return {}

    def state(self) -> dict[str, Any]:
        """Return the placement of nodes, if known, and the threads."""
        placement = getattr(self.subject, "placement", None)
        return {"placement": placement() if callable(placement) else placement, "threads": threads()}

    def _load_of(self, scenario: str, batch: int, seed: int) -> tuple[Call, Sequence[Any]]:
        if scenario != "multi-stream":
            return self.subject.call, batches(self.rows, batch, seed)
        call = self.subject.call
        return (lambda query: call(np.stack(query))), streams(self.rows, batch, seed)


COMMANDS = ("load", "take_rows", "outputs", "first", "warm", "run", "memory", "forget_peak", "state")


def main() -> None:
    """Respond to commands until the other side hangs up."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    worker = Worker()
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        try:
            if do not in COMMANDS:
                raise ValueError(f"command {do!r} is unknown")
            answer = getattr(worker, do)(**command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side is told
            traceback.print_exc()
            answer = {"error": " ".join(str(error).split()), "type": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
