"""Results of measurements, for a person."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aetool.bench.compare import Comparison, Verdict
from aetool.bench.grid import OURS
from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.cli.output import facts, table

Line = Sequence[str | Text]
_COLOURS = {"faster": "green", "slower": "red", "same": ""}
_MIB = 1 << 20
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def show_result(out: Console, result: BenchResult, file: Path | None) -> None:
    """What each contestant did under each load; what it took to start it; what the machine can do."""
    out.print(_loads(result))
    out.print()
    out.print(_starts(result))
    if any(measured.profile for measured in result.results):
        out.print()
        out.print(_profiles(result))
    out.print()
    out.print(facts(_facts(result, file)))


def show_comparison(out: Console, found: Comparison) -> None:
    """One line a measurement; then what else changed."""
    columns = ["", "before", "after", "ratio", "", ""]
    lines: list[Line] = []
    title = ""
    for verdict in found.verdicts:
        if (heading := _title(verdict)) != title:
            lines += _heading(heading, columns, first=not title)
            title = heading
        lines.append(
            [
                f"  {verdict.contestant}",
                _time(verdict.before_s),
                _time(verdict.after_s),
                f"{verdict.ratio:.2f}",
                Text(verdict.verdict, _COLOURS[verdict.verdict]),
                "" if verdict.stable else Text("noisy", "yellow"),
            ]
        )
    out.print(table(columns, lines, right=columns[1:4]))
    words = [verdict.verdict for verdict in found.verdicts]
    pairs = [("verdict", ", ".join(f"{words.count(word)} {word}" for word in _COLOURS if word in words))]
    pairs += [("changed", change) for change in found.changed]
    for name, count in (("only before", found.only_before), ("only after", found.only_after)):
        pairs += [(name, f"{count} measurements")] if count else []
    out.print()
    out.print(facts(pairs))


def _loads(result: BenchResult) -> Table:
    columns = ["", "p50", "p90", "p99", "p99.9", "rows/s", "of peak", "aetool/peer", ""]
    ratios = {(_title(ratio), ratio.to): ratio for ratio in result.ratios}
    lines: list[Line] = []
    for cell in _cells(result.results):
        title = _title(cell[0])
        lines += _heading(title, columns, first=not lines)
        lines += [_load(measured, ratios.get((title, measured.contestant))) for measured in cell]
    return table(columns, lines, right=columns[1:8])


def _load(measured: Measured, ratio: RatioRecord | None) -> Line:
    latency = measured.latency_s
    against = "" if ratio is None else f"{ratio.p50:.2f} ({ratio.spread[0]:.2f}-{ratio.spread[1]:.2f})"
    return [
        f"  {measured.contestant}",
        *(_time(value) for value in (latency.p50, latency.p90, latency.p99, latency.p99_9)),
        f"{measured.throughput_rows_per_s:,.0f}",
        "" if measured.share_of_peak is None else f"{measured.share_of_peak:.0%}",
        against,
        "" if measured.stability.stable else Text("noisy", "yellow"),
    ]


def _starts(result: BenchResult) -> Table:
    """One line a process: it answers several loads."""
    columns = ["graph", "contestant", "import", "session", "first run", "loaded", "peak"]
    peaks: dict[tuple[object, ...], int] = {}
    first: dict[tuple[object, ...], Measured] = {}
    for measured in result.results:
        process = measured.key[:5]
        first.setdefault(process, measured)
        peaks[process] = max(peaks.get(process, 0), measured.peak_memory_bytes or 0)
    lines: list[Line] = [
        [
            f"{one.graph}{_setting(one)}",
            one.contestant,
            *map(_time, (one.import_s, one.session_creation_s, one.first_run_s)),
            *(_memory(size) for size in (one.resident_after_load_bytes, peaks[process])),
        ]
        for process, one in first.items()
    ]
    return table(columns, lines, right=columns[2:])


def _profiles(result: BenchResult) -> Table:
    columns = ["node", "operator", "time"]
    lines: list[Line] = []
    seen = set()
    for measured in result.results:
        cell = (*measured.key[:5], measured.batch)  # of which every scenario has the same profile
        if measured.profile and cell not in seen:
            seen.add(cell)
            lines += _heading(_title(measured), columns, first=not lines)
            lines += [[f"  {one.node}", one.op, _time(one.us / 1e6)] for one in measured.profile]
    return table(columns, lines, right=columns[2:])


def _facts(result: BenchResult, file: Path | None) -> list[tuple[str, str]]:
    machine, limits = result.machine, result.ceiling
    peak = ", ".join(
        f"{flops:,.0f} GFLOP/s on {count} core{'s' * (count != '1')}"
        for count, flops in limits.matmul_gflops.items()
    )
    worst = max(result.agreement, key=lambda record: record.max_scaled)
    pairs = [
        ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.system}"),
        ("at most", f"{peak} (float32 matrix product), {limits.copy_gb_per_s:,.0f} GB/s (copy)"),
        ("rows", str(result.parameters["rows"])),
        ("agreement", f"all, within {worst.max_scaled:.1e} of an output's range ({worst.rows})"),
    ]
    placed = sorted({_placed(one) for one in result.results if one.placement})
    pairs += [("placement", text) for text in placed]
    return pairs + ([("result", str(file))] if file else [])


def _placed(measured: Measured) -> str:
    nodes = ", ".join(f"{count} nodes on {provider}" for provider, count in (measured.placement or {}).items())
    return f"{measured.graph}{_setting(measured)}: {nodes}"


def _cells(results: Sequence[Measured]) -> Iterator[list[Measured]]:
    """aetool under one load, and its peers after it."""
    cell: list[Measured] = []
    for measured in results:
        if measured.contestant == OURS and cell:
            yield cell
            cell = []
        cell.append(measured)
    yield cell


def _title(one: Measured | RatioRecord | Verdict) -> str:
    return f"{one.graph}, {one.scenario}, {one.batch:,} row{'s' * (one.batch > 1)}{_setting(one)}"


def _setting(one: Measured | RatioRecord | Verdict) -> str:
    threads = "" if one.threads is None else f", {one.threads} thread{'s' * (one.threads > 1)}"
    return f" ({one.provider}, {one.precision}{threads})"


def _heading(title: str, columns: Sequence[str], *, first: bool) -> list[Line]:
    """A line above others, and an empty one above that."""
    empty: list[Line] = [] if first else [[""] * len(columns)]
    return [*empty, [Text(title, "bold"), *[""] * (len(columns) - 1)]]


def _time(seconds: float | None) -> str:
    """Three digits and a unit; nothing for what is not known."""
    if seconds is None:
        return ""
    size, unit = next(pair for pair in _UNITS if seconds >= pair[0] or pair is _UNITS[-1])
    return f"{seconds / size:#.3g}".removesuffix(".") + f" {unit}"


def _memory(size: int | None) -> str:
    return "" if not size else f"{size / _MIB:,.0f} MiB"
