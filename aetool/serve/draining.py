"""A server that stops in two steps: first its answers tell the clients to go elsewhere, then it closes."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn import Config, Server

from aetool.serve.app import App
from aetool.serve.connections import LimitedProtocol
from aetool.serve.gate import Gate
from aetool.serve.limits import Limits
from aetool.serve.logs import log

_NOTICE_S = 1.0
_STEP_S = 0.02


class Drained(Server):
    """uvicorn's server with a bound on how long it takes to stop."""

    def __init__(self, config: Config, limits: Limits, gate: Gate) -> None:
        super().__init__(config)
        self._limits, self._gate = limits, gate
        self.draining = asyncio.Event()
        """Set as soon as no new connection is taken."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the server."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no new connections, answer requests under way, and end what is left after `grace_s`.

        For a moment requests are still taken on open connections, so that none is lost: each answer tells the
        client to close.
        """
        begin, grace_s = asyncio.get_running_loop().time(), self._limits.grace_s
        self.draining.set()
        for server in self.servers:
            server.close()
        open_connections, tasks = self.server_state.connections, self.server_state.tasks
        await self._until(lambda: not open_connections, begin + min(_NOTICE_S, grace_s / 2))
        for connection in list(open_connections):
            connection.shutdown()
        await self._until(lambda: not open_connections and not tasks, begin + grace_s)
        if open_connections or tasks:
            log(
                logging.WARNING,
                "connections cut off, the grace is over",
                connections=len(open_connections),
                requests=len(tasks),
            )
            self._gate.abort_all()
            for task in list(tasks):
                task.cancel()
            await self._until(lambda: not open_connections and not tasks, begin + grace_s + _NOTICE_S)

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        loop = asyncio.get_running_loop()
        while not done() and not self.force_exit and loop.time() < end:
            await asyncio.sleep(_STEP_S)


def drained(app: App, limits: Limits, gate: Gate) -> Drained:
    """A server for `app`; its sockets are given to `serve`."""
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
    return Drained(config, limits, gate)
