"""Load on a server: clients that ask again and again, or requests that come whether it is ready or not."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aetool.bench.http_client import Address, Connection, connect

OK = 200
NO_ANSWER = 0
"""Instead of a status: the connection ended before the answer."""
_SPIN_S = 0.0015
"""Before a request is due, the loop does not sleep: timers are late by up to a millisecond."""
_PATIENCE_S = 30.0

Check = Callable[[int, bytes], None]
"""Told which request was answered with 200, and the body."""


@dataclass(frozen=True, slots=True)
class Observed:
    latencies_s: NDArray[np.float64]
    """(answered with 200,), in the order of the answers; open loop: from the intended arrival."""
    statuses: dict[int, int]
    """Status -> answers; NO_ANSWER counts those that were lost."""
    refused_s: NDArray[np.float64]
    """(answered otherwise,): how long that took."""
    late_s: NDArray[np.float64]
    """(requests,): how long after it was due each one was sent; 0 in the closed loop."""
    seconds: float
    """From the first request to the last answer."""


class _Drive:
    """Connections, and what came back on them."""

    def __init__(self, address: Address, requests: Sequence[bytes], check: Check | None) -> None:
        self._address, self._requests, self._check = address, requests, check
        self._under_way: dict[Connection, tuple[int, float]] = {}
        self.latencies: list[float] = []
        self.refused: list[float] = []
        self.late: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.free: deque[Connection] = deque()
        self.on_free: Callable[[], None] = lambda: None

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            self.free.append(await connect(self._address, self._answered))

    def send(self, connection: Connection, number: int, due: float) -> None:
        self._under_way[connection] = (number, due)
        connection.send(self._requests[number % len(self._requests)])

    def _answered(self, connection: Connection, status: int, head: bytes, body: bytes) -> None:
        now = time.perf_counter()
        number, due = self._under_way.pop(connection)
        self.statuses[status] += 1
        (self.latencies if status == OK else self.refused).append(now - due)
        if status == OK and self._check is not None:
            self._check(number, body)
        if status == NO_ANSWER or b"connection: close" in head:
            connection.close()
        else:
            self.free.append(connection)
        self.on_free()

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def observed(self, begin: float) -> Observed:
        return Observed(
            np.array(self.latencies),
            {status: count for status, count in sorted(self.statuses.items()) if count},
            np.array(self.refused),
            np.array(self.late),
            time.perf_counter() - begin,
        )

    def close(self) -> None:
        for connection in (*self.free, *self._under_way):
            connection.close()


async def closed_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float | None = None,
    count: int | None = None,
    check: Check | None = None,
) -> Observed:
    """`connections` clients, each of which asks as soon as it has its answer, for `seconds` or `count` requests.

    It ends early when the server closes the connections.

    Raises:
        OSError: nobody listens there.
    """
    drive = _Drive(address, requests, check)
    await drive.open(connections)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begin = time.perf_counter()
    end = begin + seconds if seconds is not None else float("inf")
    most = count if count is not None else float("inf")
    sent = 0

    def go_on() -> None:
        nonlocal sent
        while drive.free and sent < most and (now := time.perf_counter()) < end:
            connection = drive.free.popleft()
            if connection.is_open:
                drive.send(connection, sent, now)
                sent += 1
        if not drive.under_way and not done.done():
            done.set_result(None)

    drive.on_free = go_on
    go_on()
    try:
        await done
        return drive.observed(begin)
    finally:
        drive.on_free = lambda: None
        drive.close()


async def open_loop(
    address: Address,
    requests: Sequence[bytes],
    *,
    connections: int,
    arrivals_per_s: float,
    count: int,
    seed: int = 0,
    check: Check | None = None,
) -> Observed:
    """`count` requests that come as a Poisson process; one that finds no connection free waits for the next.

    Raises:
        OSError: nobody listens there.
    """
    drive = _Drive(address, requests, check)
    await drive.open(connections)
    waiting: deque[tuple[int, float]] = deque()
    gaps = np.random.default_rng(seed).exponential(1 / arrivals_per_s, count)
    begin = time.perf_counter() + 2 * _SPIN_S
    arrivals = (begin + np.cumsum(gaps)).tolist()

    def go_on() -> None:
        while waiting and drive.free:
            connection = drive.free.popleft()
            if connection.is_open:
                drive.send(connection, *waiting.popleft())

    drive.on_free = go_on
    try:
        for number, due in enumerate(arrivals):
            while (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left - _SPIN_S if left > _SPIN_S else 0)
            drive.late.append(time.perf_counter() - due)
            waiting.append((number, due))
            go_on()
        over = time.perf_counter() + _PATIENCE_S
        while (drive.under_way or waiting) and time.perf_counter() < over:
            await asyncio.sleep(0.001)
        drive.statuses[NO_ANSWER] += drive.under_way + len(waiting)
        return drive.observed(begin)
    finally:
        drive.on_free = lambda: None
        drive.close()
