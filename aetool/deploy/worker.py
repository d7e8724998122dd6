"""What the processes that `aetool.deploy.child` starts share: limits, and a way to tell why they failed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from aetool.deploy.child import FAILED, REASON

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]


class WorkError(Exception):
    """What the graph is to blame for, in words."""


def run_limited(work: Callable[[], None]) -> int:
    """Do `work` on the files of the current directory, within the limits of the command line: the exit code."""
    memory, seconds = map(int, sys.argv[1:])
    if resource is not None:
        for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
            hard = resource.getrlimit(kind)[1]
            most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        work()
    except WorkError as error:
        Path(REASON).write_text(json.dumps(str(error)), encoding="utf-8")
        return FAILED
    return 0
