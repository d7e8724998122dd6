"""The whole server: bundles made ready, a socket, an event loop, and the shutdown once connections drained."""

import asyncio
import contextlib
import ctypes
import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from uvicorn import Config, Server
from uvicorn.loops.auto import auto_loop_factory

import aetool
from aetool.errors import InputError
from aetool.runtime.following import Tenure
from aetool.runtime.machine import usable_cores
from aetool.serve._app import App, give_way
from aetool.serve._gate import Gate
from aetool.serve._health import Health, probed
from aetool.serve._metrics import Metrics
from aetool.serve._reload import Watch, state
from aetool.serve._shadow import Shadow
from aetool.serve._uvicorn_server import LimitedProtocol
from aetool.serve.auth import Hosts, Proxies, is_loopback, read_token
from aetool.serve.limits import ServerLimits
from aetool.serve.logs import log
from aetool.serve.models import Catalogue, Place, Served
from aetool.serve.warmup import Opening, Ready, make_ready

# uvicorn's server, but for its beginning and its end: how connections are taken, and how it stops.
#
# It stops in two steps: first its answers tell the clients to go elsewhere, then it closes.

_MAKING_ROOM_S = 0.002
_NO_DESCRIPTOR_S = 0.1
_NOTICE_S = 1.0
_CUTTING_S = 1.5
"""Seconds of the grace for ending what is left."""
_STEP_S = 0.02


class Acceptor:
    """Acceptor of new connections, one in each turn of the event loop.

    So a client that connects again and again takes a bounded share of the time; the others wait in the system's
    queue, which costs nothing. Where an open connection has to make room for each new one, or requests were at
    fault since the last one, there is a pause besides.
    """

    def __init__(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], gate: Gate) -> None:
        """Begin to accept at `listening`."""
        self._listening, self._protocol, self._gate = listening, protocol, gate
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

    def __init__(self, config: Config, limits: ServerLimits, gate: Gate) -> None:
        """Keep limits and gate."""
        super().__init__(config)
        self._limits, self._gate = limits, gate
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
        self._acceptors = [Acceptor(listening, protocol, self._gate) for listening in sockets or ()]
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


def drained(app: App, limits: ServerLimits, gate: Gate) -> DrainingServer:
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
    return DrainingServer(config, limits, gate)


_BEAT_S = 0.1
_DIGEST_S = 1.0
_M_MMAP_THRESHOLD = -3
"""glibc's name for mallopt's parameter."""
_LARGE_BYTES = 512 << 10
_DESCRIPTORS = 256
"""File descriptors for everything but connections."""


@dataclass(frozen=True, slots=True)
class Access:
    """Access rules and access log."""

    allowed_hosts: tuple[str, ...] = ()
    """Allowed names in a request's Host; empty: any."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose `X-Forwarded-For` is trusted."""
    log: bool = False
    """True: a line is logged for every request."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a server that has stopped."""

    requests: int
    seconds: float
    interrupted: bool
    """True after Ctrl-C, False after SIGTERM."""


def serve(
    places: Sequence[Place],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    health_port: int | None = None,
    opening: Opening = Opening(),  # noqa: B008 - frozen
    limits: ServerLimits = ServerLimits(),  # noqa: B008 - frozen
    token: str | None = None,
    token_file: Path | None = None,
    access: Access = Access(),
    shadows: Sequence[Place] = (),
) -> Summary:
    """Serve the bundles in `places` until SIGTERM or Ctrl-C; in the main thread.

    SIGHUP opens the bundles again, and reads the token again.

    Args:
        places: the bundles.
        host: address to listen at.
        opening: how bundles are opened.
        limits: limits of the server.
        port: 0 for any that is free; the log tells which.
        health_port: also answer health there, in a process of its own; 0 for any that is free.
        token: what clients must show, but for the health of the server.
        token_file: where the token is, instead of `token`.
        access: who may ask what, and whether each request is logged.
        shadows: challengers by the name of the bundle that they are compared with; see `/metrics`.

    Raises:
        InputError: the address cannot be had, the token cannot be read, or a shadow takes other rows.
        BundleError: a bundle is damaged, not signed as asked for, or differs from its golden rows here.
        ProviderError: the provider does not work here.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InputError(
            "serve: must be called in the main thread, which receives signals; start a process for it"
        )
    gate = Gate(limits, exempt=(proxies := Proxies(access.trusted_proxies)).trusted)
    hosts = Hosts(access.allowed_hosts)
    if token_file is not None:
        token = read_token(token_file)
    _allow_descriptors(limits.max_connections)
    _give_memory_back()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        if health_port is not None and getattr(sys, "frozen", False):
            raise InputError(
                "--health-port: needs a Python interpreter, which a packed program does not have; leave it out"
            )
        probing = None if health_port is None else stack.enter_context(_listen(host, health_port))
        loader = stack.enter_context(ThreadPoolExecutor(1, "aetool-load", give_way))
        before = [(place, state(place)) for place in places]  # before they are read: no change is missed
        # There, since onnxruntime's threads are as nice as the one that opens their session.
        ready = [
            (one, loader.submit(make_ready, one.target(), opening, limits.max_batch).result()) for one in places
        ]
        executor = stack.enter_context(ThreadPoolExecutor(usable_cores(), "aetool-batch", give_way))
        health = stack.enter_context(probed(probing))
        runner = stack.enter_context(asyncio.Runner(loop_factory=auto_loop_factory()))
        metrics = Metrics()
        metrics.watch_connections(gate)
        counter = stack.enter_context(ThreadPoolExecutor(1, "aetool-count", give_way))
        beside = _open_shadows(shadows, ready, opening, limits, metrics, stack)

        def make(place: Place, found: Ready) -> Served:
            shadow = beside.get(place.name)
            live = metrics.live_of(place, place.name, found.version, found.expected, limits.drift_window_s)
            # With another threshold than the bundle's, nothing was promised.
            agent = place.agent if opening.threshold is None else None
            tenure = None if agent is None else Tenure(found.path, None, agent)
            observe = metrics.batches_of(place.name)
            return Served(place.name, found, limits, executor, observe, live, shadow, tenure)

        async def main() -> Summary:
            begin = time.monotonic()
            catalogue = Catalogue([(place, make(place, found)) for place, found in ready])
            metrics.watch_waiting(catalogue.waiting_rows)
            app = App(
                catalogue,
                limits,
                metrics,
                lambda: asyncio.get_running_loop().run_in_executor(counter, metrics.page),
                token=token,
                hosts=hosts,
                proxies=proxies,
                access_log=access.log,
            )
            server = drained(app, limits, gate)
            app.stopping = server.draining.is_set
            watch = Watch(before, catalogue, metrics, make, opening, limits.max_batch, loader)
            interrupted = _handle_signals(server, lambda: _reload(app, watch, token_file))
            log(
                logging.INFO,
                "serving",
                url=_url(listening),
                health=None if probing is None else _url(probing),
                models=catalogue.names(),
                aetool=aetool.__version__,
                token=bool(token),
            )
            warn_if_open(host, token)
            endless = (watch.run(), gate.watch(), _beat(health, server.draining), _digest(metrics, counter))
            background = [asyncio.create_task(each) for each in endless]
            await server.serve([listening])
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            answered = server.server_state.total_requests
            log(logging.INFO, "stopped", requests=answered)
            return Summary(answered, time.monotonic() - begin, interrupted.is_set())

        return runner.run(main())


def _open_shadows(
    shadows: Sequence[Place],
    served: Sequence[tuple[Place, Ready]],
    opening: Opening,
    limits: ServerLimits,
    metrics: Metrics,
    stack: contextlib.ExitStack,
) -> dict[str, Shadow]:
    """Open the challengers, in the one thread that computes for them."""
    if not shadows:
        return {}
    executor = ThreadPoolExecutor(1, "aetool-shadow", give_way)
    stack.callback(executor.shutdown, cancel_futures=True)
    found = {}
    for place in shadows:
        ready = executor.submit(make_ready, place.target(), opening, limits.max_batch).result()
        found[place.name] = Shadow(place.name, ready, executor, metrics)
        for one, champion in served:
            if one.name == place.name:
                found[place.name].require_fit(champion)
    return found


def warn_if_open(host: str, token: str | None) -> None:
    """Warn where users of other machines may ask without a token."""
    if token is None and not is_loopback(host):
        log(
            logging.WARNING,
            "anyone who can connect may use the models; give --token-file, or listen on 127.0.0.1",
            host=host,
        )


async def _beat(health: Health, draining: asyncio.Event) -> None:
    while True:
        health.beat(stopping=draining.is_set())
        await asyncio.sleep(_BEAT_S)


async def _digest(metrics: Metrics, executor: ThreadPoolExecutor) -> None:
    """Count live rows in another thread, for ever."""
    while True:
        await asyncio.sleep(_DIGEST_S)
        await asyncio.get_running_loop().run_in_executor(executor, metrics.digest)


def _reload(app: App, watch: Watch, token_file: Path | None) -> None:
    """Read again what may have changed on disk; a token that cannot be read leaves the old one."""
    log(logging.INFO, "reloading", signal="SIGHUP")
    watch.reload()
    if token_file is not None:
        try:
            app.token = read_token(token_file)
        except InputError as error:
            log(logging.ERROR, "token not reloaded, the old one is still required", error=str(error))


def _handle_signals(server: DrainingServer, reload: Callable[[], None]) -> asyncio.Event:
    """Stop the server on SIGTERM and Ctrl-C, at once on a second one, reload on SIGHUP; set after Ctrl-C."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        log(logging.INFO, "stopping", signal=number.name)
        if number is signal.SIGINT:
            interrupted.set()
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return interrupted


def _allow_descriptors(connections: int) -> None:
    """Allow this process a descriptor for each connection, as far as it may."""
    wanted = connections + _DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            log(
                logging.WARNING,
                "fewer descriptors than connections are allowed; raise `ulimit -n` or lower --max-connections",
                descriptors=most,
                connections=connections,
            )


def _give_memory_back() -> None:
    """Make the C library return the memory of large requests to the system as soon as they are answered.

    By default glibc keeps what it has once taken, so that the process grows beyond what it holds.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host}:{port}: cannot listen there ({error}); choose another --host or --port"
        ) from error


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
