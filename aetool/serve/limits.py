"""Limits of a server: sizes, numbers and times."""

from dataclasses import dataclass, fields

from aetool.errors import InputError


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Every limit is a positive number; `max_wait_s` may be 0."""

    max_batch: int = 64
    """Largest number of rows of several requests that are computed together; 1 computes every request alone."""
    max_wait_s: float = 0.001
    """Seconds that a batch waits to fill up while requests come faster than they are computed; a lone one does
    not."""
    max_queue_rows: int = 16_384
    """Rows waiting for one bundle; further requests get 503 before they are parsed."""
    max_queue_s: float = 1.0
    """Seconds that the rows waiting for one bundle take to compute; likewise."""
    max_rows: int = 65_536
    """Rows in one request."""
    max_head_bytes: int = 16 << 10
    """Size of a request's line and headers, in bytes."""
    max_headers: int = 100
    """Number of headers of a request."""
    max_body_bytes: int = 16 << 20
    """Size of one request's body, uncompressed, in bytes."""
    max_held_bytes: int = 256 << 20
    """Bytes of all requests and responses held at once, a quarter of it for what is made of them; see `Gate`."""
    max_connections: int = 1024
    """Open connections. When all are taken, the one that has waited longest for its client makes room."""
    max_connections_per_client: int = 512
    """Open connections from one address; does not apply to trusted proxies."""
    head_timeout_s: float = 10.0
    """Seconds from a request's first byte, or the connection's start, to the end of its head."""
    body_timeout_s: float = 10.0
    """Seconds from the end of a request's head to its last byte."""
    write_timeout_s: float = 30.0
    """Seconds for the client to read a response."""
    queue_timeout_s: float = 5.0
    """Seconds after which a request that could not be computed gets 503."""
    keep_alive_s: float = 30.0
    """Seconds that a connection may be idle after a response."""
    grace_s: float = 30.0
    """Seconds for the requests under way when the server stops."""
    drift_window_s: float = 3600.0
    """Seconds of live rows that are compared with the training rows."""

    def __post_init__(self) -> None:
        """Refuse limits that are not positive."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (value > 0 or (value == 0 and entry.name == "max_wait_s")):
                raise InputError(f"{entry.name}: a positive number expected, found {value!r}; leave it out")
