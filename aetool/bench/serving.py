"""A running server measured from outside: latency from the intended arrival, and the highest sustainable rate.

It speaks the Open Inference Protocol v2, on requests of one row each whose tensors are bytes.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.bench._http_load import (
    OK,
    Address,
    LoadResult,
    address_of,
    closed_loop,
    fetch,
    open_loop,
    request_bytes,
)
from aetool.bench._machine import machine
from aetool.bench._statistics import MINIMUM_SAMPLES, histogram, latency_of
from aetool.bench.result import Latency, LatencyHistogram, MachineRecord
from aetool.bench.rounds import UTILISATION
from aetool.bench.rows import make_pool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.checks.parity import compare_values
from aetool.errors import BenchmarkError, InputError
from aetool.runtime.session import load

KIND, FORMAT_VERSION = "aetool.bench.serve", 1
READY_S = 10.0
"""Time limit for a server to be ready, in seconds."""
CLOSE_ENOUGH = 1.05
"""The search ends when the lowest rate that is too much lies so near to the highest that is not."""
_COMPARED = 64
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """Plan of a measurement on a server."""

    bundle: Path
    """Local copy of the served bundle: source of the rows and of the expected responses."""
    url: str
    model: str
    """Its name on the server."""
    rate: float | None = None
    """Requests a second; None: half of what the server takes, or as `p99_s` asks."""
    p99_s: float | None = None
    """Find the highest rate whose p99 stays within it."""
    seconds: float = 5.0
    """Duration of one trial, in seconds; longer where there would be too few requests for a p99."""
    connections: int = 64
    seed: int = 0
    token: str = ""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("rate", "p99_s", "seconds", "connections"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name}: a positive number expected, found {value!r}")
        if self.rate is not None and self.p99_s is not None:
            raise InputError("rate and p99_s: one of them sets the load; leave the other out")


@dataclass(frozen=True, slots=True)
class LoadTrial:
    """One open loop."""

    arrivals_per_s: float
    """Intended."""
    answered: int
    failed: int
    """Refused or lost."""
    answered_per_s: float
    latency_s: Latency | None
    """Latency of answered requests from the intended arrival; None if there are none."""
    histogram: LatencyHistogram | None
    late_p99_s: float
    """99th percentile of the client's own delay: above a small part of the latency, the client was the
    bottleneck."""


@dataclass(frozen=True, slots=True)
class ServingResult:
    """The result of measuring a server."""

    created: str
    command: tuple[str, ...]
    machine: MachineRecord
    """The client's."""
    server: dict[str, Any]
    """Name and version of it, of its model, and where it is."""
    parameters: dict[str, Any]
    closed_loop_per_s: float
    """Requests answered where every connection asks again at once: about what the server takes."""
    trials: tuple[LoadTrial, ...]
    highest: float | None
    """Arrivals a second whose p99 stays within the bound; None: not asked for, or none does."""
    kind: str = KIND
    format_version: int = FORMAT_VERSION


def measure(
    plan: ServingPlan, *, command: Sequence[str] = (), progress: Progress = lambda text: None
) -> ServingResult:
    """Measure the server that `plan` names; waits for it to be ready.

    Raises:
        BenchmarkError: there is no such server, it serves another bundle, or its answers are not the bundle's.
        BundleError: the bundle is damaged.
        InputError: the URL cannot be used.
    """
    bundle, address = Bundle.open(plan.bundle), address_of(plan.url)
    golden = read_golden(bundle)["features"].astype(np.float32)
    pool = make_pool(golden, bundle.manifest, "golden rows", 1, plan.seed)
    with asyncio.Runner() as runner:
        try:
            server = runner.run(_described(address, plan, bundle))
            requests = [_request(address, plan, row) for row in pool.rows]
            progress("compared")
            runner.run(_require_agreement(address, plan, requests, pool.rows))
            progress("as fast as it can")
            loop = closed_loop(address, requests, connections=plan.connections, seconds=min(1.0, plan.seconds))
            most = _rate(runner.run(loop))
            trials: list[LoadTrial] = []

            def attempt(rate: float) -> LoadTrial:
                progress(f"{rate:,.0f} requests a second")
                count = max(MINIMUM_SAMPLES["p99"], round(rate * plan.seconds))
                load = open_loop(
                    address,
                    requests,
                    connections=plan.connections,
                    arrivals_per_s=rate,
                    count=count,
                    seed=plan.seed + len(trials),
                )
                trials.append(_trial(rate, runner.run(load)))
                return trials[-1]

            highest = None
            if plan.p99_s is None:
                attempt(plan.rate or UTILISATION * most)
            else:
                highest = highest_rate(attempt, plan.p99_s, most)
        except OSError as error:
            raise BenchmarkError(
                f"{plan.url}: no answer ({error or type(error).__name__}); is it running?"
            ) from error
    return ServingResult(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=tuple(command),
        machine=machine(),
        server={**server, "url": plan.url},
        parameters={**asdict(replace(plan, token="")), "bundle": str(plan.bundle), "rows": pool.source},
        closed_loop_per_s=most,
        trials=tuple(trials),
        highest=highest,
    )


def highest_rate(attempt: Callable[[float], LoadTrial], p99_s: float, most: float) -> float | None:
    """Return the highest rate whose p99 stays within `p99_s`, by bisection below `most`; None if none does.

    A rate at which a request is refused or lost is too high.
    """
    good, bad = 0.0, most * CLOSE_ENOUGH
    while bad / max(good, most / 1000) > CLOSE_ENOUGH:
        trial = attempt(rate := (good + bad) / 2)
        p99 = trial.latency_s.p99 if trial.latency_s is not None else None
        if not trial.failed and p99 is not None and p99 <= p99_s:
            good = rate
        else:
            bad = rate
    return good or None


async def _described(address: Address, plan: ServingPlan, bundle: Bundle) -> dict[str, Any]:
    await _wait_until_ready(address, plan)
    server = await _get(address, plan, "/v2")
    model = await _get(address, plan, f"/v2/models/{plan.model}")
    found = model.get("parameters", {}).get("bundle_id")
    if found != bundle.manifest.id:
        raise BenchmarkError(
            f"{plan.url}: model {plan.model!r} is bundle {str(found)[:12]}, {plan.bundle} is "
            f"{bundle.manifest.id[:12]}; give the bundle that is served, or another --model"
        )
    about = {key: model["parameters"].get(key) for key in ("bundle_id", "precision", "provider")}
    return {"name": server.get("name"), "version": server.get("version"), "model": plan.model, **about}


async def _wait_until_ready(address: Address, plan: ServingPlan) -> None:
    ready, until = request_bytes(address, "GET", "/v2/health/ready"), time.monotonic() + READY_S
    while True:
        try:
            if (await fetch(address, ready))[0] == OK:
                return
        except OSError:
            if time.monotonic() > until:
                raise
        if time.monotonic() > until:
            raise BenchmarkError(f"{plan.url}: not ready after {READY_S:g} s; see its log")
        await asyncio.sleep(0.1)


async def _get(address: Address, plan: ServingPlan, path: str) -> dict[str, Any]:
    status, body = await fetch(address, request_bytes(address, "GET", path, token=plan.token))
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if status != OK or not isinstance(document, dict):
        reason = document.get("error", "") if isinstance(document, dict) else ""
        raise BenchmarkError(f"{plan.url}{path}: status {status} ({reason}); check --url and --model")
    return document


def _request(address: Address, plan: ServingPlan, row: NDArray[np.float32]) -> bytes:
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, *row.shape]}
    described = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": row.nbytes}}],
        "outputs": [{"name": "score", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(described).encode()
    path = f"/v2/models/{plan.model}/infer"
    return request_bytes(
        address, "POST", path, text + row.astype("<f4").tobytes(), json_length=len(text), token=plan.token
    )


async def _require_agreement(
    address: Address, plan: ServingPlan, requests: Sequence[bytes], rows: NDArray[np.float32]
) -> None:
    scores = []
    for request in requests[:_COMPARED]:
        status, body = await fetch(address, request)
        if status != OK:
            raise BenchmarkError(f"{plan.url}: status {status} to a row ({body[:200]!r}); see the server's log")
        scores.append(np.frombuffer(body[-4:], "<f4")[0])
    with load(plan.bundle, provider="cpu") as model:
        record = compare_values("detector", "score", model.score(rows[:_COMPARED]), np.array(scores))
    if not record.passed:
        raise BenchmarkError(
            f"{plan.url}: its scores are not the bundle's ({record.reason}); nothing was measured"
        )


def _rate(seen: LoadResult) -> float:
    if not seen.latencies_s.size:
        raise BenchmarkError(f"no request was answered (status -> count: {seen.statuses}); see the server's log")
    return len(seen.latencies_s) / seen.seconds


def _trial(rate: float, seen: LoadResult) -> LoadTrial:
    answered = len(seen.latencies_s)
    return LoadTrial(
        arrivals_per_s=rate,
        answered=answered,
        failed=sum(count for status, count in seen.statuses.items() if status != OK),
        answered_per_s=answered / seen.seconds,
        latency_s=latency_of(seen.latencies_s) if answered else None,
        histogram=histogram(seen.latencies_s) if answered else None,
        late_p99_s=float(np.quantile(seen.late_s, 0.99)),
    )
