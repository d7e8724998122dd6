"""HTTP for stores behind an API: short answers, and files that are read in parts. Every fault is an OSError."""

import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import Message
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from aetool.errors import reason_of
from aetool.version import __version__

_SECONDS = 60.0
"""Longest wait for a connection, and between two parts of an answer."""
_CHUNK = 1 << 20
_AUTHORIZATION = "Authorization"

Headers = Mapping[str, str]


class Answer(NamedTuple):
    """A short answer, whatever its status."""

    status: int
    headers: Message
    body: bytes


def origin(url: str) -> tuple[str, str]:
    """Return scheme and host of a URL: what is secret to one is not sent to another."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects are followed; the authorization goes along to the same host alone, and nothing leaves https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"redirected from https to {newurl!r:.80}, which is not followed")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        secret = req.unredirected_hdrs.get(_AUTHORIZATION)
        if request is not None and secret and origin(req.full_url) == origin(newurl):
            request.add_unredirected_header(_AUTHORIZATION, secret)
        return request


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that knows http and https alone: no redirect leads to a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


_OPENER = _opener()


def send(method: str, url: str, headers: Headers, body: bytes | None = None) -> Any:
    """Return an answer whose body is not read yet, whatever its status; the caller closes it.

    Raises:
        OSError: no answer.
    """
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("User-Agent", f"aetool/{__version__}")
    for name, value in headers.items():
        secret = name.lower() == _AUTHORIZATION.lower()
        add = request.add_unredirected_header if secret else request.add_header
        add(name, value)
    with _as_os_error():
        try:
            return _OPENER.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            return error


def whole(response: Any, most: int) -> Answer:
    """Read an answer to its end, and close it.

    Raises:
        OSError: it ends early, or has more than `most` bytes.
    """
    with response, _as_os_error():
        body = response.read(most + 1)
    if len(body) > most:
        raise OSError(f"the answer has more than {most:,} bytes, which are not read")
    return Answer(response.status, response.headers, body)


class Download:
    """A file behind a URL; what follows the position is asked for by the first read after a `seek`."""

    def __init__(self, ask: Callable[[Headers], Any], refuse: Callable[[int], NoReturn]) -> None:
        """Take a function that asks for the file with these headers, and one that raises for a status."""
        self._ask, self._refuse = ask, refuse
        self._at = 0
        self._response: Any = None
        self._left: int | None = None

    def seek(self, offset: int) -> int:
        """Set the position."""
        if offset != self._at:
            self.close()
            self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end.

        Raises:
            OSError: the connection ends before the file.
        """
        if self._response is None:
            self._begin()
        with _as_os_error():
            content = bytes(self._response.read(size) if size >= 0 else self._response.read())
        self._at += len(content)
        if self._left is not None:
            self._left -= len(content)
            if not content and size and self._left > 0:
                raise OSError("the connection ended before the file")
        return content

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            with suppress(OSError):
                self._response.close()
        self._response = self._left = None

    def _begin(self) -> None:
        start = self._at
        self._response = self._ask({"Range": f"bytes={start}-"} if start else {})
        status, headers = self._response.status, self._response.headers
        if status not in (200, 206, 416):
            self._refuse(status)
        if status == 416:  # the file ends here
            self.close()
            self._response = io.BytesIO()
            return
        if status == 206 and not headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError(f"another part was sent than asked for: {headers.get('Content-Range')!r:.80}")
        length = headers.get("Content-Length", "")
        self._left = int(length) if length.isdecimal() else None
        if status == 200 and start:  # a server that knows no parts
            self._at = 0
            while self._at < start and self.read(min(_CHUNK, start - self._at)):
                pass


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, OSError) and reason.strerror:
            raise OSError(reason.errno, reason.strerror) from error
        raise OSError(reason_of(reason) if isinstance(reason, BaseException) else str(reason)) from error
    except TimeoutError as error:
        raise OSError(f"no answer within {_SECONDS:g} s") from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{type(error).__name__}: {reason_of(error)}") from error
