"""A client that does as little as can be: HTTP/1.1 over bare sockets, on connections that stay open."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from aetool.errors import InputError

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As in the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """Of `http://HOST:PORT`.

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
    """A whole request.

    Args:
        json_length: where a tensor's bytes follow the JSON in `body`, how long the JSON is.
    """
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address.authority}", f"Content-Length: {len(body)}"]
    if json_length is not None:
        lines.append(f"Inference-Header-Content-Length: {json_length}")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection(asyncio.Protocol):
    """One request at a time; the answer goes to `answered`: its status, head and body, or 0 when there is none."""

    def __init__(self, answered: "Callable[[Connection, int, bytes, bytes], None]") -> None:
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but not by its class

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        """Send a whole request."""
        assert self._transport is not None
        self.busy = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
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
        """The request under way, if any, gets no answer."""
        if self.busy:
            self.busy = False
            self._answered(self, 0, b"", b"")

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.close()


async def connect(address: Address, answered: Callable[[Connection, int, bytes, bytes], None]) -> Connection:
    """A new connection.

    Raises:
        OSError: nobody listens there.
    """
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(answered), address.host, address.port
    )
    return connection


async def fetch(address: Address, request: bytes, timeout_s: float = 10.0) -> tuple[int, bytes]:
    """Status and body of the answer to one request; status 0: the connection ended without one.

    Raises:
        OSError: nobody listens there, or the answer does not come in time.
    """
    future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def answered(_: Connection, status: int, head: bytes, body: bytes) -> None:
        if not future.done():
            future.set_result((status, body))

    async with asyncio.timeout(timeout_s):
        connection = await connect(address, answered)
        try:
            connection.send(request)
            return await future
        finally:
            connection.close()
