"""The page of a benchmark: verdicts first, then the figures they rest on."""

from collections.abc import Iterable, Mapping

from aetool.bench.result import BenchResult
from aetool.report import distribution, environment, profile, ratios, rounds, stability, tables, throughput
from aetool.report.markup import Markup, joined, tag
from aetool.report.page import page, section
from aetool.report.series import Case, Lineup, by_case, ordered
from aetool.report.units import counted
from aetool.report.verdicts import cards, summary, verdicts

_OPEN = 6  # figures that are shown before the rest is folded away


def benchmark_page(result: BenchResult) -> str:
    """A whole HTML document, complete without the network and without JavaScript."""
    lineup = Lineup(result.results)
    found = ordered(result, lineup)
    cases = by_case(found)
    told = verdicts(result)
    latencies = {
        case: distribution.figure(f"latency-{i}", case, group, lineup)
        for i, (case, group) in enumerate(cases.items())
    }
    turns = {
        case: rounds.figure(f"rounds-{i}", case, group, lineup) for i, (case, group) in enumerate(cases.items())
    }
    rates = throughput.figures(result, lineup, found)
    bundle = result.bundle
    machine = f"{result.machine.cpu}, {counted(result.machine.cores, 'core')}"
    header = tag(
        "header",
        tag("p", "aetool bench", class_="kicker"),
        tag("h1", f"How fast is {bundle.name}?"),
        tag("p", summary(result, told), class_="lead"),
        tag("p", f"{bundle.features:,} features, {machine}, {result.created}", class_="about"),
    )
    sections = (
        stability.warning(found, lineup),
        cards(told) if told else None,
        section(
            "Against the peer",
            "Contestants take turns, each in a process of its own. A sign stands at the median of the rounds at "
            "p50, its line goes from the lowest round to the highest. A verdict needs every round on one side, "
            "and times that were stable.",
            joined([_grid(ratios.figures(told)), _table_to_open(tables.ratios(told))]),
        )
        if told
        else None,
        section(
            "Latency",
            "All samples, none dropped, on a logarithmic axis. Every shape is as high as its row at its most "
            "frequent latency. A percentile without enough samples is left out.",
            joined([lineup.legend(), distribution.key_to_marks(), _folded(latencies)]),
        ),
        section(
            "Throughput",
            throughput.caption(result),
            joined([lineup.legend(), _grid(rates)]),
        )
        if rates
        else None,
        section(
            "Rounds",
            "Every round is a dot: its p50 against the median of that contestant's rounds. Later rounds lie "
            "lower. What scatters more than two contestants differ is noise.",
            joined([lineup.legend(), _folded(turns)]),
        ),
        section("Measurements", None, tables.results(found, lineup)),
        section(
            "Start-up and memory",
            "Seconds from a new process to its first answer; peak is the highest of all batches.",
            tables.start_up(found, lineup),
        ),
        _profiles(profile.figures(found, lineup)),
        section(
            "Agreement",
            "Largest difference between outputs, as a share of the output's range, before anything was timed.",
            tables.agreement(result),
        )
        if result.agreement
        else None,
        section("Environment", None, environment.section(result)),
    )
    return page(f"{bundle.name}: aetool bench", header, sections)


def _profiles(figures: list[Markup]) -> Markup | None:
    if not figures:
        return None
    return section("Inside the graph", "Time of each node, profiled apart from the timing.", _grid(figures))


def _table_to_open(table: Markup) -> Markup:
    return tag("details", tag("summary", "As a table"), table)


def _grid(figures: Iterable[Markup]) -> Markup:
    return tag("div", *figures, class_="grid")


def _folded(figures: Mapping[Case, Markup]) -> Markup:
    """A part to fold for every graph; the first parts are open."""
    groups: dict[str, list[Markup]] = {}
    for case, figure in figures.items():
        groups.setdefault(case.graph, []).append(figure)
    parts, shown = [], 0
    for graph, group in groups.items():
        name = tag("summary", tag("h3", graph), tag("small", counted(len(group), "case")))
        parts.append(tag("details", name, _grid(group), open=shown < _OPEN))
        shown += len(group)
    return joined(parts)
