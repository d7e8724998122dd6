"""A bundle that is published in place of a served one is served, once it has proven itself."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from aetool.errors import AetoolError
from aetool.manifest import MANIFEST
from aetool.serve.catalogue import Catalogue, Place, Served
from aetool.serve.loading import Opening, Ready, make_ready
from aetool.serve.logs import log
from aetool.serve.metrics import Metrics

LOOK_S = 1.0
State = tuple[int, int, int] | None


def state(place: Place) -> State:
    """Of the manifest: which file it is, when it came to be there, its size; None where there is none."""
    try:
        found = os.stat(place.path / MANIFEST)  # noqa: PTH116 - one call
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


async def watch(
    places: Sequence[tuple[Place, State]],
    catalogue: Catalogue,
    metrics: Metrics,
    make: Callable[[Place, Ready], Served],
    opening: Opening,
    max_batch: int,
    executor: Executor,
) -> None:
    """Look for ever; what does not work is logged, and the bundle that is served stays.

    Args:
        places: with the state that each is served in.
    """
    served = dict(places)
    while True:
        await asyncio.sleep(LOOK_S)
        for place, before in served.items():
            now = state(place)
            if now is None or now == before:  # None: between two bundles, or it will not come back
                continue
            served[place] = now
            try:
                ready = await asyncio.get_running_loop().run_in_executor(
                    executor, make_ready, place.path, opening, max_batch
                )
            except (AetoolError, OSError, MemoryError) as error:
                metrics.replaced(place.name, refused=True)
                log(logging.ERROR, "bundle refused, the old one is served", bundle=place.name, error=str(error))
            else:
                catalogue.replace(place, make(place, ready))
                metrics.replaced(place.name, refused=False)
                log(logging.INFO, "bundle replaced", bundle=place.name, version=ready.version)
