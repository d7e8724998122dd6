"""Counts of what happened, a port that shows them to Prometheus, and an agent that is told."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aetool.bundle.manifest import MANIFEST
from aetool.errors import InputError, reason_of
from aetool.runtime.following import CURRENT, Tenure

COUNTED: Mapping[str, str] = {
    "messages": "Messages taken.",
    "samples": "Samples pushed into a stream.",
    "scores": "Windows scored.",
    "flagged": "Windows whose score is above the threshold.",
    "alerts": "Alerts begun.",
    "late": "Samples left out: older than the last one of their group.",
    "duplicate": "Samples left out: as old as the last one of their group.",
    "malformed": "Messages left out: they hold no sample.",
    "dropped_groups": "Groups dropped for others, the least recently used first.",
    "dropped_alerts": "Alerts dropped: their receiver was away for too long.",
    "reconnects": "Connections made again.",
}
"""Name of a count -> what it counts."""
_SHOWN = ("late", "duplicate", "malformed", "dropped_groups", "dropped_alerts")


class WatchCounts(dict[str, int]):
    """WatchCounts by name."""

    def __init__(self) -> None:
        """Begin at 0."""
        super().__init__(dict.fromkeys(COUNTED, 0))

    def count(self, name: str) -> None:
        """Add one."""
        self[name] += 1

    def left_out(self) -> dict[str, int]:
        """Return what was left out so far."""
        return {name: self[name] for name in _SHOWN if self[name]}


class AgentVersion:
    """The version that `aetool agent` keeps in use, for as long as it does."""

    def __init__(self, folder: Path, *, reports: bool) -> None:
        """Take the current version of an agent's directory; `reports`: the agent is told what was scored."""
        self._link = folder / CURRENT
        self._target = self._link.readlink()
        self.bundle = folder / self._target
        """Its bundle."""
        self._tenure = Tenure(self.bundle, None, folder)
        self._before: tuple[int, int] | None = None
        self._reports = reports

    @classmethod
    def of(cls, path: Path, *, reports: bool) -> "AgentVersion | None":
        """Return that of `path`, an agent's directory; None for a bundle."""
        is_agents = (path / CURRENT).is_symlink() and not (path / MANIFEST).exists()
        return cls(path, reports=reports) if is_agents else None

    def tell(self, counts: Mapping[str, int]) -> bool:
        """Report to the agent what was scored since the last time; return whether it has another version now."""
        now = counts["scores"], counts["flagged"]
        if self._before is not None and self._reports:
            self._tenure.add(now[0] - self._before[0], now[1] - self._before[1])
            self._tenure.report()
        self._before = now
        try:
            return self._link.readlink() != self._target
        except OSError:
            return False


def serve_metrics(
    port: int, counts: Mapping[str, int], gauges: Callable[[], Mapping[str, float]]
) -> ThreadingHTTPServer:
    """Answer GET /metrics on `port` of this machine, 0 for any free one, until `shutdown`.

    Raises:
        InputError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text_of(counts, gauges()).encode() if self.path == "/metrics" else b"/metrics\n"
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(f"metrics port {port}: cannot listen there ({reason_of(error)}); give another") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
    return server


def text_of(counts: Mapping[str, int], gauges: Mapping[str, float]) -> str:
    """Return counts and gauges in Prometheus' text format."""
    lines = []
    for name, what in COUNTED.items():
        full = f"aetool_watch_{name}_total"
        lines += [f"# HELP {full} {what}", f"# TYPE {full} counter", f"{full} {counts[name]}"]
    for name, value in gauges.items():
        lines += [f"# TYPE aetool_watch_{name} gauge", f"aetool_watch_{name} {value}"]
    return "\n".join(lines) + "\n"
