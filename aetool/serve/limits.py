"""What a server takes on, and how long it waits."""

from dataclasses import dataclass, fields

from aetool.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit is a positive number; `max_wait_s` may be 0."""

    max_batch: int = 64
    """Rows of several requests that are computed together; 1 computes every request alone."""
    max_wait_s: float = 0.001
    """How long a batch waits to fill up while requests come faster than they are computed; a lone one does not."""
    max_queue_rows: int = 1024
    """Rows that may wait for one graph; requests beyond are told to come again."""
    max_rows: int = 65_536
    """Rows in one request."""
    max_body_bytes: int = 16 << 20
    """Of one request, uncompressed."""
    max_connections: int = 1024
    """Open at once."""
    body_timeout_s: float = 10.0
    """From the request's first byte to its last."""
    queue_timeout_s: float = 5.0
    """A request that could not be computed for so long is told to come again."""
    keep_alive_s: float = 30.0
    """How long a connection may be idle."""
    drain_s: float = 30.0
    """Time for the requests under way when the server is told to stop."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (value > 0 or (value == 0 and entry.name == "max_wait_s")):
                raise InputError(f"{entry.name}: a positive number expected, found {value!r}; leave it out")
