"""The ASGI application: inference on the shortest way, everything else through `pages`."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from aetool.serve.answer import JSON, Header, answer
from aetool.serve.body import Disconnected, Receive, read_body
from aetool.serve.catalogue import Catalogue, Model
from aetool.serve.limits import Limits
from aetool.serve.logs import log
from aetool.serve.metrics import Metrics
from aetool.serve.pages import pages
from aetool.serve.refusal import Refusal
from aetool.serve.request import read_request
from aetool.serve.tokens import shown

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
_CLOSE: Header = (b"connection", b"close")
_LINGER_S = 1.0
_OPEN_TO_ALL = ("/v2/health/live", "/v2/health/ready")


class App:
    """What uvicorn calls for every request."""

    def __init__(
        self, catalogue: Catalogue, limits: Limits, metrics: Metrics, *, token: str | None = None
    ) -> None:
        self._catalogue, self._limits, self._metrics, self._token = catalogue, limits, metrics, token
        self.stopping: Callable[[], bool] = lambda: False
        """Whether the clients should look for another server."""
        self._pages = pages(catalogue, metrics, ready=lambda: not self.stopping(), locked=token is not None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            self._token is not None
            and scope["path"] not in _OPEN_TO_ALL
            and not shown(scope["headers"], self._token)
        ):
            refusal = Refusal(401, "Authorization: the server's bearer token expected", hang_up=True)
            await self._refuse(refusal, receive, send, (b"www-authenticate", b"Bearer"))
        elif scope["method"] == "POST" and (model := self._catalogue.infer.get(scope["path"])) is not None:
            await self._infer(model, scope, receive, send)
        else:
            await self._pages(scope, receive, self._closing(send) if self.stopping() else send)

    async def _infer(self, model: Model, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        try:
            body, header_length = await read_body(scope["headers"], receive, self._limits)
            request = read_request(body, header_length, model.signature, self._limits.max_rows)
            outputs, part = await model.batcher(request).submit(request.rows)
            headers, content = answer(
                model.name, model.version, request, [outputs[name][part] for name, _ in request.outputs]
            )
            await self._send(200, headers, content, send)
            status = 200
        except Disconnected:
            return
        except Refusal as refusal:
            await self._refuse(refusal, receive, send)
            status = refusal.status
        except Exception as error:  # noqa: BLE001 - the client gets an answer, whatever went wrong
            log(logging.ERROR, "an inference failed", model=model.name, error=f"{type(error).__name__}: {error}")
            await self._refuse(Refusal(500, "the model failed; the server's log says why"), receive, send)
            status = 500
        self._metrics.answered(model.name, status, time.perf_counter() - begin)

    async def _refuse(self, refusal: Refusal, receive: Receive, send: Send, *headers: Header) -> None:
        content = orjson.dumps({"error": refusal.message})
        every = [JSON, (b"content-length", b"%d" % len(content)), *headers]
        if refusal.retry_after_s is not None:
            every.append((b"retry-after", b"%d" % refusal.retry_after_s))
        if not refusal.hang_up:
            await self._send(refusal.status, every, content, send)
            return
        await send({"type": "http.response.start", "status": refusal.status, "headers": [*every, _CLOSE]})
        await send({"type": "http.response.body", "body": content, "more_body": True})
        await _discard(receive)
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, status: int, headers: list[Header], content: bytes, send: Send) -> None:
        if self.stopping():
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    @staticmethod
    def _closing(send: Send) -> Send:
        async def closing(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], _CLOSE]
            await send(message)

        return closing


async def _discard(receive: Receive) -> None:
    """Take what a refused client is still sending, for a moment: cut off while it sends, it might not see why."""
    try:
        async with asyncio.timeout(_LINGER_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message["more_body"]:
                    return
    except TimeoutError:
        return
