"""The page of a tuning: the choice first, then the candidates, speed against fidelity."""

import itertools
from collections.abc import Sequence

from aetool.report.bench.page import repeated
from aetool.report.draw import svg
from aetool.report.draw.markup import Cell, Markup, table, tag
from aetool.report.draw.page import page, section
from aetool.report.draw.svg import linear_ticks, log_ticks
from aetool.report.draw.units import NO_BREAK, TIMES, counted, moment, percent, ratio, rows, seconds, speed
from aetool.runtime.tuning_file import Race, Trial, TuningResult

# Speed against fidelity: every candidate that was timed, and the front that nothing lies beyond.

_LEFT, _TOP, _BOTTOM = 50.0, 20.0, 250.0
_LEAST_FLIPS = 0.001  # the axis reaches as far, where nothing flips


class TimedTrial:
    """A candidate that was timed, with its speed and fidelity."""

    def __init__(self, trial: Trial) -> None:
        """Take speed from the last race, and fidelity where it was measured."""
        self.trial = trial
        self.speed = 1 / trial.races[-1].ratio if trial.races else 1.0
        self.flips = trial.fidelity.flips if trial.fidelity else 0.0

    @property
    def words(self) -> str:
        """Return `int8: 2.10x, 0.2 % of the decisions differ`."""
        return f"{self.trial.name}: {ratio(self.speed)}, {percent(self.flips)} of the decisions differ"


def points_of(result: TuningResult) -> list[TimedTrial]:
    """Return the default and the candidates that raced against it."""
    return [TimedTrial(trial) for i, trial in enumerate(result.trials) if trial.races or i == 0]


def front_of(points: Sequence[TimedTrial]) -> list[TimedTrial]:
    """Return the candidates that no other beats in speed and fidelity, the most faithful first."""
    front: list[TimedTrial] = []
    for point in sorted(points, key=lambda trial: (trial.flips, -trial.speed)):
        if not front or point.speed > front[-1].speed:
            front.append(point)
    return front


def figure(result: TuningResult) -> Markup:
    """Draw speed against fidelity."""
    points = points_of(result)
    precisions = _precisions(points)
    across = svg.log_scale([point.speed for point in points], _LEFT + 8, svg.WIDTH - svg.EDGE - 8, 1.15)
    limit = result.budget.get("max_flips")
    highest = max(_LEAST_FLIPS, limit or 0.0, *(point.flips for point in points))
    up = svg.Scale(0.0, highest * 1.15, _BOTTOM, _TOP, log=False)
    front = front_of(points)
    chosen = next(point for point in points if point.trial.choice == result.choice)
    picture = svg.picture(
        "pareto",
        "Speed against decisions that differ",
        "; ".join(point.words for point in points),
        _BOTTOM + 40,
        svg.label(4, 11, "decisions that differ", "tick"),
        svg.axis_beside(up, linear_ticks(up.low, up.high, 5), _LEFT, _share),
        svg.axis_below(
            across, log_ticks(across.low, across.high, 7), _BOTTOM, _TOP, lambda at: f"{at:.3g}{TIMES}"
        ),
        svg.label(svg.WIDTH / 2 + 20, _BOTTOM + 35, "speed, the default is 1", "tick", "middle"),
        svg.line(across(1.0), _TOP, across(1.0), _BOTTOM, "even"),
        None if limit is None else _limit(limit, up),
        svg.path(_steps(front, across, up), "front"),
        *(_sign(point, precisions, across, up, is_open=point is not chosen) for point in points),
    )
    signs = [
        (svg.marker(precisions.index(name), 7, 7, f"s{i % 8} open"), name) for i, name in enumerate(precisions)
    ]
    i = precisions.index(chosen.trial.choice.precision)
    signs.append((svg.marker(i, 7, 7, f"s{i % 8} dot"), f"the choice: {chosen.trial.name}"))
    signs.append((svg.line(0, 7, 14, 7, "front"), "front"))
    if limit is not None:
        signs.append((svg.line(0, 7, 14, 7, "ceiling peak"), f"budget {_share(limit)}"))
    return tag("figure", tag("figcaption", f"{result.graph}, {result.purpose}"), picture, svg.legend(signs))


def _steps(front: Sequence[TimedTrial], across: svg.Scale, up: svg.Scale) -> list[tuple[float, float]]:
    """Return the points along the front: it rises only for more speed."""
    way = [(_LEFT, up(front[0].flips)), (across(front[0].speed), up(front[0].flips))]
    for before, after in itertools.pairwise(front):
        way += [(across(before.speed), up(after.flips)), (across(after.speed), up(after.flips))]
    return way


def _sign(
    point: TimedTrial, precisions: Sequence[str], across: svg.Scale, up: svg.Scale, *, is_open: bool
) -> Markup:
    index = precisions.index(point.trial.choice.precision)
    class_ = f"s{index % 8} {'open' if is_open else 'dot'}"
    return svg.marker(index, across(point.speed), up(point.flips), class_, point.words, 4 if is_open else 5.5)


def _limit(limit: float, up: svg.Scale) -> Markup:
    y = up(limit)
    return svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, "ceiling peak", f"budget: {_share(limit)}")


def _share(value: float) -> str:
    return f"{value * 100:.3g}{NO_BREAK}%"


def _precisions(points: Sequence[TimedTrial]) -> list[str]:
    return list(dict.fromkeys(point.trial.choice.precision for point in points))


_ROW, _HEAD = 40.0, 8.0
_VALUE = 56.0  # at the right, for the median


def tuning_page(result: TuningResult) -> str:
    """Return a complete HTML document that needs neither network nor JavaScript."""
    machine = f"{result.machine.cpu}, {counted(result.machine.cores, 'core')}"
    lead = f"{result.choice.words}: {result.reason}."
    about = (
        f"For {result.purpose} of {result.graph}, {rows(result.rows)} a call; {machine}, {moment(result.created)}"
    )
    finals = [trial for trial in result.trials if trial.races and trial.races[-1].name == "final"]
    sections = (
        section(
            "Speed and fidelity",
            "Each sign is a candidate, compared with the default in its last race. Candidates on the front are "
            "not beaten in both speed and fidelity. Those that exceed the budget were not timed.",
            tag("div", figure(result), class_="grid"),
        ),
        section(
            "Final",
            "Each dot is a round: the candidate's time divided by the default's. A candidate replaces the default "
            "only if it is faster (below 1) in every round.",
            tag("div", _final(finals), class_="grid"),
        )
        if finals
        else None,
        section("Candidates", None, _tried(result)),
        section("Environment", None, _environment(result)),
    )
    name = result.bundle.name
    return page(name, "aetool tune", f"Fastest settings for {name}", lead, about, sections)


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
    return tag("figure", tag("figcaption", "time divided by the default's"), picture)


def _rounds(trial: Trial, scale: svg.Scale, top: float) -> Markup:
    race = trial.races[-1]
    dots = (
        svg.marker(0, scale(value), top + 24, "s0 dot", f"round {i + 1}: {ratio(value)}", 3.2)
        for i, value in enumerate(_ratios(race))
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
        "against the default",
        "time of a call",
        "last race",
        "decisions that differ",
        "rank correlation",
        "AUROC drop",
        "embedding cosine",
    )
    return table("All candidates", columns, [_line(trial, result) for trial in result.trials])


def _line(trial: Trial, result: TuningResult) -> list[Cell | None]:
    race, fidelity = trial.races[-1] if trial.races else None, trial.fidelity
    middle = None if race is None else sorted(race.seconds)[len(race.seconds) // 2]
    drop = None if fidelity is None else fidelity.auroc_drop
    cosine = None if fidelity is None else fidelity.embedding_cosine
    return [
        trial.name,
        trial.dropped or result.reason,
        None if race is None else (speed(1 / race.ratio), race.ratio),
        None if middle is None else (seconds(middle), middle),
        None if race is None else f"{race.name}, {rows(race.rows)}",
        None if fidelity is None else (percent(fidelity.flips), fidelity.flips),
        None if fidelity is None else (f"{fidelity.rank_correlation:.4f}", fidelity.rank_correlation),
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
        "tuned": moment(result.created),
    }
    return repeated(result.command, facts, machine.cpu_flags)
