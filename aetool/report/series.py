"""Who is drawn how: a contestant has one colour, one shape and one name on the whole page."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aetool.report import svg
from aetool.report.markup import Markup, joined, tag
from aetool.report.source import BenchResult, Measurement
from aetool.report.units import rows

_FIRST = ("aetool", "raw-onnxruntime")
_COLOURS = 8  # in the style sheet
_GRAPHS = ("encode", "reconstruct", "score")
_SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


@dataclass(frozen=True, slots=True)
class Series:
    """A contestant, in one of the ways in which it was set."""

    index: int
    name: str

    @property
    def colour(self) -> str:
        """The class that sets its colour."""
        return f"s{self.index % _COLOURS}"

    @property
    def shape(self) -> int:
        """Its marker; another one where the colours begin anew."""
        return self.index + self.index // _COLOURS

    def sign(self, x: float, y: float, hint: str | None = None, radius: float = 4) -> Markup:
        """Its marker."""
        return svg.marker(self.shape, x, y, f"{self.colour} dot", hint, radius)

    def named(self) -> Markup:
        """Its marker and name in a line of text."""
        sign = tag("svg", self.sign(7, 7), viewBox="0 0 14 14", class_="sign", aria_hidden="true")
        return joined([sign, self.name])


@dataclass(frozen=True, slots=True)
class Case:
    """What contestants are compared in."""

    graph: str
    scenario: str
    batch: int

    @property
    def words(self) -> str:
        """`encode, one row, single-stream`."""
        return f"{self.graph}, {rows(self.batch)}, {self.scenario}"

    @property
    def place(self) -> tuple[int, str, int, str, int]:
        """Sorts cases as people think of them."""
        return (*_known(self.graph, _GRAPHS), *_known(self.scenario, _SCENARIOS), self.batch)


def case_of(found: Measurement) -> Case:
    """The case that a measurement belongs to."""
    return Case(found.graph, found.scenario, found.batch)


def ordered(result: BenchResult, lineup: "Lineup") -> list[Measurement]:
    """The measurements by case, in each aetool first."""
    return sorted(result.results, key=lambda found: (case_of(found).place, lineup.of(found).index))


def by_case(found: Iterable[Measurement]) -> dict[Case, list[Measurement]]:
    """The measurements of every case, cases in the order in which they come."""
    cases: dict[Case, list[Measurement]] = defaultdict(list)
    for measurement in found:
        cases[case_of(measurement)].append(measurement)
    return dict(cases)


class Lineup:
    """All the series of a result."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        contestants = list(dict.fromkeys([*_FIRST, *(found.contestant for found in measurements)]))
        keys = sorted(dict.fromkeys(map(_key, measurements)), key=lambda key: contestants.index(key[0]))
        self._series = {key: Series(i, _name(key, keys)) for i, key in enumerate(keys)}

    def of(self, found: Measurement) -> Series:
        """The series that a measurement belongs to."""
        return self._series[_key(found)]

    def legend(self) -> Markup:
        """A list of the signs."""
        return tag("ul", *(tag("li", series.named()) for series in self._series.values()), class_="legend")


_Key = tuple[str, str, str, int | None]


def _key(found: Measurement) -> _Key:
    return found.contestant, found.provider, found.precision, found.threads


def _name(key: _Key, keys: Sequence[_Key]) -> str:
    """The contestant, and what tells it apart from itself set in another way."""
    same = [other for other in keys if other[0] == key[0]]
    threads = "default threads" if key[3] is None else f"{key[3]} thread{'' if key[3] == 1 else 's'}"
    words = (key[1].removesuffix("ExecutionProvider"), key[2], threads)
    telling = [word for i, word in enumerate(words, 1) if len({other[i] for other in same}) > 1]
    return ", ".join([key[0], *telling])


def _known(name: str, names: tuple[str, ...]) -> tuple[int, str]:
    return (names.index(name) if name in names else len(names)), name
