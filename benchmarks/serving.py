"""A server under load: what the model costs on top of an echo, what micro-batching gains, what overload does.

    python benchmarks/serving.py             the figures
    python benchmarks/serving.py --short     a trial of the script itself, in a minute
    python benchmarks/serving.py --only workers   two workers against one, on a quiet machine

Servers and client are processes of their own on the same cores. The echo is the same server with the same reading
and answering of tensors, but without a model: it gives back the rows.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import uvloop
from common import parser, save

import aetool
from aetool.bench._http_load import (
    NO_ANSWER,
    OK,
    LoadResult,
    address_of,
    closed_loop,
    fetch,
    open_loop,
    request_bytes,
)
from aetool.bench._statistics import MINIMUM_SAMPLES, latency_figures
from aetool.serve._app import App
from aetool.serve._batching import Line, Share
from aetool.serve._draining import drained
from aetool.serve._gate import Gate
from aetool.serve._metrics import Metrics
from aetool.serve._protocol import Signature, TensorSpec
from aetool.serve.limits import ServerLimits

if TYPE_CHECKING:
    from models import Model

CLIENTS = 64
SATURATING = 4 * ServerLimits().max_batch
"""Clients that fill the batches of two workers, as 64 fill those of one: half a batch costs more a row."""
DISTINCT = 4096


class Server:
    """A process that serves, with its workers."""

    def __init__(
        self, command: list[str], keep: Callable[[str], None] = lambda line: None, ready: str = "serving"
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            keep(line)
            self.url = (found := json.loads(line)).get("url", getattr(self, "url", ""))
            if found["event"] == ready:
                # What it says from now on is read, or it would stand still as soon as the pipe is full.
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
        raise RuntimeError("the server did not start")

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Processor time so far, of all threads and workers."""
        pid, ticks = self.process.pid, 0
        for one in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stay_on(self, cores: Collection[int]) -> None:
        """Of one worker: all its threads, and those that they start."""
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def figure(self, name: str) -> float:
        """Of /metrics; 0 where there is none yet."""
        address = address_of(self.url)
        _, body = asyncio.run(fetch(address, request_bytes(address, "GET", "/metrics")))
        lines = [line for line in body.decode().splitlines() if line.startswith(name)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


@contextlib.contextmanager
def serving(*arguments: Any) -> Iterator[Server]:
    ready = "all workers serve" if "--workers" in arguments else "serving"
    server = Server(["-m", "aetool", "serve", "--port", "0", *map(str, arguments)], ready=ready)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def echoing(columns: int) -> Iterator[Server]:
    server = Server([__file__, "--echo", str(columns)])
    try:
        yield server
    finally:
        server.stop()


class Client:
    """A process that asks; see `ask`."""

    def __init__(self, server: Server, model: str, output: str, rows: Path, **load: Any) -> None:
        asked = {"url": server.url, "model": model, "output": output, "rows": str(rows), **load}
        command = [sys.executable, __file__, "--ask", json.dumps(asked)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def found(self) -> dict[str, Any]:
        text, _ = self.process.communicate()
        found: dict[str, Any] = json.loads(text)
        return found


def ask(
    url: str,
    model: str,
    output: str,
    rows: str,
    *,
    connections: int,
    answers: str = "",
    cores: Collection[int] = (),
    **load: Any,
) -> None:
    """The client: single rows, as bytes; prints what it saw, and keeps the answers, one number each, in a file."""
    if cores:
        os.sched_setaffinity(0, cores)
    address = address_of(url)
    requests = []
    for row in np.load(rows):
        tensor = {"name": "features", "datatype": "FP32", "shape": [1, row.size]}
        head = orjson.dumps(
            {
                "inputs": [{**tensor, "parameters": {"binary_data_size": row.nbytes}}],
                "outputs": [{"name": output, "parameters": {"binary_data": True}}],
            }
        )
        path = f"/v2/models/{model}/infer"
        requests.append(request_bytes(address, "POST", path, head + row.tobytes(), json_length=len(head)))
    numbers = np.full(load.get("count") or 0, np.nan, np.float32)

    def keep(number: int, body: bytes) -> None:
        numbers[number] = np.frombuffer(body[-4:], "<f4")[0]

    check = keep if answers else None
    drive = open_loop if "arrivals_per_s" in load else closed_loop
    loop = drive(address, requests, connections=connections, check=check, **load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(loop)
    if answers:
        np.save(answers, numbers)
    print(json.dumps(figures(seen)))


def figures(seen: LoadResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "answered_per_s": len(seen.latencies_s) / seen.seconds,
        "statuses": seen.statuses,
        "lost": seen.statuses.get(NO_ANSWER, 0),
        "ended_s": time.monotonic(),
    }
    for name, times in (
        ("latency_ms", seen.latencies_s),
        ("refused_ms", seen.refused_s),
        ("late_ms", seen.late_s),
    ):
        if len(times):
            told = latency_figures(times).items()
            found[name] = {key: round(value * 1e3, 3) for key, value in told if value is not None}
    return found


def echo(columns: int) -> None:
    """The server without a model."""
    row = TensorSpec("reconstruction", "FP32", (columns,))
    signature = Signature(TensorSpec("features", "FP32", (columns,)), (row,))
    limits, metrics = ServerLimits(), Metrics()

    class Echo:
        name, version, line = "echo", "1", Line(ServerLimits())

        def __init__(self) -> None:
            self.signature, self.models, self.calibrated = signature, {}, None
            self.infer = {"/v2/models/echo/infer": self}

        def batcher(self, request: Any) -> Any:
            return self

        async def submit(self, rows: Any) -> Share:
            return {"reconstruction": rows}, slice(None), 0.0

    server = drained(App(Echo(), limits, metrics), limits, Gate(limits))  # type: ignore[arg-type]
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)

    async def run() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, server, "should_exit", True)
        line = {"event": "serving", "url": f"http://127.0.0.1:{listening.getsockname()[1]}"}
        print(json.dumps(line), file=sys.stderr, flush=True)
        await server.serve([listening])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def in_turns(
    servers: dict[str, tuple[Server, str]], rows: Path, rounds: int, seconds: float, clients: int = CLIENTS
) -> dict[str, Any]:
    """Requests a second and latencies of two servers, A B A B ...; and the ratio of the first to the second."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for turn in range(-1, rounds):
        for name, (server, model) in servers.items():
            load = {"connections": clients, "seconds": seconds if turn >= 0 else seconds / 4}
            before = server.cpu_s()
            found = Client(server, model, "reconstruction", rows, **load).found()
            assert set(found["statuses"]) == {str(OK)}, found
            found["server_cpu_us"] = (server.cpu_s() - before) / found["statuses"][str(OK)] * 1e6
            if turn >= 0:  # the first was to warm up
                taken[name].append(found)
    first, second = ([one["answered_per_s"] for one in found] for found in taken.values())
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    medians = {name: statistics.median(one["answered_per_s"] for one in found) for name, found in taken.items()}
    p99 = {name: statistics.median(one["latency_ms"].get("p99", np.nan) for one in f) for name, f in taken.items()}
    cpu = {name: statistics.median(one["server_cpu_us"] for one in found) for name, found in taken.items()}
    return {
        "requests_per_s": medians,
        "p99_ms": p99,
        "server_cpu_us_per_request": cpu,
        "ratio": statistics.median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "rounds": taken,
    }


def identity(model: "Model", folder: Path, count: int) -> dict[str, Any]:
    """Every row another one, every answer compared with the model's own for that very row."""
    random = np.random.default_rng(7)
    np.save(path := folder / "distinct.npy", distinct := np.resize(model.rows, (count, model.rows.shape[1])))
    distinct += random.normal(0, 0.5, distinct.shape).astype(np.float32)
    np.save(path, distinct)
    with serving(f"tiny={model.bundle}") as server:
        load = {"connections": CLIENTS, "count": count, "answers": str(folder / "answers.npy")}
        found = Client(server, "tiny", "score", path, **load).found()
    answers, expected = np.load(folder / "answers.npy"), aetool.load(model.bundle, provider="cpu").score(distinct)
    wrong = int(np.sum(~np.isclose(answers, expected, rtol=1e-4)))
    distinguishable = len(np.unique(expected)) / count
    return {"requests": count, "wrong": wrong, "lost": found["lost"], "distinct_scores": distinguishable}


def overload(model: "Model", rows: Path, seconds: float, queue: int = 128) -> dict[str, Any]:
    """Twice the requests that it can answer, whether it is ready or not."""
    with serving(f"heavy={model.bundle}", "--max-queue", queue) as server:
        takes = Client(server, "heavy", "reconstruction", rows, connections=CLIENTS, seconds=seconds).found()
        rate = 2 * takes["answered_per_s"]
        load = {"connections": 4 * queue, "arrivals_per_s": rate, "count": round(rate * seconds)}
        client = Client(server, "heavy", "reconstruction", rows, **load)
        waiting = []
        while client.process.poll() is None:
            waiting.append(int(server.figure("aetool_waiting_rows")))
            time.sleep(0.2)
        return {**client.found(), "arrivals_per_s": rate, "max_queue": queue, "most_waiting": max(waiting)}


def workers(model: "Model", rows: Path, rounds: int, seconds: float, *options: Any) -> dict[str, Any]:
    """Two workers against one: requests a second in turns, then the p99 of each at 70 % of what it can answer.

    The client takes its part of the cores that two workers need, while beside one worker it has idle ones. So the
    p99 is also that of one worker that shares half of the cores with a client of half as many connections.
    """
    bundle, every = f"heavy={model.bundle}", sorted(os.sched_getaffinity(0))
    with serving(bundle, "--workers", 2, *options) as two, serving(bundle, *options) as one:
        found = in_turns({"two": (two, "heavy"), "one": (one, "heavy")}, rows, rounds, seconds, SATURATING)
        cases = {
            "two": (two, every, SATURATING),
            "one": (one, every, SATURATING),
            "one_on_half_of_the_cores": (one, every[: len(every) // 2 or 1], SATURATING // 2),
        }
        p99: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (server, cores, connections) in cases.items():
                one.stay_on(cores)
                load = {"connections": connections, "cores": cores}
                told = Client(server, "heavy", "reconstruction", rows, **load, seconds=seconds).found()
                rate = 0.7 * told["answered_per_s"]
                load |= {"arrivals_per_s": rate, "spin_s": 0.0}
                count = max(MINIMUM_SAMPLES["p99"], round(rate * seconds))
                told = Client(server, "heavy", "reconstruction", rows, **load, count=count).found()
                assert set(told["statuses"]) == {str(OK)}, told
                p99[name].append(told["latency_ms"].get("p99", float("nan")))
    return {
        **found,
        "p99_ms_at_70_percent": {name: statistics.median(each) for name, each in p99.items()},
        "p99_ms_at_70_percent_rounds": p99,
    }


def terminated(model: "Model", rows: Path, seconds: float) -> dict[str, Any]:
    """SIGTERM in the middle; every request that was sent has an answer."""
    with serving(f"heavy={model.bundle}") as server:
        client = Client(server, "heavy", "reconstruction", rows, connections=CLIENTS, seconds=60.0)
        while server.figure('aetool_requests_total{model="heavy"') < CLIENTS:
            time.sleep(0.1)
        time.sleep(seconds)
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        found = client.found()
        code = server.process.wait()
        return {**found, "exit_code": code, "stopped_after_s": time.monotonic() - begin}


def memory(model: "Model", rows: Path, seconds: float) -> dict[str, Any]:
    """Of the server, in megabytes, at equal steps of a long load."""
    with serving(f"tiny={model.bundle}") as server:
        client = Client(server, "tiny", "reconstruction", rows, connections=CLIENTS, seconds=seconds)
        resident = []
        while client.process.poll() is None:
            time.sleep(seconds / 20)
            resident.append(round(server.resident_mb(), 2))
        found = client.found()
    return {"seconds": seconds, "resident_mb": resident, "requests_per_s": found["answered_per_s"]}


def made(name: str, folder: Path, kept: Path | None) -> "tuple[Model, Path]":
    """A model, and the file of its rows; from `kept` where it is there."""
    from models import Model, make  # here: PyTorch, which no client needs

    home = kept or folder
    if not (home / f"{name}-bundle").exists():
        model = make(name, home)
        np.save(home / f"{name}.npy", model.rows[:DISTINCT])
    rows = home / f"{name}.npy"
    return Model(name, home / f"{name}-bundle", home / f"{name}-checkpoint", np.load(rows)), rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--short", action="store_true", help="a trial; writes no results")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=4.0, help="of a turn; with less, no p99")
    arguments.add_argument("--memory-seconds", type=float, default=600.0)
    arguments.add_argument("--only", help="cheap, heavy, identity, workers, overload, terminated or memory")
    arguments.add_argument("--models", type=Path, help="a directory to keep the models in")
    arguments.add_argument("--echo", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--ask", type=json.loads, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.echo:
        return echo(options.echo)
    if options.ask:
        return ask(**options.ask)
    rounds, seconds = (2, 1.0) if options.short else (options.rounds, options.seconds)
    count, long = (5_000, 10.0) if options.short else (100_000, options.memory_seconds)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {model: made(model, folder, options.models) for model in ("tiny", "heavy")}
        (tiny, tiny_rows), (heavy, heavy_rows) = models.values()

        def cheap() -> dict[str, Any]:
            with serving(f"tiny={tiny.bundle}") as ours, echoing(tiny.rows.shape[1]) as bare:
                return in_turns({"model": (ours, "tiny"), "echo": (bare, "echo")}, tiny_rows, rounds, seconds)

        def costly() -> dict[str, Any]:
            bundle = f"heavy={heavy.bundle}"
            with serving(bundle) as on, serving(bundle, "--max-batch", 1) as off:
                return in_turns({"batched": (on, "heavy"), "alone": (off, "heavy")}, heavy_rows, rounds, seconds)

        for bar, measure in (
            ("cheap", cheap),
            ("heavy", costly),
            ("identity", lambda: identity(tiny, folder, count)),
            ("workers", lambda: workers(heavy, heavy_rows, rounds, seconds)),
            ("workers_of_one_thread", lambda: workers(heavy, heavy_rows, rounds, seconds, "--threads", 1)),
            ("overload", lambda: overload(heavy, heavy_rows, seconds)),
            ("terminated", lambda: terminated(heavy, heavy_rows, seconds)),
            ("memory", lambda: memory(tiny, tiny_rows, long)),
        ):
            if options.only is None or bar.startswith(options.only):
                results[bar] = measure()
                print(bar, json.dumps({key: v for key, v in results[bar].items() if key != "rounds"}), flush=True)
    if not options.short and options.only is None:
        told = ("rounds", "seconds", "memory_seconds")
        save("serving", {name: value for name, value in vars(options).items() if name in told}, results)
    return None


if __name__ == "__main__":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    main()
