"""Contestants on one model: started, compared, timed in turns; and what came out, as figures."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models import Model
from numpy.typing import NDArray

from aetool.bench._statistics import latency_figures
from aetool.bench.agreement import require_agreement
from aetool.bench.contestants import Contestant, Load, opened
from aetool.bench.grid import Setting
from aetool.bench.rounds import Turns, ratio, take_turns
from aetool.bundle.bundle import Bundle

Figures = dict[str, Any]


def contestants_on(model: Model, graph: str, peers: Sequence[str], threads: int | None = None) -> list[Contestant]:
    """aetool and its peers on one graph: encode, reconstruct or score."""
    setting, bundle = Setting(graph, "auto", "fp32", threads), Bundle.open(model.bundle)
    return [setting.ours(bundle), *(setting.peer(name, bundle, "cpu", model.checkpoint) for name in peers)]


def compete(
    contestants: Sequence[Contestant],
    rows: NDArray[np.float32],
    load: Load,
    *,
    rounds: int,
    launches: int = 2,
    graph: str | None = None,
) -> dict[str, Turns]:
    """Every contestant's turns, `rounds` in each of `launches` new processes.

    Args:
        graph: what they all compute, which is compared before anything is timed; None: not the same.
    """
    turns: dict[str, list[Turns]] = {}
    for launch in range(launches):
        with opened(contestants) as running, tempfile.TemporaryDirectory() as folder:
            np.save(sample := Path(folder) / "sample.npy", rows[:256])
            np.save(path := Path(folder) / "rows.npy", rows)
            for one in running:
                one.load()
                one.take(sample)
            if graph is not None:
                require_agreement(running, graph=graph, features=rows[:256])
            for one in running:
                one.take(path)
            for name, found in take_turns(running, load, rounds=rounds, seed=launch).items():
                turns.setdefault(name, []).append(found)
    return {
        name: Turns(tuple(turn for one in found for turn in one.turns), sum(one.warm_up_samples for one in found))
        for name, found in turns.items()
    }


def figures(turns: Mapping[str, Turns], *, of: str = "aetool") -> Figures:
    """Latencies and throughputs by name, and the ratio of `of` to each of the others, with its spread."""
    found: Figures = {}
    for name, one in turns.items():
        latency = {key: value for key, value in latency_figures(one.latencies_s).items() if value is not None}
        found[name] = {
            "latency_us": {key: round(value * 1e6, 3) for key, value in latency.items()},
            "rows_per_s": one.rows_per_s,
            "samples": len(one.latencies_s),
            "rounds_p50_us": [round(turn.p50_s * 1e6, 3) for turn in one.turns],
        }
        if name != of:
            pair = (turns[of], one)
            p50 = ratio(*([turn.p50_s for turn in each.turns] for each in pair))
            faster = ratio(*([turn.rows_per_s for turn in each.turns] for each in pair))
            p99s = [float(np.median([np.percentile(t.latencies_ns, 99) for t in each.turns])) for each in pair]
            found[name]["to_it"] = {
                "p50": p50.median,
                "p50_spread": [p50.low, p50.high],
                "p99": p99s[0] / p99s[1],
                "throughput": faster.median,
                "throughput_spread": [faster.low, faster.high],
            }
    return found
