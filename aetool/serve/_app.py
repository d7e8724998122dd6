"""The ASGI application: request bodies, inference on the shortest path, everything else through `routes`."""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from aetool.serve._batching import busy, full_line
from aetool.serve._metrics import Metrics
from aetool.serve._protocol import JSON, Header, Refusal, answer, decided, json_bytes, read_request
from aetool.serve._routes import pages
from aetool.serve.auth import Hosts, Proxies, shown
from aetool.serve.limits import ServerLimits
from aetool.serve.logs import log
from aetool.serve.models import Catalogue, ServedModel

# The body of a request, within its limit of size; `uvicorn_server` bounds the time.

Receive = Callable[[], Awaitable[Any]]


class Disconnected(Exception):  # noqa: N818 - nobody is left to be told
    """Client that went away before its request was complete."""


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, limits: ServerLimits
) -> tuple[bytes | bytearray, int | None]:
    """Read the whole body; also return how much of it is JSON where the rest is a tensor's bytes.

    Raises:
        Refusal: it is too large, compressed, or its headers contradict themselves.
        Disconnected: the client went away.
    """
    header_length: int | None = None
    for name, value in headers:
        if name == b"content-length" and int(value) > limits.max_body_bytes:
            raise _too_large(limits)
        if name == b"inference-header-content-length":
            header_length = _count(value)
        elif name == b"content-encoding" and value != b"identity":
            raise Refusal(415, "Content-Encoding: send the body uncompressed", hang_up=True)
    message = await receive()
    if message["type"] == "http.request" and not message["more_body"]:  # the rule: it came in one piece
        body: bytes = message["body"]
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
        return body, header_length
    return await _rest(message, receive, limits), header_length


async def drop_body(receive: Receive) -> None:
    """Take the whole body and keep nothing of it, so that the connection can be used again.

    Raises:
        Disconnected: the client went away.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        if not message["more_body"]:
            return


async def _rest(message: Any, receive: Receive, limits: ServerLimits) -> bytearray:
    body = bytearray()  # grows in place: neither pieces nor a copy of all of them are held beside it
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message["body"]
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
        if not message["more_body"]:
            return body
        message = await receive()


def _too_large(limits: ServerLimits) -> Refusal:
    return Refusal(
        413,
        f"body: larger than {limits.max_body_bytes:,} bytes (--max-body-mb); send fewer rows at a time",
        hang_up=True,
    )


def _count(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise Refusal(
            400, f"Inference-Header-Content-Length: a number expected, found {value[:40].decode('latin-1')!r}"
        )
    return int(value)


# Who goes first where there are fewer cores than threads: the one that answers, not those that compute.

NICER = 4


def give_way() -> None:
    """Lower the priority of the calling thread, and of those it starts, on its core.

    Under a flood of requests the threads that compute are busy all the time, and the event loop is wanted for
    moments: to refuse at once what cannot be computed in time. Linux alone has a niceness per thread.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(PermissionError):  # of a sandbox: all is served, refusals take longer
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + NICER))


Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
_CLOSE: Header = (b"connection", b"close")
_LINGER_S = 1.0
_LARGE = 64 << 10
"""Bytes of JSON, or numbers of a response, above which another thread does the work."""
_NUMBER_BYTES = 24
"""Bytes of a number in a response being written, about: as an array, in pieces, and as a whole."""
_UNREAD = "answers that clients have not read yet fill the memory allowed (--max-held-mb)"
_REST = 3
"""Rest after a large request or response, as a multiple of its time, while small ones come."""
_OPEN_TO_ALL = ("/v2/health/live", "/v2/health/ready")
_PATH_SHOWN = 200
_REQUEST_ID, _ID = b"x-request-id", re.compile(rb"[!-~]{1,128}")


class App:
    """ASGI application that uvicorn calls for every request.

    Args:
        catalogue: the served models.
        limits: limits of the server.
        metrics: counters of requests.
        figures: returns the content of /metrics; None: that of `metrics`.
        token: bearer token that clients must show; None: none.
        hosts: allowed hosts; None: any.
        proxies: trusted proxies; None: none.
        access_log: log a line for every request.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        limits: ServerLimits,
        metrics: Metrics,
        *,
        figures: Callable[[], Awaitable[bytes]] | None = None,
        token: str | None = None,
        hosts: Hosts | None = None,
        proxies: Proxies | None = None,
        access_log: bool = False,
    ) -> None:
        """Make the other routes."""
        self._catalogue, self._limits, self._metrics = catalogue, limits, metrics
        self._hosts = Hosts() if hosts is None else hosts
        self._proxies = Proxies() if proxies is None else proxies
        self._access_log = access_log
        self.token = token
        """Token that clients must show; may be replaced while the server runs."""
        self.stopping: Callable[[], bool] = lambda: False
        """True: clients should look for another server."""
        self._pages = pages(
            catalogue, self._own_figures if figures is None else figures, ready=lambda: not self.stopping()
        )
        content = orjson.dumps({"error": full_line(limits).message})
        self._refusal, self._refusal_closing = (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
            b"%bcontent-length: %d\r\n\r\n%b" % (close, len(content), content)
            for close in (b"", b"connection: close\r\n")
        )
        self._large = ThreadPoolExecutor(1, "aetool-large", give_way)
        self._small = self._small_seen = 0
        self._free_at = 0.0

    async def _own_figures(self) -> bytes:
        return self._metrics.page()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it."""
        begin = time.perf_counter()
        model, status, queued_s = None, 0, 0.0
        if self._access_log:
            send = _naming(scope, send)
        try:
            if scope["path"] in _OPEN_TO_ALL:
                status = await self._page(scope, receive, send)
            elif (refusal := self._not_let_in(scope)) is not None:
                challenge = [(b"www-authenticate", b"Bearer")] if refusal.status == 401 else []
                status = await self._refuse(refusal, receive, send, *challenge)
            elif scope["method"] == "POST" and (model := self._catalogue.infer.get(scope["path"])) is not None:
                status, queued_s = await self._infer(model, scope, receive, send)
            else:
                status = await self._page(scope, receive, send)
        except Disconnected:
            pass
        if 400 <= status < 500:
            scope["state"]["connection"].gate.faults += 1
        seconds = time.perf_counter() - begin
        if status:  # else the client went away, or the gate counts it
            self._metrics.answered("" if model is None else model.name, status, seconds)
        if self._access_log:
            self._log(scope, model, status, seconds, queued_s)

    def is_full(self, scope: Scope) -> bool:
        """Decide whether a new request would have to wait behind too many; if not, count it as expected."""
        if scope["method"] != "POST" or (model := self._catalogue.infer.get(scope["path"])) is None:
            return False
        return not (model.line.expects() or self.stopping())

    def refusal(self, scope: Scope, *, close: bool) -> bytes:
        """Count an inference request that is refused unread, and return the whole response."""
        model = self._catalogue.infer[scope["path"]]
        self._metrics.answered(model.name, 503)
        refusal = self._refusal_closing if close else self._refusal
        if self._access_log:
            name, value = _named(scope)
            self._log(scope, model, 503, 0.0, 0.0)
            return refusal.replace(b"\r\n", b"\r\n%b: %b\r\n" % (name, value), 1)
        return refusal

    def _log(self, scope: Scope, model: ServedModel | None, status: int, seconds: float, queued_s: float) -> None:
        """Log one request; `model` is the version that answers it."""
        log(
            logging.INFO,
            "request",
            request_id=scope["state"]["request_id"],
            client=self._proxies.client((scope["client"] or ("",))[0], scope["headers"]),
            method=scope["method"],
            path=scope["path"][:_PATH_SHOWN],
            status=status or None,
            model=None if model is None else model.name,
            version=None if model is None else model.version,
            rows=scope["state"].get("rows"),
            seconds=round(seconds, 6),
            queue_seconds=round(queued_s, 6),
        )

    def _not_let_in(self, scope: Scope) -> Refusal | None:
        if not self._hosts.allow(scope["headers"]):
            return Refusal(421, "Host: not a name of this server (--allow-host)", hang_up=True)
        if self.token is not None and not shown(scope["headers"], self.token):
            return Refusal(401, "Authorization: the server's bearer token expected", hang_up=True)
        return None

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> int:
        status = 0

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.stopping():
                    message["headers"] = [*message["headers"], _CLOSE]
            await send(message)

        await self._pages(scope, receive, watched)
        return status

    async def _infer(self, model: ServedModel, scope: Scope, receive: Receive, send: Send) -> tuple[int, float]:
        """Answer an inference request; return the status, and the seconds that it waited to be computed."""
        queued_s = 0.0
        try:
            body, header_length = await read_body(scope["headers"], receive, self._limits)
            model.line.require_room()
            if json_bytes(body, header_length) <= _LARGE:
                request = read_request(body, header_length, model.signature, self._limits.max_rows)
                self._small += 1
            else:
                how = model.signature, self._limits.max_rows
                request = await self._apart(read_request, body, header_length, *how)
            del body
            scope["state"]["rows"] = len(request.rows)
            outputs, part, queued_s = await model.batcher(request).submit(request.rows)
            self._metrics.queued(model.name, queued_s)
            values = decided(request, outputs, part, model.calibrated)
            size = sum(found.size for found in values)
            if not scope["state"]["connection"].hold_answer(size * _NUMBER_BYTES):  # before it is written
                raise busy(_UNREAD)
            if size <= _LARGE:
                headers, content = answer(model.name, model.version, request, values)
            else:
                headers, content = await self._apart(answer, model.name, model.version, request, values)
            if not scope["state"]["connection"].hold_answer(len(content)):
                raise busy(_UNREAD)
            await self._send(200, headers, content, send)
            return 200, queued_s
        except Refusal as refusal:
            return await self._refuse(refusal, receive, send), queued_s
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 - the client gets an answer, whatever went wrong
            log(logging.ERROR, "an inference failed", model=model.name, error=f"{type(error).__name__}: {error}")
            failed = Refusal(500, "the model failed; the server's log says why")
            return await self._refuse(failed, receive, send), queued_s

    async def _apart(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a slow function in another thread, so that small requests are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._large, self._rested, function, *arguments)

    def _rested(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function after a rest: only one thread runs at a time, and the event loop needs its turn."""
        time.sleep(max(0.0, self._free_at - time.perf_counter()))
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            end = time.perf_counter()
            self._free_at = end + _REST * (end - begin) * (self._small != self._small_seen)
            self._small_seen = self._small

    async def _refuse(self, refusal: Refusal, receive: Receive, send: Send, *headers: Header) -> int:
        content = orjson.dumps({"error": refusal.message})
        every = [JSON, (b"content-length", b"%d" % len(content)), *headers]
        if refusal.retry_after_s is not None:
            every.append((b"retry-after", b"%d" % refusal.retry_after_s))
        if not refusal.hang_up:
            await self._send(refusal.status, every, content, send)
            return refusal.status
        await send({"type": "http.response.start", "status": refusal.status, "headers": [*every, _CLOSE]})
        await send({"type": "http.response.body", "body": content, "more_body": True})
        await _discard(receive)
        await send({"type": "http.response.body", "body": b""})
        return refusal.status

    async def _send(self, status: int, headers: list[Header], content: bytes, send: Send) -> None:
        if self.stopping():
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _named(scope: Scope) -> Header:
    """Give a request its id, the client's own where that is in order, and return it as a header."""
    given = next((value for name, value in scope["headers"] if name == _REQUEST_ID), b"")
    found = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()
    scope["state"]["request_id"] = found.decode()
    return _REQUEST_ID, found


def _naming(scope: Scope, send: Send) -> Send:
    """Return `send` with the request's id in the response's headers."""
    header = _named(scope)

    async def naming(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return naming


async def _discard(receive: Receive) -> None:
    """Read for a moment what a refused client still sends: cut off, it might not see the response."""
    try:
        async with asyncio.timeout(_LINGER_S):
            await drop_body(receive)
    except (TimeoutError, Disconnected):
        return
