"""Health on a port of its own, answered by a process of its own: no load on the server delays it.

This file is also that process's program, so it imports nothing but the standard library.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

LIVE, READY = b"/v2/health/live", b"/v2/health/ready"
_HEAD_BYTES, _HEAD_S, _CONNECTIONS, _BACKLOG = 4096, 2.0, 64, 128
_STUCK_S = 30.0
_SERVING, _STOPPING = b"s", b"x"


class Health:
    """The server's end of the pipe to the process that answers probes."""

    def __init__(self, pipe: int | None = None) -> None:
        """Keep the pipe; None: nobody answers probes."""
        self._pipe = pipe

    def beat(self, *, stopping: bool) -> None:
        """Note that the server's event loop runs, and whether it still takes requests."""
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full: it has enough to read
                os.write(self._pipe, _STOPPING if stopping else _SERVING)

    def close(self) -> None:
        """Leave the pipe to another process, after a fork."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


@contextlib.contextmanager
def probed(listening: socket.socket | None) -> Iterator[Health]:
    """Answer probes at `listening`, if given, while the block runs, in a process of normal priority."""
    if listening is None:
        yield Health()
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [sys.executable, "-I", "-S", str(Path(__file__)), str(listening.fileno()), str(reading)]
    process = subprocess.Popen(command, pass_fds=(listening.fileno(), reading))
    os.close(reading)
    try:
        yield Health(writing)
    finally:
        os.close(writing)  # it ends with the server, however that ends
        process.wait()


class _Probes(asyncio.Protocol):
    """Last report of the server, and the connections that ask."""

    def __init__(self) -> None:
        self.connections: dict[_Probe, None] = {}
        self._beat, self._told = time.monotonic(), b""
        self.ended = asyncio.Event()
        """Event that is set when the server has ended."""

    def data_received(self, data: bytes) -> None:
        self._beat, self._told = time.monotonic(), data[-1:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def answer(self, method: bytes, path: bytes) -> tuple[int, bytes]:
        """Return status and body; a server whose event loop has not run for 30 s is not live."""
        path = path.partition(b"?")[0]
        if path not in (LIVE, READY):
            return 404, b'{"error":"only /v2/health/live and /v2/health/ready are here"}'
        if method not in (b"GET", b"HEAD"):
            return 405, b'{"error":"GET expected"}'
        if time.monotonic() - self._beat > _STUCK_S:
            return 503, b'{"error":"the server is stuck"}'
        if path == LIVE:
            return 200, b'{"live":true}'
        if self._told == _SERVING:
            return 200, b'{"ready":true}'
        state = b"stopping" if self._told else b"starting"
        return 503, b'{"error":"the server is %b"}' % state


class _Probe(asyncio.Protocol):
    """One connection, one answer."""

    def __init__(self, probes: _Probes) -> None:
        self._probes, self._head = probes, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._probes.connections) >= _CONNECTIONS:  # the oldest makes room
            oldest = next(iter(self._probes.connections))
            del self._probes.connections[oldest]
            oldest._transport.abort()
        self._probes.connections[self] = None
        self._timer = asyncio.get_running_loop().call_later(_HEAD_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head and len(self._head) <= _HEAD_BYTES:
            return
        method, _, rest = self._head.partition(b"\r\n")[0].partition(b" ")
        status, body = self._probes.answer(method, rest.partition(b" ")[0])
        head = b"HTTP/1.1 %d -\r\nconnection: close\r\ncontent-type: application/json\r\n" % status
        content = b"" if method == b"HEAD" else body
        self._transport.write(head + b"content-length: %d\r\n\r\n%b" % (len(body), content))
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._probes.connections.pop(self, None)


async def _answer(listening: socket.socket, pipe: int) -> None:
    loop, probes = asyncio.get_running_loop(), _Probes()
    await loop.connect_read_pipe(lambda: probes, os.fdopen(pipe, "rb"))
    server = await loop.create_server(lambda: _Probe(probes), sock=listening, backlog=_BACKLOG)
    await probes.ended.wait()
    server.close()


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # told to the whole group; it answers until the server ends
    descriptor, pipe = map(int, sys.argv[1:])
    asyncio.run(_answer(socket.socket(fileno=descriptor), pipe))


if __name__ == "__main__":
    _main()
