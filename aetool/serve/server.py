"""The whole server: bundles made ready, a socket, an event loop, and its end."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from uvicorn.loops.auto import auto_loop_factory

import aetool
from aetool.errors import InputError
from aetool.runtime.cores import usable_cores
from aetool.serve.app import App
from aetool.serve.catalogue import Catalogue, Place, Served
from aetool.serve.connections import Drained, drained
from aetool.serve.limits import Limits
from aetool.serve.loading import Opening, Ready, make_ready
from aetool.serve.logs import log
from aetool.serve.metrics import Metrics
from aetool.serve.priority import give_way
from aetool.serve.watching import State, state, watch


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a server that has stopped."""

    requests: int
    seconds: float
    interrupted: bool
    """By Ctrl-C; otherwise by SIGTERM."""


def serve(
    places: Sequence[Place],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    opening: Opening = Opening(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    token: str | None = None,
) -> Summary:
    """Serve the bundles in `places` until SIGTERM or Ctrl-C; in the main thread.

    Args:
        port: 0 for any that is free; the log tells which.
        token: what clients must show, but for the health of the server.

    Raises:
        InputError: the address cannot be had.
        BundleError: a bundle is damaged, or does not compute here what its golden rows say.
        ProviderError: the provider does not work here.
    """
    if threading.current_thread() is not threading.main_thread():
        raise InputError(
            "serve: must be called in the main thread, which gets the signals; start a process for it"
        )
    with _listen(host, port) as listening, ThreadPoolExecutor(1, "aetool-load", give_way) as loader:
        before = [(place, state(place)) for place in places]  # before they are read: no change is missed
        # There, since onnxruntime's threads are as nice as the one that opens their session.
        ready = [(one, loader.submit(make_ready, one.path, opening, limits.max_batch).result()) for one in places]
        with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
            return runner.run(_serve(listening, before, ready, opening, limits, token, loader))


async def _serve(
    listening: socket.socket,
    before: Sequence[tuple[Place, State]],
    ready: Sequence[tuple[Place, Ready]],
    opening: Opening,
    limits: Limits,
    token: str | None,
    loader: Executor,
) -> Summary:
    begin = time.monotonic()
    with ThreadPoolExecutor(usable_cores(), "aetool-batch", give_way) as executor:
        metrics = Metrics()

        def make(place: Place, found: Ready) -> Served:
            return Served(place.name, found, limits, executor, metrics.batches_of(place.name))

        catalogue = Catalogue([(place, make(place, found)) for place, found in ready])
        metrics.watch_waiting(catalogue.waiting_rows)
        app = App(catalogue, limits, metrics, token=token)
        server = drained(app, limits)
        app.stopping = server.draining.is_set
        interrupted = _stop_on_signals(server)
        watching = asyncio.create_task(
            watch(before, catalogue, metrics, make, opening=opening, max_batch=limits.max_batch, executor=loader)
        )
        url = _url(listening)
        log(
            logging.INFO,
            "serving",
            url=url,
            models=catalogue.names(),
            aetool=aetool.__version__,
            token=bool(token),
        )
        await server.serve([listening])
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    answered = server.server_state.total_requests
    log(logging.INFO, "stopped", requests=answered)
    return Summary(answered, time.monotonic() - begin, interrupted.is_set())


def _stop_on_signals(server: Drained) -> asyncio.Event:
    """SIGTERM and Ctrl-C stop the server once it has answered, a second one at once; set after Ctrl-C."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        log(logging.INFO, "stopping", signal=number.name)
        if number is signal.SIGINT:
            interrupted.set()
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return interrupted


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
