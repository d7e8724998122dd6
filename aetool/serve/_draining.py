"""uvicorn's server, but for its beginning and its end: how connections are taken, and how it stops.

It stops in two steps: first its answers tell the clients to go elsewhere, then it closes.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from uvicorn import Config, Server

from aetool.serve._app import App
from aetool.serve._gate import Gate
from aetool.serve._uvicorn_server import LimitedProtocol
from aetool.serve.limits import ServerLimits
from aetool.serve.logs import log

_MAKING_ROOM_S = 0.002
_NO_DESCRIPTOR_S = 0.1
_OTHERS_TURN_S, _OTHERS_TURNS = 0.001, 5
"""Pause in which another process may accept a connection, and such pauses until this one accepts it."""
_NOTICE_S = 1.0
_CUTTING_S = 1.5
"""Seconds of the grace for ending what is left."""
_STEP_S = 0.02


class Acceptor:
    """Acceptor of new connections, one in each turn of the event loop.

    So a client that connects again and again takes a bounded share of the time; the others wait in the system's
    queue, which costs nothing. Where an open connection has to make room for each new one, or requests were at
    fault since the last one, there is a pause besides. Where several processes accept at one address, those that
    have fewer connections go first.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        gate: Gate,
        is_next: Callable[[int], bool],
    ) -> None:
        """Begin to accept at `listening`; `is_next` decides by the number of connections if this process does."""
        self._listening, self._protocol, self._gate, self._is_next = listening, protocol, gate, is_next
        self._waited = 0
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[Any]] = set()
        self._faults = 0
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._go_on()

    def close(self) -> None:
        """Accept no more connections; those that wait are refused."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        if not self._is_next(len(self._gate) + len(self._opening)) and self._waited < _OTHERS_TURNS:
            self._waited += 1
            self._rest(_OTHERS_TURN_S)
            return
        self._waited = 0
        try:
            connected, address = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left
            log(logging.ERROR, "no connection can be accepted", error=str(error))
            self._rest(_NO_DESCRIPTOR_S)
            return
        if self._gate.is_full(address[0]) or self._gate.faults > self._faults:
            self._rest(_MAKING_ROOM_S)
        self._faults = self._gate.faults
        task = self._loop.create_task(self._open(connected))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connected: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone already
            await self._loop.connect_accepted_socket(self._protocol, connected)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(seconds, self._go_on)


class DrainingServer(Server):
    """uvicorn's server with a bound on the time it takes to stop."""

    _acceptors: Sequence[Acceptor] = ()

    def __init__(self, config: Config, limits: ServerLimits, gate: Gate, is_next: Callable[[int], bool]) -> None:
        """Keep limits and gate."""
        super().__init__(config)
        self._limits, self._gate, self._is_next = limits, gate, is_next
        self.draining = asyncio.Event()
        """Event that is set as soon as no new connection is accepted."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections at `sockets`."""

        made: Any = self.config.http_protocol_class
        protocol = partial(made, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        self._acceptors = [Acceptor(each, protocol, self._gate, self._is_next) for each in sockets or ()]
        self.started = True

    async def shutdown(self, sockets: Any = None) -> None:
        """Accept no new connections, answer requests under way, and end what is left after `grace_s`.

        For a moment requests are still taken on open connections, so that none is lost: each answer tells the
        client to close.
        """
        grace_s = self._limits.grace_s
        begin = asyncio.get_running_loop().time()
        cut_s = max(grace_s - _CUTTING_S, grace_s / 2)
        self.draining.set()
        for acceptor in self._acceptors:
            acceptor.close()
        open_connections, tasks = self.server_state.connections, self.server_state.tasks
        await self._until(lambda: not open_connections, begin + min(_NOTICE_S, grace_s / 2))
        for connection in list(open_connections):
            connection.shutdown()
        await self._until(lambda: not open_connections and not tasks, begin + cut_s)
        if open_connections or tasks:
            log(
                logging.WARNING,
                "connections closed, the grace period is over",
                connections=len(open_connections),
                requests=len(tasks),
            )
            self._gate.abort_all()
            for task in list(tasks):
                task.cancel()
            await self._until(lambda: not open_connections and not tasks, begin + grace_s)

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        loop = asyncio.get_running_loop()
        while not done() and not self.force_exit and loop.time() < end:
            await asyncio.sleep(_STEP_S)


def drained(
    app: App, limits: ServerLimits, gate: Gate, is_next: Callable[[int], bool] = lambda connections: True
) -> DrainingServer:
    """Return a server for `app`; its sockets are given to `serve`."""
    config = Config(
        app,
        http=type("Protocol", (LimitedProtocol,), {"limits": limits, "gate": gate, "admission": app}),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    return DrainingServer(config, limits, gate, is_next)
