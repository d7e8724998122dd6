"""A table in memory: rows of numbers, with labels, kept columns and categories."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aetool.tables._choice import match_names
from aetool.tables._layout import Reading


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Table:
    """Rows of numbers, with labels, kept columns and categories."""

    names: tuple[str, ...]  # the feature columns, in order; none where rows are images or windows
    values: NDArray[np.float64]  # (rows, columns), C-ordered; a missing value is NaN, a category its index
    labels: NDArray[np.bool_] | None = None  # (rows,), True = anomaly
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # (rows,) each: ids carried through
    source: str = ""  # what to call it in messages
    named: bool = True  # False: the names are made up (a bare array), so columns are matched by position
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the columns that hold them
    unseen: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # (rows,) of the columns with values that are
    # none of a model's categories: their own text, "" elsewhere
    reading: Reading = field(default_factory=Reading)  # how its text was read
    notes: tuple[str, ...] = ()  # what was read in a special way, for people
    left_out: Mapping[str, str] = field(default_factory=dict)  # columns that cannot be features -> why

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __repr__(self) -> str:
        """Show sizes and source."""
        facts = [f"{len(self):,} rows", f"{len(self.names)} features"]
        if self.categories:
            facts.append(f"{len(self.categories)} of categories")
        if self.labels is not None:
            facts.append(f"{int(self.labels.sum()):,} labelled anomalies")
        return f"<Table {self.source!r}: {', '.join(facts)}>"

    def select(self, rows: Any) -> "Table":
        """Return the rows that an index array, a boolean mask or a slice picks, labels and kept columns too."""
        return replace(
            self,
            values=np.ascontiguousarray(self.values[rows]),
            labels=None if self.labels is None else self.labels[rows],
            kept={name: column[rows] for name, column in self.kept.items()},
            unseen={name: column[rows] for name, column in self.unseen.items()},
        )

    def missing(self) -> dict[str, int]:
        """Count the missing values of the columns that have any."""
        counts = np.isnan(self.values).sum(axis=0)
        return {name: int(count) for name, count in zip(self.names, counts, strict=True) if count}

    def align(self, names: Sequence[str]) -> "Table":
        """Return the features `names`, in that order; other features are dropped.

        Matched by name, or by position where the table's own names are made up.

        Raises:
            InputError: features are missing (all are listed), or a nameless table has another width.
        """
        place = {name: index for index, name in enumerate(self.names)}
        picked = [place[name] for name in match_names(self.names, names, self.named, self.source)]
        found = {self.names[i]: name for i, name in zip(picked, names, strict=True)}
        return replace(
            self,
            names=tuple(names),
            values=np.ascontiguousarray(self.values[:, picked]),
            named=True,
            categories={found[name]: texts for name, texts in self.categories.items() if name in found},
            unseen={found[name]: column for name, column in self.unseen.items() if name in found},
        )


def fingerprint(table: Table) -> str:
    """Return the sha256, in hex, of feature names, categories, shape and values (no labels or kept columns)."""
    # Every NaN has the same bytes here: how a file spelled a missing value is no part of the data.
    values = np.where(np.isnan(table.values), np.nan, table.values).astype("<f8")
    head = json.dumps([table.names, values.shape, *([table.categories] if table.categories else [])]).encode()
    return hashlib.sha256(head + b"\n" + values.tobytes()).hexdigest()
