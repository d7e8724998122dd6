"""The choice of a file's columns: features, labels and columns that are kept."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.suggest import hint
from aetool.tables._layout import AS_FOUND, Reading
from aetool.tables._problems import command_option

AUTO = "auto"  # among the names of categorical columns: every column of text, or of true and false
_HINTS = 10  # names that the nearest is looked for
_SHOWN = 20  # names listed of what a file holds, so that a wide file's message stays readable


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """Chosen columns of a file, by use."""

    columns: tuple[str, ...]  # the features, as the file names them
    names: tuple[str, ...]  # the features, as the table names them
    label: str | None
    keep: tuple[str, ...]
    named: bool
    categorical: frozenset[str] = frozenset()  # columns whose categories are to be learnt, as the file names them
    categories: Mapping[str, tuple[str, ...]] | None = None  # a model's, as the table names them
    unnamed: tuple[int, ...] = ()  # places of features without a name

    def is_categorical(self, column: str, name: str) -> bool:
        """Decide whether a feature was said to hold categories."""
        return name in self.categories if self.categories is not None else column in self.categorical

    @property
    def wanted(self) -> list[str]:
        """Columns to read, each once."""
        return list(dict.fromkeys([*self.columns, *self.keep, *([] if self.label is None else [self.label])]))


class Trains(NamedTuple):
    """What a table is read for: training, whose other faults are told with those of reading."""

    impute: str | None = None
    """How missing values are filled."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `read_table`; spaces around names mean nothing."""

    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    label: str | None = None
    keep: Sequence[str] = ()
    only: Sequence[str] | None = None
    categorical: Sequence[str] | None = ()
    categories: Mapping[str, Sequence[str]] | None = None
    reading: Reading = AS_FOUND
    like: Reading = AS_FOUND
    trains: Trains | None = None
    limits: Limits = DEFAULT_LIMITS

    @property
    def offered(self) -> tuple[str, ...]:
        """Options that can fix a column: none where a model has chosen the columns."""
        if self.only is not None or self.categories is not None:
            return ()
        return ("drop",) if self.categorical is None else ("drop", "categorical")

    @property
    def missing(self) -> tuple[str, ...]:
        """Cells that mean a missing value, besides the common words."""
        return (*self.reading.na, *self.like.na)

    @property
    def may_leave_out(self) -> bool:
        """True if columns that are no features may be left out: nobody named them."""
        return self.columns is None and self.only is None and self.categories is None

    def __post_init__(self) -> None:
        """Make a single name a tuple, and strip names."""
        for option in ("columns", "drop", "keep", "categorical"):
            value = getattr(self, option)
            if value is not None:
                names = (value,) if isinstance(value, str) else value
                object.__setattr__(self, option, tuple(name.strip() for name in names))
        if self.label is not None:
            object.__setattr__(self, "label", self.label.strip())

    def choose(self, names: Sequence[str], source: str, positional: Sequence[str] = ()) -> ColumnChoice:
        """Apply the options to a file's columns; `positional` are those whose names are made up."""
        self.limits.require("columns", len(names), "{:,} columns", source)
        self.limits.require("cell_bytes", max(map(len, names), default=0), "a name of {:,} characters", source)
        if any("\0" in name for name in names):
            raise InputError(
                f"{source}: column names with NUL bytes, which is no text: rename them, or save the file as UTF-8"
            )
        names = [name.strip() for name in names]
        labels = () if self.label is None else (self.label,)
        categorical = [name for name in self.categorical or () if name != AUTO]
        asked = {"columns": self.columns or (), "drop": self.drop, "label": labels, "keep": self.keep}
        asked["categorical"] = categorical
        for what, wanted in asked.items():
            _require(names, wanted, source, f"the option {what}")
        left_out = {*self.drop, *labels}
        self._require_apart(left_out, categorical, names, source)
        made_up = set(positional)
        only = None if self.only is None else [name.strip() for name in self.only]
        if self.columns is None:
            left_out |= set(self.keep) - (set(only or ()) - made_up)
            picked = tuple(name for name in names if name not in left_out)
        else:
            picked = tuple(self.columns)
        if only is not None and not (set(only) - made_up and set(only).issubset(picked)):
            # An array's columns go by position, whatever named ones lie beside it.
            picked = tuple(name for name in picked if name in made_up) or picked
        features, named = picked, not made_up or not made_up.issuperset(picked)
        if only is not None:
            if named and self.label in only:
                raise InputError(
                    f"{source}: {self.label!r} is a feature of this model and cannot be the label: name another "
                    "column, or none"
                )
            picked, features, named = match_names(picked, only, named, source), tuple(self.only or ()), True
        unnamed = () if only is not None or "" not in picked else _places("", names)
        picked = _named(picked)
        features = features if only is not None else _named(features)
        if not picked and not unnamed and only != []:
            raise InputError(f"{source}: no feature columns are left of {listed(names, _SHOWN)}: leave fewer out")
        if twice := [name for name in repeated(names) if name in {*picked, *labels, *self.keep}]:
            remedy = "give each column its own name"
            if self.may_leave_out and not {*twice} & {*labels, *self.keep}:
                remedy += f", or leave them out with {command_option('drop', twice)}"
            raise InputError(f"{source}: repeated column names {listed(twice)}: {remedy}")
        return ColumnChoice(
            columns=picked,
            names=features,
            label=self.label,
            keep=tuple(self.keep),
            named=named,
            categorical=frozenset(self.categorical or ()),
            categories=None if self.categories is None else {k: tuple(v) for k, v in self.categories.items()},
            unnamed=unnamed,
        )

    def _require_apart(
        self, left_out: set[str], categorical: Sequence[str], names: Sequence[str], source: str
    ) -> None:
        """Refuse a column that two options claim, or one names twice."""
        if clash := [name for name in self.columns or () if name in left_out]:
            raise InputError(f"{source}: {listed(clash)} in columns and in drop or label too: choose one")
        if clash := [name for name in categorical if name in left_out or name not in (self.columns or names)]:
            raise InputError(f"{source}: {listed(clash)} in categorical, but no feature: choose one")
        if twice := repeated(self.columns or ()):
            raise InputError(f"{source}: {listed(twice)} more than once in columns: name each column once")


def _places(name: str, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(place for place, found in enumerate(names) if found == name)


def _named(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name)


def match_names(found: Sequence[str], wanted: Sequence[str], named: bool, source: str) -> tuple[str, ...]:
    """Return those of `found` that stand for `wanted`: by name, or by position where names are made up."""
    if named:
        wanted = [name.strip() for name in wanted]
        _require(found, wanted, source)
        return tuple(wanted)
    if len(found) != len(wanted):
        raise InputError(
            f"{source}: {len(wanted)} columns expected, {len(found)} found; an array has no column names, so its "
            "columns must be the model's features in their order: give just those, or name them"
        )
    return tuple(wanted) if set(wanted) == set(found) else tuple(found)


def _require(found: Sequence[str], wanted: Sequence[str], source: str, option: str | None = None) -> None:
    """Refuse missing columns that a model asks for, or an `option`."""
    have = set(found)
    if not (missing := [name for name in wanted if name not in have]):
        return
    # difflib is slow on wide tables: a few hints show what is wrong
    hints = [hint(name, found) for name in missing[:_HINTS]]
    if option is None and 2 * len(missing) > len(wanted) and 2 * sum(map(bool, hints)) < len(hints):
        raise InputError(
            f"{source}: this looks like another table than the model was trained on: {len(missing):,} of its "
            f"{len(wanted):,} columns are missing, {listed(missing, _SHOWN)}; found {listed(found, _SHOWN)}: "
            "give a table that has the model's columns"
        )
    named = (f"{name!r}{near}" for name, near in zip_longest(missing, hints, fillvalue=""))
    raise InputError(
        f"{source}: missing column{'s' * (len(missing) > 1)} {', '.join(named)}, asked for by "
        f"{option or 'the model'}; found {listed(found, _SHOWN)}: correct the names"
    )


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Return names for a message: quoted, `most` of them at most."""
    more = f" and {len(names) - most:,} more" if most is not None and len(names) > most else ""
    return (", ".join(map(repr, names[:most])) or "no columns") + more
