"""Throughput by batch, below the ceilings of the machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from aetool.bench.result import BenchResult, Measured
from aetool.report.bench.series import Lineup, Plotted
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.svg import log_ticks
from aetool.report.draw.units import count, counted, rate, rows

_FLOAT = 4  # bytes
_LEFT, _TOP, _BOTTOM = 44.0, 18.0, 290.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A ceiling, in rows a second."""

    name: str
    rows_per_s: float
    class_: str


def bytes_per_row(graph: str, features: int, embedding: int | None) -> int:
    """Return the least bytes that a row moves: features in, outputs out, in float32."""
    latent = embedding or 0
    values = {"encode": features + latent, "reconstruct": features + latent + features, "score": features + 1}
    return _FLOAT * values.get(graph, features) + (graph == "score")  # is_anomaly is one byte


def limits(result: BenchResult, graph: str) -> list[Limit]:
    """Return the ceilings of `graph` on this machine, the highest first."""
    ceilings = []
    work = _work(result, graph)
    if work:
        peaks = sorted(result.ceiling.matmul_gflops.items(), key=lambda peak: peak[1])
        for threads, gflops in dict([*peaks[:1], *peaks[-1:]]).items():
            name = f"matrix peak, {threads} thread{'' if threads == '1' else 's'}"
            ceilings.append(Limit(name, gflops * 1e9 / (2 * work), "peak"))
    moved = bytes_per_row(graph, result.bundle.features, result.bundle.embedding)
    ceilings.append(Limit("memory copy", result.ceiling.copy_gb_per_s * 1e9 / moved, "memory"))
    return sorted((limit for limit in ceilings if limit.rows_per_s > 0), key=lambda limit: -limit.rows_per_s)


def _work(result: BenchResult, graph: str) -> int | None:
    """Return the multiply-adds of a row, independent of the precision of its file."""
    files = (file for name, file in result.bundle.files.items() if name.rpartition("/")[2] == graph)
    return next((file.multiply_adds_per_row for file in files), None)


def figures(result: BenchResult, lineup: Lineup, measurements: Sequence[Measured]) -> list[Markup]:
    """Return two figures per graph: single calls beside all rows at once, and many callers.

    A server gives what arrives, no more: it is left out.
    """
    groups: dict[tuple[str, bool], list[Measured]] = {}
    for measured in measurements:
        if measured.scenario != "server":
            groups.setdefault((measured.graph, measured.scenario == "multi-stream"), []).append(measured)
    several = {key: group for key, group in groups.items() if len({measured.batch for measured in group}) > 1}
    chosen = several or groups
    return [
        _figure(f"throughput-{i}", graph, group, limits(result, graph), lineup)
        for i, ((graph, _), group) in enumerate(chosen.items())
    ]


def _figure(
    key: str, graph: str, measurements: Sequence[Measured], ceilings: Sequence[Limit], lineup: Lineup
) -> Markup:
    batches = sorted({measured.batch for measured in measurements})
    across = svg.log_scale([float(batch) for batch in batches], _LEFT + 8, svg.WIDTH - svg.EDGE - 8, 1.0001)
    rates = [measured.throughput_rows_per_s for measured in measurements] + [
        limit.rows_per_s for limit in ceilings
    ]
    up = svg.Scale(min(rates) / 1.6, max(rates) * 1.6, _BOTTOM, _TOP)
    scenarios = " and ".join(dict.fromkeys(measured.scenario for measured in measurements))
    words = "; ".join(_spoken(measured, lineup.of(measured)) for measured in measurements)
    bounds = "; ".join(f"{limit.name}: {rate(limit.rows_per_s)}" for limit in ceilings)
    picture = svg.picture(
        key,
        f"Throughput of {graph} against batch, {scenarios}",
        f"Both axes are logarithmic. Ceilings: {bounds}. {words}.",
        _BOTTOM + 38,
        svg.label(_LEFT - 38, 11, "rows/s", "tick"),
        svg.axis_beside(up, log_ticks(up.low, up.high, 8), _LEFT, count),
        svg.axis_below(across, [float(batch) for batch in batches], _BOTTOM, _TOP, lambda batch: f"{batch:,.0f}"),
        svg.label(svg.WIDTH / 2 + 18, _BOTTOM + 33, "rows a call", "tick", "middle"),
        *(_ceiling(limit, up) for limit in ceilings),
        *(_line(series, points, across, up) for series, points in _lines(measurements, lineup)),
    )
    return tag("figure", tag("figcaption", f"{graph}, {scenarios}"), picture, _ceiling_legend(ceilings))


def _lines(measurements: Sequence[Measured], lineup: Lineup) -> list[tuple[Plotted, list[Measured]]]:
    lines: dict[tuple[int, bool], tuple[Plotted, list[Measured]]] = {}
    for measured in sorted(measurements, key=lambda measured: measured.batch):
        series = lineup.of(measured)
        lines.setdefault((-series.index, _is_offline(measured)), (series, []))[1].append(measured)
    return [lines[key] for key in sorted(lines)]  # the first are drawn last: nobody lies over aetool


def _line(series: Plotted, measurements: Sequence[Measured], across: svg.Scale, up: svg.Scale) -> Markup:
    points = [(across(measured.batch), up(measured.throughput_rows_per_s)) for measured in measurements]
    dots = []
    for (x, y), measured in zip(points, measurements, strict=True):
        share = (
            "" if measured.share_of_peak is None else f", {measured.share_of_peak:.0%} of the matrix-product peak"
        )
        dots.append(series.sign(x, y, _spoken(measured, series) + share, is_open=_is_offline(measured)))
    return joined([svg.path(points, f"{series.colour} line") if len(points) > 1 else None, *dots])


def _spoken(measured: Measured, series: Plotted) -> str:
    return f"{series.name}, {rows(measured.batch)}, {measured.scenario}: {rate(measured.throughput_rows_per_s)}"


def _is_offline(measured: Measured) -> bool:
    return measured.scenario == "offline"


def _ceiling(limit: Limit, up: svg.Scale) -> Markup:
    y = up(limit.rows_per_s)
    hint = f"{limit.name}: {rate(limit.rows_per_s)}"
    return svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, f"ceiling {limit.class_}", hint)


def _ceiling_legend(ceilings: Sequence[Limit]) -> Markup:
    return svg.legend(
        (svg.line(0, 7, 14, 7, f"ceiling {limit.class_}"), f"{limit.name}: {rate(limit.rows_per_s)}")
        for limit in ceilings
    )


def caption(result: BenchResult) -> str:
    """Return a sentence on how the ceilings were measured."""
    threads = ", ".join(
        f"{gflops:,.0f} GFLOP/s on {counted(int(n), 'thread') if n.isdigit() else n}"
        for n, gflops in result.ceiling.matmul_gflops.items()
    )
    return (
        f"Ceilings of the processor, measured here: a matrix product in float32 reaches {threads}, at two "
        f"operations for a multiply-add of a row; a copy moves {result.ceiling.copy_gb_per_s:.3g} GB/s, for the "
        "bytes of a row's features and outputs. Few rows stay in the caches, which are faster than memory; other "
        "precisions have other ceilings. Hollow signs are the offline scenario: all rows are there at once."
    )
