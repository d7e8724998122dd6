"""Bytes to requests: uvicorn's protocol with a bound on everything that a client can make it wait for or hold."""

import asyncio
import enum
import math
from typing import Any, Protocol

import httptools
import orjson
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aetool.serve._gate import Gate, ReadingQueue
from aetool.serve.limits import ServerLimits

_LINGER_S = 1.0
"""Seconds for which a refused client that still sends is read: cut off, it might not see the response."""
_PIPELINED = 64
_QUEUED_BYTES = 4 << 10
"""Bytes of a pipelined request while it waits for the ones before it, about."""
_PIECES, _PIECE_BYTES = 250, 64
"""Pieces of a body that may be small, and the mean size of the others."""
_MUCH_BYTES = 64 << 10
"""Bytes sent on one connection without a whole response between, after which others go first."""
_REFUSED_S = 0.04
"""Seconds for which a connection is not read after a request that found the line full.

So clients that retry at once leave the server time for the requests it took; what they send waits in the system.
"""
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class Phase(enum.Enum):
    """State of a connection: what it is waiting for."""

    HEAD = enum.auto()
    """The rest of a head, or a new connection's first byte."""
    BODY = enum.auto()
    WORK = enum.auto()
    """The server's own answer."""
    IDLE = enum.auto()
    """Another request, after an answer."""
    CLOSING = enum.auto()
    """The client, to read the last answer."""


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """Limit that was passed inside of a callback of the parser."""


class Admission(Protocol):
    """Decision about requests before their bodies are read."""

    def is_full(self, scope: Any) -> bool:
        """Decide whether a request would have to wait behind too many."""

    def refusal(self, scope: Any, *, close: bool) -> bytes:
        """Count a refused request, and return the whole response."""


class _Flow(FlowControl):
    """uvicorn's pauses of reading, and those of a connection in line behind others."""

    in_line = False

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            if not self.in_line:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            if not self.in_line:
                self._transport.resume_reading()

    def step_back(self, line: ReadingQueue) -> None:
        """Stop reading until it is this connection's turn."""
        if not self.in_line:
            self.in_line = True
            if not self.read_paused:
                self._transport.pause_reading()
            line.wait(self)

    def step_aside(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Stop reading for `seconds`."""
        if not self.in_line and not self._transport.is_closing():
            self.in_line = True
            if not self.read_paused:
                self._transport.pause_reading()
            loop.call_later(seconds, self.step_forward)

    def step_forward(self) -> None:
        self.in_line = False
        if not (self.read_paused or self._transport.is_closing()):
            self._transport.resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """One connection. A class derived from it sets `limits`, `gate` and `admission`."""

    limits: ServerLimits
    gate: Gate
    admission: Admission
    peer = ""
    deadline = math.inf
    flow: _Flow
    _phase = Phase.HEAD
    _write_deadline = math.inf
    _active: RequestResponseCycle | None = None
    """The request that is being answered; `cycle` is the last one whose head came."""
    _in_head = True
    _head_bytes = _fed_bytes = _body_fed = _headers = _pieces = 0
    _sent_bytes = _body_bytes = _answer_bytes = _held_bytes = 0
    _resuming = _lost = False
    _refused_head, _refused_bytes = b"", 0
    _turned_away = False
    """True within `data_received` after a request was refused for a full line."""
    _refusal: tuple[int, str] | None = None

    # The transport's side

    def connection_made(self, transport: Any) -> None:
        """Admit the connection, or refuse it where too many are being answered."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self.peer = self.client[0] if self.client else ""
        self.deadline = self.loop.time() + self.limits.head_timeout_s
        if not self.gate.enter(self):
            most = self.limits.max_connections
            self._phase = Phase.CLOSING
            self._write(503, f"too busy: {most} connections are open; try again later", b"retry-after: 1\r\n")
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release what the connection held."""
        self.gate.leave(self)
        self.gate.held_bytes -= self._held_bytes
        self._held_bytes = 0
        self._lost = True
        self._phase, self.deadline = Phase.CLOSING, math.inf
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the connection is being closed: then the bytes are dropped."""
        self._sent_bytes += len(data)
        if self._sent_bytes > _MUCH_BYTES and not self.transport.is_closing():
            self.flow.step_back(self.gate.in_turn)
        if self._phase is Phase.CLOSING or self.transport.is_closing():
            return
        if self._is_refused_again(data):
            self._refuse_again()
            return
        self._fed_bytes += len(data)
        self._refused_head = b""
        try:
            self._feed(data)
        except httptools.HttpParserError:
            status, message = self._refusal or (
                400,
                "Invalid HTTP request received. Check the request line, the headers and Content-Length.",
            )
            self.refuse(status, message)
        else:
            if self._in_head and self._fed_bytes > self.limits.max_head_bytes:
                self.refuse(*self._large_head())
            elif self._fed_bytes > self.limits.max_head_bytes + 2 * self._body_fed:
                self.refuse(400, "body: mostly chunk extensions or trailers; send data")
            if self._turned_away:
                self._turned_away = False
                self._remember_head(data)

    def _remember_head(self, data: bytes) -> None:
        """Keep a refused request's head, if `data` are all of it: the same head frames the same again."""
        end = data.find(b"\r\n\r\n") + 4
        framing = [value for name, value in self.headers if name in (b"content-length", b"transfer-encoding")]
        if self.cycle.keep_alive and self._in_head and framing == [b"%d" % (len(data) - end)]:
            self._refused_head, self._refused_bytes = data[:end], len(data)

    def _is_refused_again(self, data: bytes) -> bool:
        """Decide whether `data` are the refused request again, and the line is still full."""
        return (
            bool(self._refused_head)
            and self._phase is Phase.IDLE
            and len(data) == self._refused_bytes
            and data.startswith(self._refused_head)
            and self.admission.is_full(self.scope)
        )

    def _refuse_again(self) -> None:
        self.transport.write(self.admission.refusal(self.scope, close=False))
        self.flow.step_aside(self.loop, _REFUSED_S)
        self.server_state.total_requests += 1
        self._sent_bytes = 0
        self.deadline = self.loop.time() + self.limits.keep_alive_s
        self.gate.waits(self)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The parser leaves after a head that asks for another protocol. We go on with HTTP/1.1, as RFC 9110
            # allows: another parser is told how long the body is, and takes what follows.
            framing = [
                b"%b: %b\r\n" % (name, value)
                for name, value in self.headers
                if name in (b"content-length", b"transfer-encoding")
            ]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._resuming = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
            self._resuming = False
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)

    def pause_writing(self) -> None:
        """Start the `write_timeout_s` of a client that reads more slowly than it is answered."""
        super().pause_writing()
        self._write_deadline = self.loop.time() + self.limits.write_timeout_s
        self.deadline = min(self.deadline, self._write_deadline)
        self._account()

    def resume_writing(self) -> None:
        """End the deadline: the client has read most of the response."""
        super().resume_writing()
        self._write_deadline = math.inf
        self._account()

    # The parser's side

    def on_message_begin(self) -> None:
        """Begin a request at its first byte."""
        if self._resuming:
            return
        if len(self.pipeline) >= _PIPELINED:
            raise self._refused(
                400, f"more than {_PIPELINED} requests at once on one connection; wait for answers"
            )
        super().on_message_begin()
        self.scope["state"]["connection"] = self
        self._in_head = True
        self._head_bytes = self._headers = 0
        if self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self.deadline = self.loop.time() + self.limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        if not self._resuming:
            self._take_head(len(url))
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that follow a body in chunks (trailers) are bounded and ignored."""
        if self._resuming:
            return
        self._headers += 1
        self._take_head(len(name) + len(value) + 4)
        if self._in_head:
            super().on_header(name, value)

    def _take_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.limits.max_head_bytes or self._headers > self.limits.max_headers:
            raise self._refused(*self._large_head())

    def on_headers_complete(self) -> None:
        """Call the app: the head is complete."""
        if self._resuming:
            return
        self._in_head = False
        self._fed_bytes = self._body_fed = self._pieces = 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        if cycle.more_body:
            self._phase, self.deadline = Phase.BODY, self.loop.time() + self.limits.body_timeout_s
        else:
            self._has_work()
        if self.admission.is_full(cycle.scope):
            self._turn_away(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _turn_away(self, cycle: RequestResponseCycle) -> None:
        """Refuse a request without reading its body, and delay the next one."""
        self.transport.write(self.admission.refusal(cycle.scope, close=not cycle.keep_alive))
        cycle.response_started = cycle.response_complete = True
        cycle.body = bytearray()
        if not cycle.keep_alive:
            self.transport.close()
        self.flow.step_aside(self.loop, _REFUSED_S)
        self._turned_away = True
        self.on_response_complete()

    def _has_work(self) -> None:
        self._phase, self.deadline = Phase.WORK, self._write_deadline
        self.gate.works(self)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which may be held for as long as its request takes."""
        self._body_fed += len(body)
        if not self.cycle.response_started:
            self._pieces += 1
            self._body_bytes += len(body)
            if self._pieces > _PIECES + self._body_bytes // _PIECE_BYTES:
                raise self._refused(400, f"body: chunks of fewer than {_PIECE_BYTES} bytes; send larger ones")
            if self._body_bytes > self.gate.own_bytes and not self._account():
                raise self._refused(503, self._full())
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        if self.parser.should_upgrade():
            return  # it comes by another parser, see _feed
        self._fed_bytes = self._body_fed = 0
        self._in_head = True
        if self.cycle is self._active and self._phase is Phase.BODY:
            self._has_work()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request, or wait for it."""
        self.server_state.total_requests += 1
        if self._sent_bytes <= _MUCH_BYTES:
            self.gate.in_turn.others_at = self.loop.time()
        self._answer_bytes = self._sent_bytes = 0
        self._body_bytes = sum(len(cycle.body) for cycle, _ in self.pipeline)
        self._account()
        if self.transport.is_closing():
            self._phase, self.deadline = Phase.CLOSING, self.loop.time() + self.limits.write_timeout_s
            return
        self.flow.resume_reading()
        self.gate.waits(self)
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._active = None
            self._phase, self.deadline = Phase.IDLE, self.loop.time() + self.limits.keep_alive_s

    # Limits

    def hold_answer(self, size: int) -> bool:
        """Count a response of `size` bytes as held until it is read; False where that is too much now."""
        self._answer_bytes, before = size, self._answer_bytes
        if self._account() or size <= self.gate.own_bytes:
            return True
        self._answer_bytes = before
        self._account()
        self.gate.count("bytes held")
        return False

    def _account(self) -> bool:
        """Report to the gate how much is held; False where that is too much."""
        if self._lost:
            return True
        held = self._body_bytes + self._answer_bytes + len(self.pipeline) * _QUEUED_BYTES
        held = max(0, held + self.transport.get_write_buffer_size() - self.gate.own_bytes)
        self.gate.held_bytes += held - self._held_bytes
        self._held_bytes = held
        return held == 0 or self.gate.room_for(0)

    def _full(self) -> str:
        return (
            f"too busy: requests and answers fill the {self.limits.max_held_bytes:,} bytes allowed "
            "(--max-held-mb); try again later"
        )

    def _large_head(self) -> tuple[int, str]:
        limits = self.limits
        return 431, (
            f"head: more than {limits.max_head_bytes:,} bytes (--max-head-kb) or {limits.max_headers} headers "
            "(--max-headers); send fewer"
        )

    def _refused(self, status: int, message: str) -> _Refused:
        self._refusal = status, message
        return _Refused()

    def overdue(self, now: float) -> None:
        """Answer 408 where a request has begun, or end the connection."""
        if self._phase is Phase.CLOSING:
            self.abort()
        elif self._write_deadline <= now:
            self.gate.count("answer not read in time")
            self.abort()
        elif self.transport.is_closing():
            self._phase, self.deadline = Phase.CLOSING, now + self.limits.write_timeout_s
        elif self._phase is Phase.IDLE:
            self._phase, self.deadline = Phase.CLOSING, now + self.limits.write_timeout_s
            self.transport.close()
        elif self._phase is Phase.HEAD:
            self.refuse(408, f"head: not whole after {self.limits.head_timeout_s:g} s (--head-timeout)")
        elif self._phase is Phase.BODY:
            self.refuse(
                408,
                f"body: not whole after {self.limits.body_timeout_s:g} s (--body-timeout); Content-Length may be "
                "too large",
            )
        else:
            self.deadline = self._write_deadline

    def refuse(self, status: int, message: str) -> None:
        """Answer instead of the app, where it has not begun to, and close once the client has seen it."""
        self.gate.count(f"{status} {message.partition(':')[0][:40]}")
        answering = self._active is not None and self._active.response_started
        queued = self._active is not None and self._active is not self.cycle
        self._disconnect()
        if answering or queued:  # another answer would be taken for that of an earlier request
            self.abort()
            return
        self._write(status, message, b"retry-after: 1\r\n" if status == 503 else b"")
        if status == 503:
            self.flow.pause_reading()  # a client that floods is held up, not read
        else:
            self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._phase, self.deadline = Phase.CLOSING, self.loop.time() + _LINGER_S

    def abort(self) -> None:
        """End the connection at once."""
        self._phase = Phase.CLOSING
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Make the app stop its work for this client."""
        for cycle in (self._active, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self._body_bytes = self._answer_bytes = 0
        self._account()

    def _write(self, status: int, message: str, headers: bytes = b"") -> None:
        body = orjson.dumps({"error": message})
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: application/json\r\n"
            % (status, _PHRASES[status])
            + b"content-length: %d\r\n%b\r\n%b" % (len(body), headers, body)
        )
