"""Health on a port of its own, answered by a thread of its own: no load on the server delays it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

LIVE, READY = b"/v2/health/live", b"/v2/health/ready"
_HEAD_BYTES, _HEAD_S, _CONNECTIONS = 4096, 2.0, 64
_STUCK_S = 30.0


class Health:
    """What probes are told."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._beat = 0.0

    def beat(self) -> None:
        """Note that the server's event loop runs."""
        self._beat = time.monotonic()

    def answer(self, method: bytes, path: bytes) -> tuple[int, bytes]:
        """Status and body; a server whose event loop has not run for 30 s is not live."""
        path = path.partition(b"?")[0]
        if path not in (LIVE, READY):
            return 404, b'{"error":"only /v2/health/live and /v2/health/ready are here"}'
        if method not in (b"GET", b"HEAD"):
            return 405, b'{"error":"GET expected"}'
        if time.monotonic() - self._beat > _STUCK_S:
            return 503, b'{"error":"the server is stuck"}'
        if path == LIVE:
            return 200, b'{"live":true}'
        return (200, b'{"ready":true}') if self._ready() else (503, b'{"error":"the server is stopping"}')


class _Probe(asyncio.Protocol):
    """One connection, one answer."""

    def __init__(self, health: Health, probes: "dict[_Probe, None]") -> None:
        self._health, self._probes, self._head = health, probes, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._probes) >= _CONNECTIONS:  # the oldest makes room
            oldest = next(iter(self._probes))
            del self._probes[oldest]
            oldest._transport.abort()
        self._probes[self] = None
        self._timer = asyncio.get_running_loop().call_later(_HEAD_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head and len(self._head) <= _HEAD_BYTES:
            return
        method, _, rest = self._head.partition(b"\r\n")[0].partition(b" ")
        status, body = self._health.answer(method, rest.partition(b" ")[0])
        head = b"HTTP/1.1 %d -\r\nconnection: close\r\ncontent-type: application/json\r\n" % status
        content = b"" if method == b"HEAD" else body
        self._transport.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), content))
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._probes.pop(self, None)


@contextlib.contextmanager
def probed(listening: socket.socket | None, health: Health) -> Iterator[None]:
    """Answer probes at `listening`, if there is one, while the block runs."""
    if listening is None:
        yield
        return
    loop = asyncio.new_event_loop()
    probes: dict[_Probe, None] = {}

    def serve() -> None:
        server = loop.run_until_complete(loop.create_server(lambda: _Probe(health, probes), sock=listening))
        loop.run_forever()
        server.close()
        loop.close()

    thread = threading.Thread(target=serve, name="aetool-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
