"""The body of a request, within its limit of size; `connections` bounds the time."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aetool.serve.limits import Limits
from aetool.serve.refusal import Refusal

Receive = Callable[[], Awaitable[Any]]


class Disconnected(Exception):  # noqa: N818 - nobody is left to be told
    """The client went away before its request was whole."""


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, limits: Limits
) -> tuple[bytes | bytearray, int | None]:
    """The whole body, and how much of it is JSON where the rest is a tensor's bytes.

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


async def _rest(message: Any, receive: Receive, limits: Limits) -> bytearray:
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


def _too_large(limits: Limits) -> Refusal:
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
