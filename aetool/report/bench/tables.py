"""Tables of a benchmark; everything that the pictures show is in them."""

import statistics
from collections.abc import Sequence

from aetool.bench.result import BenchResult, Measured
from aetool.report.bench.series import Lineup, Plotted
from aetool.report.bench.verdicts import WARNING, JudgedRatio
from aetool.report.draw.markup import Cell, Markup, dash, table, tag
from aetool.report.draw.units import count as short
from aetool.report.draw.units import counted, percent, ratio, seconds, size

_TOO_FEW = dash("not enough samples")


def results(measurements: Sequence[Measured], lineup: Lineup) -> Markup:
    """Return a table of all measurements."""
    columns = (
        *("contestant", "graph", "rows", "scenario", "p50", "p90", "p99", "p99.9", "rows/s", "stable", "of peak"),
        *("rounds", "mean", "fastest", "slowest", "samples", "warm-up", "provider", "precision", "threads"),
    )
    return table(
        "All measurements",
        columns,
        [_result(measured, lineup.of(measured)) for measured in measurements],
        headers=4,
    )


def _result(measured: Measured, series: Plotted) -> list[Cell | None]:
    times, stability, rounds = measured.latency_s, measured.stability, [turn.p50_s for turn in measured.rounds]
    apart = max(rounds) / min(rounds) - 1
    stable = "yes" if stability.stable else f"{WARNING} NO"
    return [
        *(series.named(), measured.graph, (f"{measured.batch:,}", measured.batch), measured.scenario),
        *(_time(value) or _TOO_FEW for value in (times.p50, times.p90, times.p99, times.p99_9)),
        (short(measured.throughput_rows_per_s), measured.throughput_rows_per_s),
        (f"{stable}, {percent(stability.spread)}", stability.spread),
        None if measured.share_of_peak is None else (percent(measured.share_of_peak), measured.share_of_peak),
        (f"{percent(apart)} apart", apart),
        *(_time(value) for value in (times.mean, times.min, times.max)),
        *((f"{value:,}", value) for value in (measured.samples, measured.warm_up_samples)),
        *(_provider(measured), measured.precision),
        "default" if measured.threads is None else (str(measured.threads), measured.threads),
    ]


def ratios(verdicts: Sequence[JudgedRatio]) -> Markup:
    """Return a table of all ratios."""
    columns = ("graph", "rows", "scenario", "contestant", "peer", "p50", "spread", "p99", "rows/s", "verdict")
    lines: list[list[Cell | None]] = []
    for verdict in verdicts:
        record = verdict.ratio
        lines.append(
            [
                *(record.graph, (f"{record.batch:,}", record.batch), record.scenario + verdict.setting),
                *(record.of, record.to, (ratio(record.p50), record.p50)),
                (verdict.spread, record.spread[1] - record.spread[0]),
                _TOO_FEW if record.p99 is None else (ratio(record.p99), record.p99),
                (ratio(record.throughput), record.throughput),
                verdict.badge(),
            ]
        )
    return table("All ratios", columns, lines, headers=3)


def agreement(result: BenchResult) -> Markup:
    """Return the largest differences between the contestants' outputs."""
    columns = ("contestant", "graph", "output", "largest difference", "rows compared")
    lines: list[list[Cell | None]] = [
        [
            record.contestant,
            record.graph,
            record.output,
            (f"{record.max_scaled:.1e}", record.max_scaled),
            record.rows,
        ]
        for record in result.agreement
    ]
    return table("Agreement of outputs", columns, lines, headers=3)


def start_up(measurements: Sequence[Measured], lineup: Lineup) -> Markup:
    """Return time and memory up to the first answer, median over the measurements of a graph."""
    groups: dict[tuple[str, Plotted], list[Measured]] = {}
    for measured in measurements:
        groups.setdefault((measured.graph, lineup.of(measured)), []).append(measured)
    lines: list[list[Cell | None]] = []
    for (graph, series), group in groups.items():
        seconds_of = ((measured.import_s, measured.session_creation_s, measured.first_run_s) for measured in group)
        medians = [statistics.median(values) for values in zip(*seconds_of, strict=True)]
        sizes = [
            measured.resident_after_load_bytes
            for measured in group
            if measured.resident_after_load_bytes is not None
        ]
        loaded = statistics.median(sizes) if sizes else None
        peak = max(
            (measured.peak_memory_bytes for measured in group if measured.peak_memory_bytes is not None),
            default=None,
        )
        times = map(_time, (*medians, sum(medians)))
        lines.append([series.named(), graph, *times, _size(loaded), _size(peak)])
    columns = (
        "contestant",
        "graph",
        "import",
        "session",
        "first run",
        "together",
        "memory, loaded",
        "memory, peak",
    )
    return table("Start-up and memory", columns, lines, headers=2)


def profiles(measurements: Sequence[Measured], lineup: Lineup) -> Markup:
    """Return the time of each node, the slowest first."""
    # A node does the same whatever the scenario: once for each contestant, graph and batch.
    profiled = {
        (lineup.of(measured), measured.graph, measured.batch): measured.profile
        for measured in measurements
        if measured.profile
    }
    lines: list[list[Cell | None]] = []
    for (series, graph, batch), nodes in profiled.items():
        total = sum(node.us for node in nodes) or 1.0
        for node in sorted(nodes, key=lambda node: -node.us):
            share = node.us / total
            time = (seconds(node.us * 1e-6), node.us)
            lines.append(
                [series.named(), graph, (f"{batch:,}", batch), node.op, node.node, time, (percent(share), share)]
            )
    columns = ("contestant", "graph", "rows", "operator", "node", "time", "share")
    return table("Time of each node", columns, lines, headers=5)


def _time(value: float | None) -> Cell | None:
    return None if value is None else (seconds(value), value)


def _size(value: float | None) -> Cell | None:
    return None if value is None else (size(value), value)


def _provider(measured: Measured) -> Cell:
    """Return the provider with the number of nodes that each provider got."""
    name = measured.provider
    if not measured.placement:
        return name
    placed = {key.removesuffix("ExecutionProvider"): nodes for key, nodes in measured.placement.items()}
    words = ", ".join(
        f"{'' if key.lower() == name.lower() else key} {counted(nodes, 'node')}".strip()
        for key, nodes in placed.items()
    )
    return tag("span", name, tag("small", f" {words}"))
