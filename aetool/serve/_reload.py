"""Reloading: a bundle that is published in place of a served one is served once it has passed its check."""

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from aetool.bundle.manifest import MANIFEST
from aetool.errors import reason_of
from aetool.runtime.following import Tenure
from aetool.serve._metrics import Metrics
from aetool.serve.logs import log
from aetool.serve.models import Catalogue, Place, Served
from aetool.serve.warmup import Opening, Ready, make_ready

LOOK_S = 0.25
AGAIN_S = 5.0
"""Seconds until a refused bundle is opened once more: Kubernetes links a mount's new files after its manifest."""
_LONG_S = 60.0
State = tuple[int, int, int] | None


def state(place: Place) -> State:
    """Return the identity, time and size of the manifest's file; None where there is none."""
    try:
        found = os.stat(place.path / MANIFEST)  # noqa: PTH116 - one call
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


def _tell_agent(place: Place, target: Path, error: BaseException) -> None:
    """Report a bundle that does not open here to the agent that chose it, if it is still its choice."""
    with contextlib.suppress(OSError):
        if place.agent is not None and place.target() == target:
            Tenure(target, None, place.agent).fail(error)


class Watch:
    """Watcher of the bundles' directories for as long as the server runs.

    Whatever opening a bundle raises is logged and counted, the old bundle stays, and watching goes on: a refused
    one is tried once more.

    Args:
        places: the bundles with the state that each is served in.
        catalogue: the served models.
        metrics: counters of reloads.
        make: makes models of an opened bundle.
        opening: how bundles are opened.
        max_batch: largest batch, for the measurement of latency.
        executor: opens the bundles.
    """

    def __init__(
        self,
        places: Sequence[tuple[Place, State]],
        catalogue: Catalogue,
        metrics: Metrics,
        make: Callable[[Place, Ready], Served],
        opening: Opening,
        max_batch: int,
        executor: Executor,
    ) -> None:
        """Begin with the states given."""
        self._served, self._catalogue, self._metrics, self._make = dict(places), catalogue, metrics, make
        self._opening, self._max_batch, self._executor = opening, max_batch, executor
        self._reload = False
        self._again: dict[Place, float] = {}

    def reload(self) -> None:
        """Open every bundle again at the next check, replaced or not."""
        self._reload = True

    async def run(self) -> None:
        """Check for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            every, self._reload = self._reload, False
            for place, before in self._served.items():
                now = state(place)
                changed = now is not None and now != before  # None: between two bundles, or for good
                due = not changed and time.monotonic() >= self._again.get(place, math.inf)
                if every or changed or due:
                    self._served[place] = now
                    self._again.pop(place, None)
                    if not await self._replace(place) and changed:
                        self._again[place] = time.monotonic() + AGAIN_S
            self._catalogue.report()

    async def _replace(self, place: Place) -> bool:
        """Serve the bundle at `place`; return False where it is refused."""
        found = await self._opened(place)
        try:
            if isinstance(found, BaseException):
                raise found
            self._catalogue.replace(place, self._make(place, found))
        except BaseException as error:  # noqa: BLE001
            # Also what is no Exception, such as a panic in an extension: nothing may end the watching.
            self._metrics.replaced(place.name, refused=True)
            log(
                logging.ERROR,
                "bundle refused, the old one is served",
                bundle=place.name,
                error=reason_of(error),
                kind=type(error).__name__,
            )
            return False
        self._metrics.replaced(place.name, refused=False)
        log(logging.INFO, "bundle replaced", bundle=place.name, version=found.version)
        return True

    async def _opened(self, place: Place) -> Ready | BaseException:
        """Return the bundle at `place`, or the error of opening it; log where that takes long."""
        opening = asyncio.get_running_loop().run_in_executor(self._executor, self._try, place)
        while not (await asyncio.wait([opening], timeout=_LONG_S))[0]:
            log(logging.WARNING, "a bundle takes long to open, the old one is served", bundle=place.name)
        return opening.result()

    def _try(self, place: Place) -> Ready | BaseException:
        target = place.path
        try:
            target = place.target()
            return make_ready(target, self._opening, self._max_batch)
        except BaseException as error:  # noqa: BLE001 - see _replace
            _tell_agent(place, target, error)
            return error
