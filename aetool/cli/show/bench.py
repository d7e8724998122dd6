"""Printed results of measurements."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from aetool.bench.compare import Comparison, Verdict
from aetool.bench.grid import OURS
from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.cli._output import facts, times_as_fast

_Cells = Sequence[str | Text]
_COLOURS = {"faster": "green", "slower": "red", "can't tell": ""}
_MIB = 1 << 20
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


class Group(NamedTuple):
    """Lines of a table below their own title."""

    title: str
    lines: list[_Cells]


def show_result(out: Console, result: BenchResult, file: Path | None) -> None:
    """Print each contestant under each load, start-up, and the machine's ceilings."""
    one_setting = len({_setting(measured) for measured in result.results}) == 1
    ratios = {(_load(ratio), _setting(ratio), ratio.to): ratio for ratio in result.ratios}
    loads = []
    for cell in _cells(result.results):
        load, setting, arrivals = _load(cell[0]), _setting(cell[0]), cell[0].arrivals_per_s
        lines = [_measured(record, ratios.get((load, setting, record.contestant))) for record in cell]
        title = load if arrivals is None else f"{load}, {arrivals:,.0f} times a second"
        loads.append(Group(title if one_setting else f"{title} ({setting})", lines))
    _show_groups(out, ("", "p50", "p99", "rows/s", "of peak", "aetool is", ""), loads)
    out.print()
    _show_groups(out, ("", "import", "session", "first run", "loaded", "peak"), _starts(result, one_setting))
    if profiles := _profiles(result):
        out.print()
        _show_groups(out, ("", "", "time"), profiles)
    out.print()
    out.print(facts(_facts(result, file)))


def show_comparison(out: Console, result: Comparison) -> None:
    """Print one line per measurement, then what else changed."""
    groups: list[Group] = []
    for record in result.verdicts:
        title = f"{_load(record)} ({_setting(record)})"
        if not groups or groups[-1].title != title:
            groups.append(Group(title, []))
        noisy = "" if record.stable else Text("noisy", "yellow")
        times = (_time(record.before_s), _time(record.after_s))
        groups[-1].lines.append([f"  {record.contestant}", *times, _change(record), noisy])
    _show_groups(out, ("", "before", "after", "", ""), groups)
    words = [verdict.verdict for verdict in result.verdicts]
    pairs = [("verdict", ", ".join(f"{words.count(word)} {word}" for word in _COLOURS if word in words))]
    pairs += [("changed", change) for change in result.changed]
    for name, count in (("only before", result.only_before), ("only after", result.only_after)):
        pairs += [(name, f"{count} measurements")] if count else []
    out.print()
    out.print(facts(pairs))


def _change(record: Verdict) -> Text:
    """Return `1.7x faster (1.4x to 2.1x)`, or what cannot be ruled out."""
    if record.verdict == "can't tell":
        return Text(f"can't tell ({times_as_fast(1 / record.high)} to {times_as_fast(1 / record.low)})")
    ratios = [record.ratio, record.high, record.low]  # of times: the fastest is the least
    if record.verdict == "faster":
        ratios = [1 / ratio for ratio in ratios]
    least, most = sorted(ratios[1:])
    return Text(f"{ratios[0]:.2f}x {record.verdict} ({least:.2f}x to {most:.2f}x)", _COLOURS[record.verdict])


def _show_groups(out: Console, columns: Sequence[str], groups: Sequence[Group]) -> None:
    """Print groups with common columns; the first one left-aligned, those with a name right-aligned."""
    every: list[_Cells] = [columns, *(line for group in groups for line in group.lines)]
    widths = [max(len(line[i]) for line in every) for i in range(len(columns))]

    def show(cells: _Cells, style: str = "") -> None:
        line = Text(style=style)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            text = cell if isinstance(cell, Text) else Text(cell)
            padding = " " * (width - len(text))
            line.append_text(Text.assemble(padding, text) if i and columns[i] else Text.assemble(text, padding))
            line.append("  ")
        line.rstrip()
        out.print(line, soft_wrap=True)

    show(columns, "dim")
    for number, group in enumerate(groups):
        if number:
            out.print()
        out.print(Text(group.title, "bold"), soft_wrap=True)
        for cells in group.lines:
            show(cells)


def _measured(record: Measured, ratio: RatioRecord | None) -> _Cells:
    return [
        f"  {record.contestant}",
        _time(record.latency_s.p50),
        _time(record.latency_s.p99),
        f"{record.throughput_rows_per_s:,.0f}",
        "" if record.share_of_peak is None else f"{record.share_of_peak:.0%}",
        "" if ratio is None else _speed(ratio),
        "" if record.stability.stable else Text("noisy", "yellow"),
    ]


def _speed(ratio: RatioRecord) -> Text:
    """Return how fast the first of two contestants is, in words; times of some rounds may contradict others."""
    low, high = ratio.spread
    if low <= 1 <= high:
        return Text("can't tell", "dim")
    return Text(times_as_fast(1 / ratio.p50), "green" if ratio.p50 < 1 else "red")


def _starts(result: BenchResult, one_setting: bool) -> list[Group]:
    """Return one line per contestant's process, which serves several loads."""
    processes: dict[tuple[object, ...], list[Measured]] = {}
    for measured in result.results:
        processes.setdefault(measured.key[:5], []).append(measured)
    groups: list[Group] = []
    for every in processes.values():
        record = every[0]
        title = record.graph if one_setting else f"{record.graph} ({_setting(record)})"
        if not groups or groups[-1].title != title:
            groups.append(Group(title, []))
        peak = max(measured.peak_memory_bytes or 0 for measured in every)
        times = map(_time, (record.import_s, record.session_creation_s, record.first_run_s))
        sizes = [f"{size / _MIB:,.0f} MiB" if size else "" for size in (record.resident_after_load_bytes, peak)]
        groups[-1].lines.append([f"  {record.contestant}", *times, *sizes])
    return groups


def _profiles(result: BenchResult) -> list[Group]:
    """Return profiles of every setting and batch once: the scenario does not change them."""
    profiled = {(*record.key[:5], record.batch): record for record in reversed(result.results) if record.profile}
    return [
        Group(
            f"{record.graph}, {_rows(record.batch)} ({_setting(record)})",
            [[f"  {node.node}", node.op, _time(node.us / 1e6)] for node in record.profile or ()],
        )
        for record in reversed(profiled.values())
    ]


def _facts(result: BenchResult, file: Path | None) -> list[tuple[str, str]]:
    machine, limits = result.machine, result.ceiling
    peak = ", ".join(
        f"{flops:,.0f} GFLOP/s on {count} core{'s' * (count != '1')}"
        for count, flops in limits.matmul_gflops.items()
    )
    worst = max(result.agreement, key=lambda record: record.max_scaled)
    settings = sorted({_setting(record) for record in result.results})
    pairs = [
        ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.system}"),
        ("at most", f"{peak} (float32 matrix product), {limits.copy_gb_per_s:,.0f} GB/s (copy)"),
        ("setting", "; ".join(settings)),
        ("rows", str(result.parameters["rows"])),
        ("agreement", f"all, within {worst.max_scaled:.1e} of an output's range ({worst.rows})"),
    ]
    placed = {
        f"{record.graph}: {', '.join(f'{count} nodes on {name}' for name, count in record.placement.items())}"
        for record in result.results
        if record.placement
    }
    pairs += [("placement", text) for text in sorted(placed)]
    return pairs + ([("result", str(file))] if file else [])


def _cells(results: Sequence[Measured]) -> Iterator[list[Measured]]:
    """Group aetool under one load with its peers."""
    cell: list[Measured] = []
    for measured in results:
        if measured.contestant == OURS and cell:
            yield cell
            cell = []
        cell.append(measured)
    yield cell


def _load(record: Measured | RatioRecord | Verdict) -> str:
    return f"{record.graph}, {record.scenario}, {_rows(record.batch)}"


def _rows(batch: int) -> str:
    return f"{batch:,} row{'s' * (batch > 1)}"


def _setting(record: Measured | RatioRecord | Verdict) -> str:
    threads = "" if record.threads is None else f", {record.threads} thread{'s' * (record.threads > 1)}"
    return f"{record.provider}, {record.precision}{threads}"


def _time(seconds: float | None) -> str:
    """Return three digits and a unit; "" for None."""
    if seconds is None:
        return ""
    size, unit = next(pair for pair in _UNITS if seconds >= pair[0] or pair is _UNITS[-1])
    return f"{seconds / size:#.3g}".removesuffix(".") + f" {unit}"
