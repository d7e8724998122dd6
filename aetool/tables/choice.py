"""Which columns of a file are used, and what for."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aetool.errors import InputError
from aetool.nearest import hint

AUTO = "auto"  # among the names of categorical columns: every column of text, or of true and false
_SHOWN = 20  # names listed of what a file holds, so that a wide file's message stays readable


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns of a file are used, and what for."""

    columns: tuple[str, ...]  # the features, as the file names them
    names: tuple[str, ...]  # the features, as the table names them
    label: str | None
    keep: tuple[str, ...]
    named: bool
    categorical: frozenset[str] = frozenset()  # columns whose categories are to be learnt, as the file names them
    categories: Mapping[str, tuple[str, ...]] | None = None  # a model's, as the table names them

    def is_categorical(self, column: str, name: str, no_number: bool) -> bool:
        """Whether a feature holds categories; `no_number`: whether its cells are text, or true and false."""
        if self.categories is not None:
            return name in self.categories
        return column in self.categorical or (no_number and AUTO in self.categorical)

    @property
    def wanted(self) -> list[str]:
        return list(dict.fromkeys([*self.columns, *self.keep, *([] if self.label is None else [self.label])]))


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `read_table`."""

    columns: Sequence[str] | None
    drop: Sequence[str]
    label: str | None
    keep: Sequence[str]
    only: Sequence[str] | None
    categorical: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.categorical, str):
            object.__setattr__(self, "categorical", (self.categorical,))

    def choose(self, names: Sequence[str], source: str, positional: Sequence[str] = ()) -> Choice:
        """Apply the options to a file's columns; `positional` are those whose names are made up."""
        if twice := repeated(names):
            raise InputError(f"{source}: repeated column names {listed(twice)}: give each column its own name")
        if any("\0" in name for name in names):
            raise InputError(
                f"{source}: column names with NUL bytes, which is no text: rename them, or save the file as UTF-8"
            )
        labels = () if self.label is None else (self.label,)
        categorical = [name for name in self.categorical if name != AUTO]
        asked = {"columns": self.columns or (), "drop": self.drop, "label": labels, "keep": self.keep}
        asked["categorical"] = categorical
        for option, wanted in asked.items():
            _require(names, wanted, source, f"the option {option}")
        left_out = {*self.drop, *labels}
        if clash := [name for name in self.columns or () if name in left_out]:
            raise InputError(f"{source}: {listed(clash)} in columns and in drop or label too: choose one")
        if clash := [name for name in categorical if name in left_out or name not in (self.columns or names)]:
            raise InputError(f"{source}: {listed(clash)} in categorical, but no feature: choose one")
        if twice := repeated(self.columns or ()):
            raise InputError(f"{source}: {listed(twice)} more than once in columns: name each column once")

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
            picked, features, named = match_names(picked, self.only, named, source), tuple(self.only), True
        if not picked:
            raise InputError(f"{source}: no feature columns are left of {listed(names, _SHOWN)}: leave fewer out")
        if "" in picked:
            raise InputError(
                f"{source}: column {list(names).index('') + 1} has no name (an index that pandas wrote?): "
                "name it, or leave it out with --drop ''"
            )
        categories = None if self.categories is None else {k: tuple(v) for k, v in self.categories.items()}
        return Choice(
            picked, features, self.label, tuple(self.keep), named, frozenset(self.categorical), categories
        )


def match_names(found: Sequence[str], wanted: Sequence[str], named: bool, source: str) -> tuple[str, ...]:
    """Those of `found` that stand for `wanted`: by name, or by position where the names found are made up."""
    if named:
        _require(found, wanted, source, "the model")
        return tuple(wanted)
    if len(found) != len(wanted):
        raise InputError(
            f"{source}: {len(wanted)} columns expected, {len(found)} found; an array has no column names, so its "
            "columns must be the model's features in their order: pick them with columns or drop, or name them"
        )
    return tuple(wanted) if set(wanted) == set(found) else tuple(found)


def _require(found: Sequence[str], wanted: Sequence[str], source: str, who: str) -> None:
    have = set(found)
    if not (missing := [name for name in wanted if name not in have]):
        return
    named = []
    for index, name in enumerate(missing):  # difflib is slow on wide tables: a few hints show what is wrong
        named.append(f"{name!r}{hint(name, found) if index < 10 else ''}")
    raise InputError(
        f"{source}: missing column{'s' * (len(missing) > 1)} {', '.join(named)}, asked for by {who}; "
        f"found {listed(found, _SHOWN)}: correct the names"
    )


def repeated(names: Iterable[str]) -> list[str]:
    """Those that stand more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Names for a message: quoted, `most` of them at most."""
    more = f" and {len(names) - most:,} more" if most is not None and len(names) > most else ""
    return (", ".join(map(repr, names[:most])) or "no columns") + more


def drop_options(names: Iterable[str]) -> str:
    """The command line's options that leave `names` out; a name with a comma or a quote is quoted, as in CSV."""
    return " ".join(f"--drop {shlex.quote(_quoted(name))}" for name in names)


def categorical_option(names: Iterable[str]) -> str:
    """The command line's option that takes `names` as categories."""
    return f"--categorical {shlex.quote(','.join(map(_quoted, names)))}"


def _quoted(name: str) -> str:
    if not name.isprintable():
        return repr(name)
    return '"{}"'.format(name.replace('"', '""')) if "," in name or '"' in name else name
