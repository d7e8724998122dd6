"""Log records as lines of JSON."""

import json
import logging
import time
from typing import IO, Any

LOGGER = logging.getLogger("aetool.serve")
LIBRARY = logging.getLogger("uvicorn.error")


def log(level: int, event: str, **facts: Any) -> None:
    """Log one event with its facts."""
    LOGGER.log(level, event, extra={"facts": facts})


def write_lines(stream: IO[str]) -> None:
    """Write this server's log, and the warnings of the library below it, to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for logger, level in ((LOGGER, logging.INFO), (LIBRARY, logging.WARNING)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


class JsonLines(logging.Formatter):
    """Formatter of a record as one line of JSON: time, level, event, and the event's facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{second}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # ASCII: a terminal that shows the log obeys nothing in a path
