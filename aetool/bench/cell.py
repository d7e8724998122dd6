"""One load of one setting: what the launches observed, as rows of the result."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aetool.bench.contestants import Load
from aetool.bench.grid import OURS, Setting
from aetool.bench.launch import Launch, Started
from aetool.bench.percentiles import histogram, latency_figures
from aetool.bench.result import Latency, Measured, RatioRecord, Round
from aetool.bench.stability import stability
from aetool.bench.turns import Turns, compared


@dataclass(frozen=True, slots=True)
class Cell:
    results: list[Measured]
    """One a contestant, aetool first."""
    ratios: list[RatioRecord]
    """One a peer."""


def cells_of(setting: Setting, launches: Sequence[Launch]) -> list[Cell]:
    """One a load, in the grid's order."""
    cells = []
    for number, observed in enumerate(launches[0].observed):
        every = [launch.observed[number] for launch in launches]
        turns = {
            name: Turns(
                tuple(turn for one in every for turn in one.turns[name].turns),
                sum(one.turns[name].warm_up_samples for one in every),
            )
            for name in observed.turns
        }
        peaks = {name: max(one.peak_memory_bytes[name] or 0 for one in every) or None for name in turns}
        results = []
        for starts in zip(*(launch.everybody for launch in launches), strict=True):
            name = starts[0].running.name
            results.append(_measured(setting, starts, observed.load, turns[name], peaks[name]))
        ours = replace(setting, provider=results[0].provider)
        peers = (one.contestant for one in results[1:])
        cells.append(Cell(results, [_compared(ours, observed.load, turns, peer) for peer in peers]))
    return cells


def _measured(setting: Setting, starts: Sequence[Started], load: Load, turns: Turns, peak: int | None) -> Measured:
    latencies, one = turns.latencies_s, starts[0]
    on_checkpoint = "checkpoint" in one.running.contestant.arguments
    return Measured(
        contestant=one.running.name,
        graph=setting.graph,
        provider=one.loaded.provider or "cpu",
        precision="fp32" if on_checkpoint else setting.precision,
        threads=setting.threads,
        batch=load.batch,
        scenario=load.scenario,
        placement=one.placement,
        import_s=statistics.median(start.loaded.import_s for start in starts),
        session_creation_s=statistics.median(start.loaded.session_creation_s for start in starts),
        first_run_s=statistics.median(start.first_run_s for start in starts),
        resident_after_load_bytes=one.loaded.resident_after_bytes,
        peak_memory_bytes=peak,
        samples=len(latencies),
        warm_up_samples=turns.warm_up_samples,
        latency_s=Latency(**{name.replace(".", "_"): value for name, value in latency_figures(latencies).items()}),
        histogram=histogram(latencies),
        throughput_rows_per_s=turns.rows_per_s,
        arrivals_per_s=load.rate,
        rounds=tuple(Round(turn.p50_s, turn.rows_per_s) for turn in turns.turns),
        stability=stability([turn.latencies_ns for turn in turns.turns]),
        share_of_peak=None,
        profile=None,
    )


def _compared(setting: Setting, load: Load, turns: dict[str, Turns], peer: str) -> RatioRecord:
    ours, theirs = turns[OURS], turns[peer]
    p50 = compared(ours, theirs)
    tails = [latency_figures(one.latencies_s)["p99"] for one in (ours, theirs)]
    return RatioRecord(
        graph=setting.graph,
        provider=setting.provider,
        precision=setting.precision,
        threads=setting.threads,
        batch=load.batch,
        scenario=load.scenario,
        of=OURS,
        to=peer,
        p50=p50.median,
        p99=None if None in tails else tails[0] / tails[1],
        throughput=compared(ours, theirs, "rows_per_s").median,
        spread=(p50.low, p50.high),
    )
