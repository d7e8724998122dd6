"""All open connections: their number, the memory they hold, and their deadlines."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from aetool.serve.limits import ServerLimits
from aetool.serve.logs import log

LOOK_S = 0.25
_OWN_BYTES = 64 << 10
_REPORT_S = 1.0
_OF_CLIENTS = 0.75
"""Share of the allowed memory for clients' bytes; the rest is for what is made of them meanwhile."""
_PIECE_S = 0.006
"""Pause between pieces, in seconds; a piece has up to 256 KiB."""
_OTHERS_S = 0.05


class PacedReader(Protocol):
    """Reader that waits for its turn."""

    def step_forward(self) -> None:
        """Continue reading."""


class ReadingQueue:
    """Queue of large senders: one reads a piece, then the next, with pauses while others ask for little."""

    def __init__(self) -> None:
        """Begin empty."""
        self._line: deque[PacedReader] = deque()
        self._last = float("-inf")
        self.others_at = float("-inf")
        """Time of the last response to a small request, in the event loop's time."""

    def wait(self, one: PacedReader) -> None:
        """Let `one` step forward after those that wait already."""
        self._line.append(one)
        if len(self._line) == 1:
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        pause = _PIECE_S if now - self.others_at < _OTHERS_S else 0.0
        loop.call_at(max(now, self._last + pause), self._next)

    def _next(self) -> None:
        self._last = asyncio.get_running_loop().time()
        self._line.popleft().step_forward()
        if self._line:
            self._schedule()


class GatedConnection(Protocol):
    """Interface of a connection for the gate."""

    peer: str
    deadline: float
    """Time after which the connection is overdue, in the event loop's time."""

    def overdue(self, now: float) -> None:
        """Answer or end the connection, or set another deadline."""

    def abort(self) -> None:
        """End the connection at once."""


class Gate:
    """The connections of one server.

    A connection is *waiting* while its client has to send something: between requests, in a head, in a body. When
    there are too many connections, the one that has waited longest makes room, so that half-open connections
    never lock anybody out. Only where all of them are being answered is a new one refused.

    Each connection may hold 64 KiB (less where `max_held_bytes` is small), whatever the others hold; all the rest
    together may hold what is left of three quarters of `max_held_bytes`. So small requests are taken beside any
    large ones.

    Args:
        limits: limits of the server.
        exempt: decides for an address whether `max_connections_per_client` does not apply, as for a proxy.
    """

    def __init__(self, limits: ServerLimits, exempt: Callable[[str], bool] = lambda peer: False) -> None:
        """Begin without connections."""
        self._limits, self._exempt = limits, exempt
        self._open: dict[GatedConnection, None] = {}
        self._waiting: dict[GatedConnection, None] = {}
        self._peers: Counter[str] = Counter()
        self._unreported: Counter[str] = Counter()
        self._reported = float("-inf")
        self.refused: Counter[str] = Counter()
        """Connections refused or ended by a limit, by reason."""
        self.in_turn = ReadingQueue()
        self.faults = 0
        """Number of malformed requests, which no well-meant client sends."""
        self.opened = 0
        """Number of connections so far."""
        self.held_bytes = 0
        """Bytes of requests and answers in memory."""
        self.own_bytes = min(_OWN_BYTES, limits.max_held_bytes // (2 * limits.max_connections))

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    def is_full(self, peer: str) -> bool:
        """Decide whether another connection of `peer` takes the place of an open one."""
        return len(self._open) >= self._limits.max_connections or self._has_many(peer)

    def _has_many(self, peer: str) -> bool:
        return self._peers[peer] >= self._limits.max_connections_per_client and not self._exempt(peer)

    def enter(self, connection: GatedConnection) -> bool:
        """Add a new connection; False where there is no room."""
        self.opened += 1
        peer = connection.peer
        if self._has_many(peer):
            if not self._make_room("connections of one client", peer):
                return False
        elif len(self._open) >= self._limits.max_connections and not self._make_room("connections"):
            return False
        self._open[connection] = None
        self._peers[peer] += 1
        self.waits(connection)
        return True

    def leave(self, connection: GatedConnection) -> None:
        """Remove a connection, if it is there."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            del self._open[connection]
            self._peers[connection.peer] -= 1
            if not self._peers[connection.peer]:
                del self._peers[connection.peer]

    def waits(self, connection: GatedConnection) -> None:
        """Note that the client of `connection` has to send something, as of now."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            self._waiting[connection] = None

    def works(self, connection: GatedConnection) -> None:
        """Note that the server has a whole request of `connection` to answer."""
        self._waiting.pop(connection, None)

    def room_for(self, more: int) -> bool:
        """Decide whether `more` bytes beyond a connection's own may be held."""
        most = self._limits.max_held_bytes * _OF_CLIENTS - len(self._open) * self.own_bytes
        return self.held_bytes + more <= most

    def count(self, reason: str) -> None:
        """Count a connection that was refused or ended by a limit; the log reports it once a second."""
        self.refused[reason] += 1
        self.faults += 1
        self._unreported[reason] += 1

    async def watch(self) -> None:
        """End what is overdue, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """End what is overdue at `now`, in the event loop's time, and report what was refused."""
        for connection in [one for one in self._open if one.deadline <= now]:
            connection.overdue(now)
        if self._unreported and now - self._reported >= _REPORT_S:
            log(logging.WARNING, "connections refused or ended by a limit", reasons=dict(self._unreported))
            self._unreported.clear()
            self._reported = now

    def abort_all(self) -> None:
        """End every connection at once."""
        for connection in list(self._open):
            connection.abort()

    def _make_room(self, reason: str, peer: str | None = None) -> bool:
        self.count(reason)
        found = next((one for one in self._waiting if peer is None or one.peer == peer), None)
        if found is None:
            return False
        self.leave(found)
        found.abort()
        return True
