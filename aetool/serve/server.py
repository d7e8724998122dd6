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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uvicorn.loops.auto import auto_loop_factory

import aetool
from aetool.errors import InputError
from aetool.runtime.following import Tenure
from aetool.runtime.machine import usable_cores
from aetool.serve._app import App, give_way
from aetool.serve._draining import DrainingServer, drained
from aetool.serve._gate import Gate
from aetool.serve._health import probed
from aetool.serve._metrics import Metrics
from aetool.serve._reload import Watch, state
from aetool.serve._shadow import Shadow
from aetool.serve._workers import Board, Parent, Seat
from aetool.serve.auth import Hosts, Proxies, is_loopback, read_token
from aetool.serve.limits import ServerLimits
from aetool.serve.logs import log
from aetool.serve.models import Catalogue, Place, Served
from aetool.serve.warmup import Opening, Ready, make_ready

_BEAT_S = 0.1
_DIGEST_S = 1.0
_ANSWERS_S = 1.0
"""Most time to wait for the other workers' counts; of one that is late, the last ones are taken."""
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


@dataclass(frozen=True, slots=True)
class _Task:
    """Arguments of one process that serves."""

    places: Sequence[Place]
    listening: socket.socket
    opening: Opening
    limits: ServerLimits
    token: str | None
    token_file: Path | None
    access: Access
    shadows: Sequence[Place]
    cores: int


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
    workers: int = 1,
) -> Summary:
    """Serve the bundles in `places` until SIGTERM or Ctrl-C; in the main thread.

    SIGHUP opens the bundles again, and reads the token again.

    Args:
        places: the bundles.
        host: address to listen at.
        opening: how bundles are opened.
        limits: limits of the server, or of each worker.
        port: 0 for any that is free; the log tells which.
        health_port: also answer health there, in a process of its own; 0 for any that is free.
        token: what clients must show, but for the health of the server.
        token_file: where the token is, instead of `token`.
        access: who may ask what, and whether each request is logged.
        shadows: challengers by the name of the bundle that they are compared with; see `/metrics`.
        workers: processes that serve, each with bundles and limits of its own and its share of the cores.

    Raises:
        InputError: the address cannot be had, the token cannot be read, or a shadow takes other rows.
        BundleError: a bundle is damaged, not signed as asked for, or differs from its golden rows here.
        ProviderError: the provider does not work here.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InputError(
            "serve: must be called in the main thread, which receives signals; start a process for it"
        )
    if token_file is not None:
        token = read_token(token_file)
    _allow_descriptors(limits.max_connections)
    _give_memory_back()
    with contextlib.ExitStack() as stack:
        # Until there is something to open again: by default it ends a process.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGHUP, before or signal.SIG_DFL)
        listening = stack.enter_context(_listen(host, port))
        if health_port is not None and getattr(sys, "frozen", False):
            raise InputError(
                "--health-port: needs a Python interpreter, which a packed program does not have; leave it out"
            )
        probing = None if health_port is None else stack.enter_context(_listen(host, health_port))
        at_health = None if probing is None else _url(probing)
        cores = max(1, usable_cores() // workers)
        if workers > 1 and opening.intra_op_num_threads is None:
            opening = replace(opening, intra_op_num_threads=cores)
        task = _Task(places, listening, opening, limits, token, token_file, access, shadows, cores)

        def serving(names: Sequence[str]) -> None:
            log(
                logging.INFO,
                "serving",
                url=_url(listening),
                health=at_health,
                models=names,
                aetool=aetool.__version__,
                token=bool(token),
                **({} if workers == 1 else {"workers": workers}),
            )
            warn_if_open(host, token)

        if workers == 1:
            return _Process(task, serving).run(probing)
        return _run_workers(task, workers, probing, serving)


def _run_workers(
    task: _Task, workers: int, probing: socket.socket | None, serving: Callable[[Sequence[str]], None]
) -> Summary:
    begin, board = time.monotonic(), Board(workers)
    with contextlib.closing(board), probed(probing) as health:

        def work(seat: Seat) -> None:
            health.close()
            if probing is not None:
                probing.close()
            found = task if task.token_file is None else replace(task, token=read_token(task.token_file))
            is_first = seat.number == 0 and not board.restarts
            _Process(found, serving if is_first else lambda names: None, seat).run(None)

        def tick() -> None:
            if board.serving:
                health.beat(stopping=False)

        def stopping() -> None:
            task.listening.close()
            health.beat(stopping=True)

        parent = Parent(board, work, task.limits.grace_s)
        with parent.started():
            interrupted = parent.watch(tick, stopping)
        log(logging.INFO, "stopped", requests=board.requests)
        return Summary(board.requests, time.monotonic() - begin, interrupted)


class _Process:
    """One process that serves.

    Args:
        task: what it serves, and how.
        serving: called with the models' names once it takes requests.
        seat: its place among the workers; None where it is alone.
    """

    def __init__(self, task: _Task, serving: Callable[[Sequence[str]], None], seat: Seat | None = None) -> None:
        self._task, self._serving, self._seat = task, serving, seat
        self._metrics = Metrics()
        if seat is not None:
            self._metrics.restore(seat.board.read(seat.number))
        self._proxies = Proxies(task.access.trusted_proxies)
        self._gate = Gate(task.limits, exempt=self._proxies.trusted)
        self._metrics.watch_connections(self._gate)

    def run(self, probing: socket.socket | None) -> Summary:
        """Open the bundles, then serve until a signal says stop; health is answered at `probing`."""
        task = self._task
        with contextlib.ExitStack() as stack:

            def threads(number: int, name: str) -> ThreadPoolExecutor:
                return stack.enter_context(ThreadPoolExecutor(number, f"aetool-{name}", give_way))

            self._loader = threads(1, "load")
            self._before = [(place, state(place)) for place in task.places]  # before they are read
            # There, since onnxruntime's threads are as nice as the one that opens their session.
            self._ready = [
                (one, self._loader.submit(make_ready, one.target(), task.opening, task.limits.max_batch).result())
                for one in task.places
            ]
            self._executor, self._counter = threads(task.cores, "batch"), threads(1, "count")
            self._health = stack.enter_context(probed(probing))
            runner = stack.enter_context(asyncio.Runner(loop_factory=auto_loop_factory()))
            self._beside = _open_shadows(
                task.shadows, self._ready, task.opening, task.limits, self._metrics, stack
            )
            return runner.run(self._main())

    def _make(self, place: Place, found: Ready) -> Served:
        limits, metrics = self._task.limits, self._metrics
        live = metrics.live_of(place, place.name, found.version, found.expected, limits.drift_window_s)
        observe, shadow = metrics.batches_of(place.name), self._beside.get(place.name)
        # With another threshold than the bundle's, nothing was promised.
        agent = place.agent if self._task.opening.threshold is None else None
        tenure = None if agent is None else Tenure(found.path, None, agent)
        return Served(place.name, found, limits, self._executor, observe, live, shadow, tenure)

    async def _main(self) -> Summary:
        begin, task, metrics = time.monotonic(), self._task, self._metrics
        catalogue = Catalogue([(place, self._make(place, found)) for place, found in self._ready])
        metrics.watch_waiting(catalogue.waiting_rows)
        app = App(
            catalogue,
            task.limits,
            metrics,
            figures=self._figures,
            token=task.token,
            hosts=Hosts(task.access.allowed_hosts),
            proxies=self._proxies,
            access_log=task.access.log,
        )
        seat = self._seat
        first = (lambda connections: True) if seat is None else seat.is_next
        server = drained(app, task.limits, self._gate, first)
        app.stopping = server.draining.is_set
        watch = Watch(
            self._before, catalogue, metrics, self._make, task.opening, task.limits.max_batch, self._loader
        )
        interrupted = _handle_signals(server, lambda: _reload(app, watch, task.token_file), seat)
        if seat is not None:
            await self._publish()
        self._serving(catalogue.names())
        endless = (watch.run(), self._gate.watch(), self._beat(server), self._digest())
        background = [asyncio.create_task(each) for each in endless]
        await server.serve([task.listening])
        for each in background:
            each.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        answered = server.server_state.total_requests
        if seat is None:
            log(logging.INFO, "stopped", requests=answered)
        else:
            seat.beat(stopping=True, requests=answered)
        return Summary(answered, time.monotonic() - begin, interrupted.is_set())

    async def _beat(self, server: DrainingServer) -> None:
        """Note that the event loop runs, and answer the other workers' questions, for ever."""
        seat = self._seat
        while True:
            stopping = server.draining.is_set()
            self._health.beat(stopping=stopping)
            if seat is not None:
                seat.beat(stopping=stopping, requests=server.server_state.total_requests)
                if seat.is_asked:
                    await self._publish()
            await asyncio.sleep(_BEAT_S)

    async def _digest(self) -> None:
        """Count live rows in another thread, for ever; of a worker, what it knows outlives it."""
        while True:
            await asyncio.sleep(_DIGEST_S)
            try:
                await self._apart(self._metrics.digest)
                if self._seat is not None:
                    await self._publish()
            except Exception as error:  # noqa: BLE001 - the server goes on, whatever becomes of its figures
                log(logging.ERROR, "live rows were not counted", error=f"{type(error).__name__}: {error}")

    async def _publish(self) -> None:
        seat = self._seat
        assert seat is not None
        question = seat.board.asked
        seat.write(await self._apart(self._metrics.snapshot), question)

    async def _figures(self) -> bytes:
        """Return the content of /metrics, for all workers."""
        if (seat := self._seat) is None:
            alone: bytes = await self._apart(self._metrics.page)
            return alone
        question, end = seat.board.ask(), time.monotonic() + _ANSWERS_S
        while not seat.board.have_answered(question) and time.monotonic() < end:
            await asyncio.sleep(_ANSWERS_S / 100)
        board = seat.board
        others = list(board.others(seat.number))
        page: bytes = await self._apart(self._metrics.merged, others, board.serving, board.restarts)
        return page

    async def _apart(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._counter, function, *arguments)


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


def _reload(app: App, watch: Watch, token_file: Path | None) -> None:
    """Read again what may have changed on disk; a token that cannot be read leaves the old one."""
    log(logging.INFO, "reloading", signal="SIGHUP")
    watch.reload()
    if token_file is not None:
        try:
            app.token = read_token(token_file)
        except InputError as error:
            log(logging.ERROR, "token not reloaded, the old one is still required", error=str(error))


def _handle_signals(server: DrainingServer, reload: Callable[[], None], seat: Seat | None) -> asyncio.Event:
    """Stop the server on SIGTERM and Ctrl-C, at once on a second one, reload on SIGHUP; set after Ctrl-C.

    A worker stops as well when its parent has ended; what its parent does, its parent logs.
    """
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if seat is None:
            log(logging.INFO, "stopping", signal=number.name)
        if number is signal.SIGINT:
            interrupted.set()
        server.force_exit = server.should_exit
        server.should_exit = True

    def orphaned() -> None:
        loop.remove_reader(parent)
        log(logging.ERROR, "stopping, the parent of this worker has ended")
        stop(signal.SIGTERM)

    loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGHUP, reload)
    if seat is None:
        loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
    else:
        loop.add_reader(parent := seat.parent, orphaned)
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
