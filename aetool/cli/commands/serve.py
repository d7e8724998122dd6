"""`aetool serve`."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aetool.cli import _options as options
from aetool.cli import _paths as paths
from aetool.cli._options import limit, limits_in_force, needs
from aetool.cli._output import Result, reports
from aetool.cli._progress import steps
from aetool.cli.main import INTERRUPTED


@click.command()
@click.argument("bundles", metavar="[NAME=]BUNDLE...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0: any free port, see the log.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes that share the port."
)
@options.provider
@options.precision
@options.threshold
@options.several(
    ("--threads", int, "Maximum cores per batch.  [default: all]"),
    ("--max-batch", int, "Maximum rows computed together; 1: no batching.  [default: 64]"),
    ("--max-wait-ms", float, "Time to wait for a fuller batch under load, in ms.  [default: 1]"),
    ("--max-queue", "max_queue_rows", int, "Maximum queued rows; more get 503.  [default: 16384]"),
    ("--max-queue-seconds", "max_queue_s", float, "Maximum queued computing time; more gets 503.  [default: 1]"),
    ("--max-rows", int, "Maximum rows per request.  [default: 65536]"),
    ("--max-head-kb", float, "Maximum size of a request's headers, in KiB.  [default: 16]"),
    ("--max-headers", int, "Maximum number of headers per request.  [default: 100]"),
    ("--max-body-mb", float, "Maximum size of a request, in MiB.  [default: 16]"),
    ("--max-held-mb", float, "Maximum size of all requests and answers in memory, in MiB.  [default: 256]"),
    ("--max-connections", int, "Maximum open connections.  [default: 1024]"),
    ("--max-connections-per-client", int, "Maximum open connections per address.  [default: 512]"),
    ("--head-timeout", "head_timeout_s", float, "Time to receive the headers, in seconds.  [default: 10]"),
    ("--body-timeout", "body_timeout_s", float, "Time to receive the body, in seconds.  [default: 10]"),
    (
        "--write-timeout",
        "write_timeout_s",
        float,
        "Time for a client to read an answer, in seconds.  [default: 30]",
    ),
    ("--keep-alive", "keep_alive_s", float, "Maximum idle time of a connection, in seconds.  [default: 30]"),
    ("--queue-timeout", "queue_timeout_s", float, "Maximum time in the queue, in seconds.  [default: 5]"),
    (
        *("--drift-window", "drift_window_minutes", float),
        "Time of live rows that /metrics compares with the training rows, in minutes.  [default: 60]",
    ),
    ("--grace", "grace_s", float, "Time to finish when stopped, in seconds.  [default: 30]"),
    (
        *("--health-port", click.IntRange(0, 65535)),
        "Second port for /v2/health, unaffected by load; 0: any free port, see the log.",
    ),
    ("--token-file", options.PATH, "File with the bearer token that clients must send; or set AETOOL_TOKEN."),
    ("--public-key", options.PATH, "Serve only bundles signed by the owner of this key."),
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="HOST",
    multiple=True,
    help="Host name to answer for; *.example.org includes subdomains.  [default: any]",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    metavar="ADDRESS",
    multiple=True,
    help="Address or network of a proxy whose X-Forwarded-For is trusted.",
)
@click.option(
    "--shadow",
    "shadows",
    metavar="[NAME=]BUNDLE",
    multiple=True,
    help="Challenger of a served bundle: scores the same rows, only counted in /metrics.",
)
@click.option("--access-log", is_flag=True, help="Log every request.")
@limit(table=False, bundle=True)
@reports
def serve(
    bundles: tuple[str, ...],
    host: str,
    port: int,
    health_port: int | None,
    workers: int,
    token_file: Path | None,
    allowed_hosts: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    shadows: tuple[str, ...],
    access_log: bool,
    **given: Any,
) -> Result:
    """Serve bundles over HTTP (Open Inference Protocol v2).

    Works with any client of the protocol, such as tritonclient[http]. The name of a model is that of the bundle's
    directory. A bundle that replaces another one there is served as soon as its golden rows have passed. Of a
    directory that aetool agent keeps, the current bundle is served. /openapi.json describes the requests, /metrics
    is for Prometheus, and the log is in JSON lines. On SIGTERM the server answers the requests that it has
    accepted, then stops. On SIGHUP it opens the bundles and reads the token again.

    With --shadow NEW the served bundle answers, and NEW scores the same rows in the background; /metrics counts
    the rows that they decide differently (aetool_shadow_disagreements_total). Under load the shadow is left out
    first.

    \b
    Example:
      aetool serve exported/machines
      aetool serve pumps=exported/v1 pumps=exported/v2 --host 0.0.0.0 --token-file token
    """
    with needs("serve", "serving"):
        from aetool.serve.auth import VARIABLE, require_token
        from aetool.serve.limits import ServerLimits
        from aetool.serve.logs import write_lines
        from aetool.serve.models import place
        from aetool.serve.server import Access
        from aetool.serve.server import serve as serve_bundles
        from aetool.serve.warmup import Opening

    places = []
    for text in bundles:
        name, path = _named(text)
        places.append(place(path, name))
        paths.require_bundle(places[-1].path)
    challengers = [_challenger(text, places) for text in shadows]
    token = None
    if token_file is None and VARIABLE in os.environ:
        token = require_token(os.environ[VARIABLE], VARIABLE)
    opening = Opening(
        given.pop("provider"),
        given.pop("precision"),
        given.pop("threads"),
        limits_in_force(),
        given.pop("public_key"),
        given.pop("threshold"),
    )
    factors = {
        "max_wait_ms": ("max_wait_s", 1e-3),
        "drift_window_minutes": ("drift_window_s", 60.0),
        "max_head_kb": ("max_head_bytes", 1 << 10),
        "max_body_mb": ("max_body_bytes", 1 << 20),
        "max_held_mb": ("max_held_bytes", 1 << 20),
    }
    chosen: dict[str, Any] = {}
    for option, value in given.items():
        name, factor = factors.get(option, (option, 1))
        if value is not None:
            chosen[name] = value * factor if factor < 1 else type(factor)(value * factor)
    steps().close()  # the log goes there
    write_lines(sys.stderr)
    summary = serve_bundles(
        places,
        host=host,
        port=port,
        health_port=health_port,
        opening=opening,
        limits=ServerLimits(**chosen),
        token=token,
        token_file=token_file,
        access=Access(allowed_hosts, trusted_proxies, access_log),
        shadows=challengers,
        workers=workers,
    )
    return Result(
        asdict(summary),
        lambda out: out.print(f"{summary.requests:,} requests in {summary.seconds:,.1f} s"),
        INTERRUPTED if summary.interrupted else 0,
    )


def _named(text: str) -> tuple[str | None, Path]:
    """Return the name and path of `[NAME=]BUNDLE`."""
    name, equals, path = text.partition("=")
    return (None, Path(text)) if not equals or Path(text).exists() else (name, Path(path))


def _challenger(text: str, places: Any) -> Any:
    """Return a shadow under the name of the bundle that it is compared with."""
    from aetool.serve.models import place

    name, path = _named(text)
    names = sorted({one.name for one in places})
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        raise click.UsageError(f"--shadow {text}: give NAME=BUNDLE, with a served name: {', '.join(names)}")
    paths.require_bundle(path)
    return place(path, name)
