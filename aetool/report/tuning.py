"""The page of a tuning: the choice first, then what it was chosen from."""

from aetool.report import pareto, svg
from aetool.report.environment import repeated
from aetool.report.markup import Markup, joined, tag
from aetool.report.page import page, section
from aetool.report.tables import Cell, table
from aetool.report.ticks import log_ticks
from aetool.report.units import TIMES, counted, percent, ratio, rows, seconds
from aetool.tune.result import Race, Trial, TuningResult

_ROW, _HEAD = 40.0, 8.0
_VALUE = 56.0  # at the right, for the median


def tuning_page(result: TuningResult) -> str:
    """A whole HTML document, complete without the network and without JavaScript."""
    machine = f"{result.machine.cpu}, {counted(result.machine.cores, 'core')}"
    header = tag(
        "header",
        tag("p", "aetool tune", class_="kicker"),
        tag("h1", f"How to run {result.bundle.name} here"),
        tag("p", f"{result.choice.words}: {result.reason}.", class_="lead"),
        tag(
            "p",
            f"For {result.purpose} of {result.graph}, {rows(result.rows)} a call; {machine}, {result.created}",
            class_="about",
        ),
    )
    finals = [trial for trial in result.trials if trial.races and trial.races[-1].name == "final"]
    sections = (
        section(
            "Speed and fidelity",
            "Every candidate that was timed, by its last race against the default. The full sign is the choice, "
            "the line the front: nothing is both faster and as faithful. What exceeds the budget is not timed.",
            joined([pareto.legend(result), tag("div", pareto.figure(result), class_="grid")]),
        ),
        section(
            "Final",
            "Every round is a dot: the candidate's time to the default's. Something else than the default is "
            "chosen only if every round is below 1.",
            tag("div", _final(finals), class_="grid"),
        )
        if finals
        else None,
        section("What was tried", None, _tried(result)),
        section("Environment", None, _environment(result)),
    )
    return page(f"{result.bundle.name}: aetool tune", header, sections)


def _final(finals: list[Trial]) -> Markup:
    edges = [edge for trial in finals for edge in _ratios(trial.races[-1])]
    scale = svg.log_scale([1.0, *edges], svg.EDGE, svg.WIDTH - _VALUE, 1.06)
    bottom = _HEAD + _ROW * len(finals)
    picture = svg.picture(
        "final",
        "Time to the default's, round by round",
        "; ".join(f"{trial.name}: {ratio(trial.races[-1].ratio)}" for trial in finals),
        bottom + 24,
        svg.axis_below(scale, log_ticks(scale.low, scale.high, 7), bottom, 0, lambda at: f"{at:.3g}{TIMES}"),
        svg.line(scale(1.0), 0, scale(1.0), bottom, "even"),
        *(_rounds(trial, scale, _HEAD + i * _ROW) for i, trial in enumerate(finals)),
    )
    return tag("figure", tag("figcaption", "time to the default's"), picture)


def _rounds(trial: Trial, scale: svg.Scale, top: float) -> Markup:
    race = trial.races[-1]
    dots = (
        svg.marker(0, scale(one), top + 24, "s0 dot", f"round {i + 1}: {ratio(one)}", 3.2)
        for i, one in enumerate(_ratios(race))
    )
    return tag(
        "g",
        svg.label(svg.EDGE, top + 12, svg.shortened(trial.name, svg.WIDTH - 70), "name"),
        svg.label(svg.WIDTH - svg.EDGE, top + 12, ratio(race.ratio), "value", "end"),
        *dots,
    )


def _ratios(race: Race) -> list[float]:
    return [own / default for own, default in zip(race.seconds, race.default_seconds, strict=True)]


def _tried(result: TuningResult) -> Markup:
    columns = (
        "candidate",
        "verdict",
        "time",
        "a call",
        "race",
        "flips",
        "rank correlation",
        "AUROC drop",
        "cosine",
    )
    return table("Everything that was tried", columns, [_line(trial, result) for trial in result.trials])


def _line(trial: Trial, result: TuningResult) -> list[Cell | None]:
    race, found = trial.races[-1] if trial.races else None, trial.fidelity
    middle = None if race is None else sorted(race.seconds)[len(race.seconds) // 2]
    drop = None if found is None else found.auroc_drop
    cosine = None if found is None else found.embedding_cosine
    return [
        trial.name,
        trial.dropped or result.reason,
        None if race is None else (ratio(race.ratio), race.ratio),
        None if middle is None else (seconds(middle), middle),
        None if race is None else f"{race.name}, {rows(race.rows)}",
        None if found is None else (percent(found.flips), found.flips),
        None if found is None else (f"{found.rank_correlation:.4f}", found.rank_correlation),
        None if drop is None else (f"{drop:.4f}", drop),
        None if cosine is None else (f"{cosine:.4f}", cosine),
    ]


def _environment(result: TuningResult) -> Markup:
    machine, bundle = result.machine, result.bundle
    limits = {name.replace("_", " "): limit for name, limit in result.budget.items() if limit is not None}
    facts = {
        "processor": f"{machine.cpu}, {counted(machine.cores, 'core')}",
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "aetool": result.aetool,
        "bundle": f"{bundle.name} ({bundle.id})",
        "rows": result.data,
        "budget": ", ".join(f"{name} {limit:g}" for name, limit in limits.items()) or "none",
        "tuned": result.created,
    }
    return repeated(result.command, facts, machine.cpu_flags)
