"""Speed against fidelity: every candidate that was timed, and the front that nothing lies beyond."""

import itertools
from collections.abc import Sequence

from aetool.report import svg
from aetool.report.markup import Markup, joined, tag
from aetool.report.ticks import linear_ticks, log_ticks
from aetool.report.units import TIMES, percent, ratio
from aetool.tune.result import Trial, TuningResult

_LEFT, _TOP, _BOTTOM = 50.0, 20.0, 250.0
_LEAST_FLIPS = 0.001  # the axis reaches as far, where nothing flips


class Point:
    """A candidate that was timed."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.speed = 1 / trial.races[-1].ratio if trial.races else 1.0
        self.flips = trial.fidelity.flips if trial.fidelity else 0.0

    @property
    def words(self) -> str:
        """`int8: 2.10x, 0.2 % of the decisions differ`."""
        return f"{self.trial.name}: {ratio(self.speed)}, {percent(self.flips)} of the decisions differ"


def points_of(result: TuningResult) -> list[Point]:
    """The default, and what raced against it."""
    return [Point(trial) for i, trial in enumerate(result.trials) if trial.races or i == 0]


def front_of(points: Sequence[Point]) -> list[Point]:
    """Those that no other is both faster and as faithful as, the most faithful first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.flips, -one.speed)):
        if not front or point.speed > front[-1].speed:
            front.append(point)
    return front


def figure(result: TuningResult) -> Markup:
    """The picture."""
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
        _axis_beside(up),
        svg.axis_below(
            across, log_ticks(across.low, across.high, 7), _BOTTOM, _TOP, lambda at: f"{at:.3g}{TIMES}"
        ),
        svg.label(svg.WIDTH / 2 + 20, _BOTTOM + 35, "speed, the default is 1", "tick", "middle"),
        svg.line(across(1.0), _TOP, across(1.0), _BOTTOM, "even"),
        None if limit is None else _limit(limit, up),
        svg.path(_steps(front, across, up), "front"),
        *(_sign(point, precisions, across, up, is_open=point is not chosen) for point in points),
        _name(chosen, across, up),
    )
    return tag("figure", tag("figcaption", f"{result.graph}, {result.purpose}"), picture)


def legend(result: TuningResult) -> Markup:
    """A list of the signs."""
    signs = (
        tag(
            "li",
            tag(
                "svg", svg.marker(i, 7, 7, f"s{i % 8} dot"), viewBox="0 0 14 14", class_="sign", aria_hidden="true"
            ),
            precision,
        )
        for i, precision in enumerate(_precisions(points_of(result)))
    )
    return tag("ul", *signs, class_="legend")


def _steps(front: Sequence[Point], across: svg.Scale, up: svg.Scale) -> list[tuple[float, float]]:
    """Along the front: up to the next one's flips only where its speed is needed."""
    way = [(_LEFT, up(front[0].flips)), (across(front[0].speed), up(front[0].flips))]
    for before, after in itertools.pairwise(front):
        way += [(across(before.speed), up(after.flips)), (across(after.speed), up(after.flips))]
    return way


def _sign(point: Point, precisions: Sequence[str], across: svg.Scale, up: svg.Scale, *, is_open: bool) -> Markup:
    index = precisions.index(point.trial.choice.precision)
    class_ = f"s{index % 8} {'open' if is_open else 'dot'}"
    return svg.marker(index, across(point.speed), up(point.flips), class_, point.words, 4 if is_open else 5.5)


def _name(chosen: Point, across: svg.Scale, up: svg.Scale) -> Markup:
    x, y = across(chosen.speed), up(chosen.flips)
    is_right = x > svg.WIDTH / 2
    text = svg.shortened(chosen.trial.name, (x - _LEFT if is_right else svg.WIDTH - x) - 8)
    return svg.label(x, y - 11, text, "name over", "end" if is_right else "start")


def _limit(limit: float, up: svg.Scale) -> Markup:
    y = up(limit)
    return joined(
        [
            svg.line(_LEFT, y, svg.WIDTH - svg.EDGE, y, "ceiling peak", f"budget: {limit:.2%}"),
            svg.label(_LEFT + 6, y - 5, f"budget {limit:.2%}", "ceiling-name"),
        ]
    )


def _axis_beside(up: svg.Scale) -> Markup:
    shapes = [svg.label(4, 11, "decisions that differ", "tick"), svg.line(_LEFT, _TOP, _LEFT, _BOTTOM, "axis")]
    for tick in linear_ticks(up.low, up.high, 5):
        y = up(tick)
        shapes.append(svg.line(_LEFT - 4, y, svg.WIDTH - svg.EDGE, y, "grid"))
        shapes.append(svg.label(_LEFT - 6, y + 4, f"{tick * 100:.3g} %", "tick", "end"))
    return joined(shapes)


def _precisions(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.trial.choice.precision for point in points))
