"""Load on a server, closed or open loop, and the minimal HTTP/1.1 client that makes it."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

# A minimal client: HTTP/1.1 over bare sockets, on connections that stay open.

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    """A server's host and port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """Return host and port as in the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """Parse `http://HOST:PORT`.

    Raises:
        InputError: it is another kind of URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError as error:
        raise InputError(f"{url}: not a URL ({error}); give http://HOST:PORT") from error
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query:
        raise InputError(f"{url}: http://HOST:PORT expected, without a path; give the server's own address")
    return Address(host, port)


def request_bytes(
    address: Address, method: str, path: str, body: bytes = b"", *, json_length: int | None = None, token: str = ""
) -> bytes:
    """Return the bytes of a whole request.

    Args:
        address: the server.
        method: such as GET or POST.
        path: the path of the URL.
        body: bytes of the body.
        json_length: length of the JSON at the start of `body`, where a tensor's bytes follow it.
        token: bearer token; empty for none.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.authority}", f"Content-Length: {len(body)}"]
    if json_length is not None:
        lines.append(f"Inference-Header-Content-Length: {json_length}")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class HttpConnection(asyncio.Protocol):
    """One request at a time; the answer goes to `answered`: its status, head and body, or 0 when there is none."""

    def __init__(self, answered: "Callable[[HttpConnection, int, bytes, bytes], None]") -> None:
        """Create a connection that calls `answered` for each response."""
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but not by its class

    @property
    def is_open(self) -> bool:
        """Return True if a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        assert self._transport is not None
        self.busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a response."""
        self._received = received = self._received + data if self._received else data
        end = received.find(_HEAD_END)
        if end < 0:
            return
        head = received[:end].lower()
        start = head.find(b"content-length: ")
        stop = head.find(b"\r", start)
        length = int(head[start + 16 : stop if stop > 0 else None]) if start >= 0 else 0
        if len(received) < end + 4 + length:
            return
        self._received = b""
        self.busy = False
        self._answered(self, int(received[9:12]), head, received[end + 4 :])

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the pending request, if any, as unanswered."""
        if self.busy:
            self.busy = False
            self._answered(self, 0, b"", b"")

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.close()


async def connect(
    address: Address, answered: Callable[[HttpConnection, int, bytes, bytes], None]
) -> HttpConnection:
    """Open a connection.

    Raises:
        OSError: nobody listens there.
    """
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: HttpConnection(answered), address.host, address.port
    )
    return connection


async def fetch(address: Address, request: bytes, timeout_s: float = 10.0) -> tuple[int, bytes]:
    """Return status and body of the response to one request; status 0: the connection ended without one.

    Raises:
        OSError: nobody listens there, or the answer does not come in time.
    """
    future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def answered(_: HttpConnection, status: int, head: bytes, body: bytes) -> None:
        if not future.done():
            future.set_result((status, body))

    async with asyncio.timeout(timeout_s):
        connection = await connect(address, answered)
        try:
            connection.send(request)
            return await future
        finally:
            connection.close()


OK = 200
NO_ANSWER = 0
"""Instead of a status: the connection ended before the answer."""
_SPIN_S = 0.0015
"""Before a request is due, the loop does not sleep: timers are late by up to a millisecond."""
_PATIENCE_S = 30.0

Check = Callable[[int, bytes], None]
"""Called with the number of a request that was answered with 200, and the body."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Counts and latencies of one load."""

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
        self._under_way: dict[HttpConnection, tuple[int, float]] = {}
        self.latencies: list[float] = []
        self.refused: list[float] = []
        self.late: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.free: deque[HttpConnection] = deque()
        self.on_free: Callable[[], None] = lambda: None

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            self.free.append(await connect(self._address, self._answered))

    def send(self, connection: HttpConnection, number: int, due: float) -> None:
        self._under_way[connection] = (number, due)
        connection.send(self._requests[number % len(self._requests)])

    def _answered(self, connection: HttpConnection, status: int, head: bytes, body: bytes) -> None:
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

    def observed(self, begin: float) -> LoadResult:
        return LoadResult(
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
) -> LoadResult:
    """Run `connections` clients that send the next request as soon as a response arrives, for `seconds` or
    `count` requests.

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
    spin_s: float = _SPIN_S,
    check: Check | None = None,
) -> LoadResult:
    """Send `count` requests as a Poisson process, each on any free connection, or on the next that gets free.

    In the order in which they were answered, connections would keep a batch together: all of it would come back at
    once to the worker that answered it, and the others would have nothing to do. With `spin_s` at 0 a request may
    be a millisecond late, and a core is left to a server that needs them all.

    Raises:
        OSError: nobody listens there.
    """
    drive = _Drive(address, requests, check)
    await drive.open(connections)
    waiting: deque[tuple[int, float]] = deque()
    pick = random.Random(seed).randrange
    gaps = np.random.default_rng(seed).exponential(1 / arrivals_per_s, count)
    begin = time.perf_counter() + 2 * _SPIN_S
    arrivals = (begin + np.cumsum(gaps)).tolist()

    def go_on() -> None:
        while waiting and (free := drive.free):
            chosen = pick(len(free))
            free[0], free[chosen] = free[chosen], free[0]
            connection = free.popleft()
            if connection.is_open:
                drive.send(connection, *waiting.popleft())

    drive.on_free = go_on
    try:
        for number, due in enumerate(arrivals):
            while (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left - spin_s if left > spin_s else 0)
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
