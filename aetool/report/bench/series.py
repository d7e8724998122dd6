"""Contestants as series: each has one colour, one shape and one name on the whole page."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aetool.bench.result import BenchResult, Measured, RatioRecord
from aetool.choices import CALLS, SCENARIOS
from aetool.report.draw import svg
from aetool.report.draw.markup import Markup, joined
from aetool.report.draw.units import counted, rows

_FIRST = ("aetool", "raw-onnxruntime")
_COLOURS = 8  # in the style sheet

Setting = tuple[str, str, int | None]  # provider, precision, threads
_Key = tuple[str, Setting]


@dataclass(frozen=True, slots=True)
class Plotted:
    """A contestant with one of its settings."""

    index: int
    name: str

    @property
    def colour(self) -> str:
        """Return the CSS class of its colour."""
        return f"s{self.index % _COLOURS}"

    @property
    def shape(self) -> int:
        """Return its marker, another one where the colours begin anew."""
        return self.index + self.index // _COLOURS

    def sign(
        self, x: float, y: float, hint: str | None = None, radius: float = 4, *, is_open: bool = False
    ) -> Markup:
        """Draw its marker, hollow to tell a scenario apart."""
        return svg.marker(self.shape, x, y, f"{self.colour} {'open' if is_open else 'dot'}", hint, radius)

    def named(self) -> Markup:
        """Return its marker and name in a line of text."""
        return joined([svg.sign(self.sign(7, 7)), self.name])


@dataclass(frozen=True, slots=True)
class Case:
    """A graph, batch and scenario that contestants are compared in."""

    graph: str
    scenario: str
    batch: int

    @property
    def words(self) -> str:
        """Return `encode, one row, single-stream`."""
        return f"{self.graph}, {rows(self.batch)}, {self.scenario}"

    @property
    def order(self) -> tuple[int, str, int, str, int]:
        """Return a key that sorts cases in the order people expect."""
        return (*_known(self.graph, tuple(CALLS)), *_known(self.scenario, SCENARIOS), self.batch)


def case_of(record: Measured | RatioRecord) -> Case:
    """Return the case of a measurement or a ratio."""
    return Case(record.graph, record.scenario, record.batch)


def ordered(result: BenchResult, lineup: "Lineup") -> list[Measured]:
    """Return the measurements by case, aetool first in each."""
    return sorted(result.results, key=lambda measured: (case_of(measured).order, lineup.of(measured).index))


def by_case(measurements: Iterable[Measured]) -> dict[Case, list[Measured]]:
    """Group the measurements by case, in the order in which cases come."""
    cases: dict[Case, list[Measured]] = defaultdict(list)
    for measured in measurements:
        cases[case_of(measured)].append(measured)
    return dict(cases)


class Lineup:
    """All series of a result."""

    def __init__(self, measurements: Sequence[Measured]) -> None:
        """Give every contestant and setting its series."""
        contestants = list(dict.fromkeys([*_FIRST, *(measured.contestant for measured in measurements)]))
        keys = sorted(dict.fromkeys(map(_key, measurements)), key=lambda key: contestants.index(key[0]))
        self._series = {key: Plotted(i, _name(key, keys)) for i, key in enumerate(keys)}

    def of(self, measured: Measured) -> Plotted:
        """Return the series of a measurement."""
        return self._series[_key(measured)]

    def legend(self) -> Markup:
        """Return a list of the signs."""
        return svg.legend((series.sign(7, 7), series.name) for series in self._series.values())


def setting_of(record: Measured | RatioRecord) -> Setting:
    """Return the setting of the contestants."""
    return record.provider, record.precision, record.threads


def telling(own: Setting, settings: Iterable[Setting]) -> list[str]:
    """Return the words that tell one setting apart from the others."""
    provider, precision, threads = own
    words = (
        provider,
        precision,
        "default threads" if threads is None else counted(threads, "thread"),
    )
    differing = [len(set(values)) > 1 for values in zip(*settings, strict=True)]
    return [word for word, differs in zip(words, differing, strict=True) if differs]


def _key(measured: Measured) -> _Key:
    return measured.contestant, setting_of(measured)


def _name(key: _Key, keys: Sequence[_Key]) -> str:
    """Return the contestant, with the words that tell its settings apart."""
    contestant, setting = key
    return ", ".join([contestant, *telling(setting, [other[1] for other in keys if other[0] == contestant])])


def _known(name: str, names: tuple[str, ...]) -> tuple[int, str]:
    return (names.index(name) if name in names else len(names)), name
