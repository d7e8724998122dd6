"""Bytes to requests: uvicorn's protocol, but that it refuses in JSON, and never waits for ever."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Any

import orjson
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from aetool.serve.limits import Limits


class Protocol(HttpToolsProtocol):
    """One connection."""

    limits = Limits()
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Refused where too many are open."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            most = self.limits.max_connections
            self._refuse(503, f"too busy: {most} connections are open; come again", b"retry-after: 1\r\n")
        else:
            self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._in_head = False
        self._watch_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The rest is the app's."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Of a connection that was refused, nothing is read."""
        if not self.transport.is_closing():
            super().data_received(data)
            self._watch_head()

    def _watch_head(self) -> None:
        """A head that did not come in one piece must be whole in time."""
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.body_timeout_s, self._slow_head)
        elif not self._in_head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _slow_head(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, f"head: not whole after {self.limits.body_timeout_s:g} s")

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(400, f"{msg} Check the request line, the headers and Content-Length.")

    def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        phrases = {400: b"Bad Request", 408: b"Request Timeout", 503: b"Service Unavailable"}
        body = orjson.dumps({"error": message})
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: application/json\r\n"
            % (status, phrases[status])
            + b"content-length: %d\r\n%b\r\n%b" % (len(body), headers, body)
        )
        self.transport.close()


class Drained(Server):
    """A server that is stopped in two steps: first it tells the clients, in its answers, to go elsewhere."""

    def __init__(self, config: Config, limits: Limits) -> None:
        super().__init__(config)
        self._limits = limits
        self.draining = asyncio.Event()
        """Set as soon as no new connection is taken."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: who runs the server decides about signals."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no new connections, answer what comes on the open ones and close each, then the idle ones."""
        self.draining.set()
        for server in self.servers:
            server.close()
        until = asyncio.get_running_loop().time() + min(1.0, self._limits.drain_s / 2)
        while self.server_state.connections and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def drained(app: Any, limits: Limits) -> Drained:
    """A server for the ASGI application `app`; its sockets are given to `serve`."""
    config = Config(
        app,
        http=type("LimitedProtocol", (Protocol,), {"limits": limits}),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=math.ceil(limits.keep_alive_s),
        timeout_graceful_shutdown=math.ceil(limits.drain_s),
    )
    return Drained(config, limits)
