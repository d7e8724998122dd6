"""The page of a benchmark: verdicts first, then the figures, then the environment."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aetool.bench import result as bench
from aetool.bench.result import BenchResult, GraphFile, read_document
from aetool.report.bench import _distribution as distribution
from aetool.report.bench import _throughput as throughput
from aetool.report.bench import tables
from aetool.report.bench.series import Case, Lineup, by_case, ordered
from aetool.report.bench.verdicts import cards, stability_warning, summary, verdicts
from aetool.report.draw.markup import Markup, joined, listed, tag
from aetool.report.draw.page import page, section
from aetool.report.draw.units import counted, moment, size
from aetool.runtime.tuning_file import FORMAT_VERSION, KIND, TuningResult
from aetool.tune.result import tuning_of

# Environment of the measurement, and the command that repeats it.


def environment(result: BenchResult) -> Markup:
    """Return machine, bundle, parameters, packages and command."""
    machine, bundle = result.machine, result.bundle
    quota = "" if machine.quota_cores is None else f", {machine.quota_cores:g} allowed by the container"
    peaks = ", ".join(f"{peak:,.0f} GFLOP/s ({threads})" for threads, peak in result.ceiling.matmul_gflops.items())
    facts = {
        "processor": f"{machine.cpu}, {counted(machine.cores, 'core')}{quota}",
        "memory": size(machine.memory_bytes),
        "matrix-product peak (threads)": peaks or "not measured",
        "memory copy": f"{result.ceiling.copy_gb_per_s:.3g} GB/s",
        "system": machine.system,
        "Python": machine.python,
        "packages": ", ".join(f"{name} {version}" for name, version in machine.packages.items()),
        "commit": machine.commit,
        "bundle": f"{bundle.name} ({bundle.id})",
        "features and embedding": f"{bundle.features:,} and {bundle.embedding or 'none'}",
        **{f"graph {name}": _file(file) for name, file in bundle.files.items()},
        **{
            name.replace("_", " "): _plain(value)
            for name, value in result.parameters.items()
            if value is not None and value != []
        },
        "measured": moment(result.created),
    }
    return repeated(result.command, facts, machine.cpu_flags)


def _plain(value: Any) -> str:
    """Return a parameter as text: lists with commas, no quotes or brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return "default" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def repeated(command: Sequence[str], facts: Mapping[str, str], cpu_flags: Sequence[str]) -> Markup:
    """Return the command, and the facts that it ran under: name -> value."""
    flags = " ".join(cpu_flags)
    return joined(
        [
            tag("p", "Command to repeat it:"),
            tag("pre", tag("code", shlex.join(command)), tabindex="0"),
            listed(facts.items()),
            tag("details", tag("summary", "Flags of the processor"), tag("p", flags, class_="flags"))
            if flags
            else None,
        ]
    )


def _file(file: GraphFile) -> str:
    work = file.multiply_adds_per_row
    work_text = "" if work is None else f", {work:,} multiply-adds a row"
    return f"{size(file.bytes)}{work_text}, sha256 {file.sha256}"


_OPEN = 6  # figures that are shown before the rest is folded away


def benchmark_page(result: BenchResult) -> str:
    """Return a complete HTML document that needs neither network nor JavaScript."""
    lineup = Lineup(result.results)
    measurements = ordered(result, lineup)
    cases = by_case(measurements)
    judged = verdicts(result)
    latencies = {
        case: distribution.figure(f"latency-{i}", case, group, lineup)
        for i, (case, group) in enumerate(cases.items())
    }
    rates = throughput.figures(result, lineup, measurements)
    bundle = result.bundle
    machine = f"{result.machine.cpu}, {counted(result.machine.cores, 'core')}"
    about = f"{bundle.features:,} features, {machine}, {moment(result.created)}"
    sections = (
        stability_warning(measurements, lineup),
        cards(judged) if judged else None,
        section(
            "Comparison",
            "Contestants take turns, each in its own process. p50 is the median of the rounds, spread the lowest "
            "and the highest round; both are times, so below 1 is faster. A verdict needs stable times and rounds "
            "that all agree.",
            tables.ratios(judged),
        )
        if judged
        else None,
        section(
            "Latency",
            "All samples on a logarithmic axis. Each shape is scaled to its most frequent latency. Percentiles "
            "without enough samples are left out.",
            joined([lineup.legend(), distribution.key_to_marks(), _folded(latencies)]),
        ),
        section(
            "Throughput",
            throughput.caption(result),
            joined([lineup.legend(), _grid(rates)]),
        )
        if rates
        else None,
        section("Measurements", None, tables.results(measurements, lineup)),
        section(
            "Start-up and memory",
            "Time from a new process to its first answer. Peak memory is the highest of all batches.",
            tables.start_up(measurements, lineup),
        ),
        section(
            "Inside the graph",
            "Time of each node, profiled separately from the timing.",
            tables.profiles(measurements, lineup),
        )
        if any(measured.profile for measured in measurements)
        else None,
        section(
            "Agreement",
            "Largest difference between outputs as a share of the output's range, checked before the timing.",
            tables.agreement(result),
        )
        if result.agreement
        else None,
        section("Environment", None, environment(result)),
    )
    heading, lead = f"How fast is {bundle.name}?", summary(result, judged)
    return page(bundle.name, "aetool bench", heading, lead, about, sections)


def _grid(figures: Iterable[Markup]) -> Markup:
    return tag("div", *figures, class_="grid")


def _folded(figures: Mapping[Case, Markup]) -> Markup:
    """Group the figures by graph in parts that fold; the first parts are open."""
    groups: dict[str, list[Markup]] = {}
    for case, figure in figures.items():
        groups.setdefault(case.graph, []).append(figure)
    parts, shown = [], 0
    for graph, group in groups.items():
        name = tag("summary", tag("h3", graph), tag("small", counted(len(group), "case")))
        parts.append(tag("details", name, _grid(group), open=shown < _OPEN))
        shown += len(group)
    return joined(parts)


# The results that pages are made of, distinguished by their kind.


def read_result(path: Path) -> BenchResult | TuningResult:
    """Read a file of `aetool bench` or `aetool tune`.

    Raises:
        BenchmarkError: not there, another kind of file, of a newer aetool, or with an entry that is wrong.
    """
    kinds = {bench.KIND: bench.FORMAT_VERSION, KIND: FORMAT_VERSION}
    content = read_document(path, kinds, "aetool bench or aetool tune")
    if content["kind"] == KIND:
        return tuning_of(content, str(path))
    return bench.result_of(content, str(path))
