"""The choice of a file's columns: features, labels and columns that are kept."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from aetool.bundle.files import DEFAULT_LIMITS, Limits
from aetool.errors import InputError
from aetool.suggest import hint

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
    offered: tuple[str, ...] = ()  # options that a message may recommend, see `Options.offered`

    def is_categorical(self, column: str, name: str, no_number: bool) -> bool:
        """Decide whether a feature holds categories; `no_number`: its cells are text, or true and false."""
        if self.categories is not None:
            return name in self.categories
        return column in self.categorical or (no_number and AUTO in self.categorical)

    @property
    def wanted(self) -> list[str]:
        """Columns to read, each once."""
        return list(dict.fromkeys([*self.columns, *self.keep, *([] if self.label is None else [self.label])]))


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `read_table`."""

    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    label: str | None = None
    keep: Sequence[str] = ()
    only: Sequence[str] | None = None
    categorical: Sequence[str] | None = ()
    categories: Mapping[str, Sequence[str]] | None = None
    limits: Limits = DEFAULT_LIMITS

    @property
    def offered(self) -> tuple[str, ...]:
        """Options that can fix a column: none where a model has chosen the columns."""
        if self.only is not None or self.categories is not None:
            return ()
        return ("drop",) if self.categorical is None else ("drop", "categorical")

    def __post_init__(self) -> None:
        """Make a single name a tuple."""
        if isinstance(self.categorical, str):
            object.__setattr__(self, "categorical", (self.categorical,))

    def choose(self, names: Sequence[str], source: str, positional: Sequence[str] = ()) -> ColumnChoice:
        """Apply the options to a file's columns; `positional` are those whose names are made up."""
        self.limits.require("columns", len(names), "{:,} columns", source)
        self.limits.require("cell_bytes", max(map(len, names), default=0), "a name of {:,} characters", source)
        if twice := repeated(names):
            raise InputError(f"{source}: repeated column names {listed(twice)}: give each column its own name")
        if any("\0" in name for name in names):
            raise InputError(
                f"{source}: column names with NUL bytes, which is no text: rename them, or save the file as UTF-8"
            )
        labels = () if self.label is None else (self.label,)
        categorical = [name for name in self.categorical or () if name != AUTO]
        asked = {"columns": self.columns or (), "drop": self.drop, "label": labels, "keep": self.keep}
        asked["categorical"] = categorical
        for what, wanted in asked.items():
            _require(names, wanted, source, f"the option {what}")
        left_out = {*self.drop, *labels}
        self._require_apart(left_out, categorical, names, source)
        made_up = set(positional)
        if self.columns is None:
            left_out |= set(self.keep) - (set(self.only or ()) - made_up)
            picked = tuple(name for name in names if name not in left_out)
        else:
            picked = tuple(self.columns)
        if self.only is not None and not (set(self.only) - made_up and set(self.only).issubset(picked)):
            # An array's columns go by position, whatever named ones lie beside it.
            picked = tuple(name for name in picked if name in made_up) or picked
        features, named = picked, not made_up or not made_up.issuperset(picked)
        if self.only is not None:
            if named and self.label in self.only:
                raise InputError(
                    f"{source}: {self.label!r} is a feature of this model and cannot be the label: name another "
                    "column, or none"
                )
            picked, features, named = match_names(picked, self.only, named, source), tuple(self.only), True
        if not picked:
            raise InputError(f"{source}: no feature columns are left of {listed(names, _SHOWN)}: leave fewer out")
        if "" in picked:
            otherwise = f", or leave it out with {command_option('drop', [''])}" if "drop" in self.offered else ""
            raise InputError(
                f"{source}: column {list(names).index('') + 1} has no name (an index that pandas wrote?): "
                f"name it{otherwise}"
            )
        categories = None if self.categories is None else {k: tuple(v) for k, v in self.categories.items()}
        return ColumnChoice(
            columns=picked,
            names=features,
            label=self.label,
            keep=tuple(self.keep),
            named=named,
            categorical=frozenset(self.categorical or ()),
            categories=categories,
            offered=self.offered,
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


def match_names(found: Sequence[str], wanted: Sequence[str], named: bool, source: str) -> tuple[str, ...]:
    """Return those of `found` that stand for `wanted`: by name, or by position where names are made up."""
    if named:
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


def command_option(name: str, columns: Iterable[str]) -> str:
    """Return `--drop a,b` for the command line; a column's name with a comma or a quote is quoted, as in CSV."""
    return f"--{name} {shlex.quote(','.join(map(_quoted, columns)))}"


def _quoted(name: str) -> str:
    if not name.isprintable():
        return repr(name)
    return '"{}"'.format(name.replace('"', '""')) if "," in name or '"' in name else name
