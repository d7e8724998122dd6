"""Who is drawn how: a contestant has one colour, one shape and one name on the whole page."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined, tag
from aetool.report.draw.units import counted, rows

_FIRST = ("aetool", "raw-onnxruntime")
_COLOURS = 8  # in the style sheet
_GRAPHS = ("encode", "reconstruct", "score")
_SCENARIOS = ("single-stream", "multi-stream", "server", "offline")

Setting = tuple[str, str, int | None]  # provider, precision, threads
_Key = tuple[str, Setting]


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

    def sign(
        self, x: float, y: float, hint: str | None = None, radius: float = 4, *, is_open: bool = False
    ) -> Markup:
        """Its marker; a hollow one is for what must be told apart from the rest."""
        return svg.marker(self.shape, x, y, f"{self.colour} {'open' if is_open else 'dot'}", hint, radius)

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


def case_of(found: Measured | RatioRecord) -> Case:
    """The case that a measurement or a ratio belongs to."""
    return Case(found.graph, found.scenario, found.batch)


def ordered(result: BenchResult, lineup: "Lineup") -> list[Measured]:
    """The measurements by case, in each aetool first."""
    return sorted(result.results, key=lambda found: (case_of(found).place, lineup.of(found).index))


def by_case(found: Iterable[Measured]) -> dict[Case, list[Measured]]:
    """The measurements of every case, cases in the order in which they come."""
    cases: dict[Case, list[Measured]] = defaultdict(list)
    for measurement in found:
        cases[case_of(measurement)].append(measurement)
    return dict(cases)


class Lineup:
    """All the series of a result."""

    def __init__(self, measurements: Sequence[Measured]) -> None:
        contestants = list(dict.fromkeys([*_FIRST, *(found.contestant for found in measurements)]))
        keys = sorted(dict.fromkeys(map(_key, measurements)), key=lambda key: contestants.index(key[0]))
        self._series = {key: Series(i, _name(key, keys)) for i, key in enumerate(keys)}

    def of(self, found: Measured) -> Series:
        """The series that a measurement belongs to."""
        return self._series[_key(found)]

    def legend(self) -> Markup:
        """A list of the signs."""
        return tag("ul", *(tag("li", series.named()) for series in self._series.values()), class_="legend")


def setting_of(found: Measured | RatioRecord) -> Setting:
    """How the contestants were set."""
    return found.provider, found.precision, found.threads


def telling(own: Setting, settings: Iterable[Setting]) -> list[str]:
    """The words for what tells one setting apart from the others."""
    provider, precision, threads = own
    words = (
        provider,
        precision,
        "default threads" if threads is None else counted(threads, "thread"),
    )
    differing = [len(set(values)) > 1 for values in zip(*settings, strict=True)]
    return [word for word, differs in zip(words, differing, strict=True) if differs]


def _key(found: Measured) -> _Key:
    return found.contestant, setting_of(found)


def _name(key: _Key, keys: Sequence[_Key]) -> str:
    """The contestant, and what tells it apart from itself set in another way."""
    contestant, setting = key
    return ", ".join([contestant, *telling(setting, [other[1] for other in keys if other[0] == contestant])])


def _known(name: str, names: tuple[str, ...]) -> tuple[int, str]:
    return (names.index(name) if name in names else len(names)), name
