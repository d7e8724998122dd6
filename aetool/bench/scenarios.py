"""The four ways to put a load on something, as in MLPerf LoadGen (mlcommons/inference, loadgen/).

single-stream   a query is `batch` rows in one array; the next comes when the last is answered.
multi-stream    a query is one row from each of `batch` streams, put together before the call.
server          queries of `batch` rows come as a Poisson process and wait in line; latency from the
                intended arrival, so that a stall is charged to every query that it delays.
offline         all rows lie there at once and go into one call; what counts is rows / wall time.
"""

from collections.abc import Sequence

from aetool.bench.contestants import Load, Running
from aetool.errors import InputError

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
UTILISATION = 0.5
"""Share of what the slowest contestant can answer that arrives in the server scenario, unless a rate is given."""
LEAST_CALLS = 3
"""Queries a turn, however long they take."""
_CALIBRATION_SECONDS = 0.1


def load_for(scenario: str, batch: int, seconds: float, arrivals_per_s: float | None = None) -> Load:
    """The load of one turn; in the server scenario `arrivals_per_s` queries a second arrive.

    Raises:
        InputError: there is no such scenario.
    """
    if scenario not in SCENARIOS:
        raise InputError(f"scenario {scenario!r} is unknown; choose {', '.join(SCENARIOS)}")
    rate = arrivals_per_s if scenario == "server" else None
    return Load(batch=batch, seconds=seconds, calls=LEAST_CALLS, scenario=scenario, rate=rate)


def arrivals_for(running: Sequence[Running], batch: int, share: float = UTILISATION) -> float:
    """Queries a second that all of them can answer: `share` of the slowest one's own pace."""
    probe = Load(batch=batch, seconds=_CALIBRATION_SECONDS, calls=LEAST_CALLS)
    for contestant in running:
        contestant.warm(probe)
    return share * min(contestant.turn(probe).rows_per_s / batch for contestant in running)
