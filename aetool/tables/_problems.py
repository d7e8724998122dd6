"""Everything that is wrong with a table, in one error whose remedy can be pasted."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError

_WORDS = {
    "drop": "leave {} out with {}",
    "categorical": "take {} as categories with {}",
    "na": "count {} as missing with {}",
    "impute": "fill {} with {}",
    "decimal": "say which, as in {1}",
    "normal": "say which are normal with {1}",
    "anomaly": "say which are anomalies with {1}",
}
_MOST = 8  # problems shown


class Problem(NamedTuple):
    """One thing that is wrong with a table."""

    text: str
    """What is wrong, and where."""
    mend: str = ""
    """Remedy in the file itself."""
    options: Mapping[str, Sequence[str]] = {}
    """Remedies on the command line, the best one first: option -> its values."""


def refuse(problems: Sequence[Problem], source: str) -> NoReturn:
    """Raise an error that tells all problems and how to go on.

    Raises:
        InputError: always.
    """
    if len(problems) == 1:
        raise InputError(f"{source}: {problems[0].text}; {_remedies(problems[0])}")
    texts = [f"- {problem.text}" for problem in problems[:_MOST]]
    if len(problems) > _MOST:
        texts.append(f"- and {len(problems) - _MOST:,} more")
    merged: dict[str, list[str]] = {}
    for problem in problems:
        for option, values in list(problem.options.items())[:1]:
            merged[option] = list(dict.fromkeys([*merged.get(option, ()), *values]))
    left_out = set(merged.get("drop", ()))
    if "categorical" in merged:
        merged["categorical"] = [name for name in merged["categorical"] if name not in left_out]
    options = " ".join(command_option(option, values) for option, values in merged.items() if values)
    mend = "fix the file" + (f", or try {options}" if options else "")
    raise InputError(f"{source}: {len(problems):,} problems: {mend}\n" + "\n".join(texts))


def _remedies(problem: Problem) -> str:
    """Return the remedies of one problem: in the file, then each option."""
    words = [problem.mend] if problem.mend else []
    for option, values in problem.options.items():
        what = "them" if option == "impute" or (len(values) > 1 and option in ("drop", "categorical")) else "it"
        words.append(_WORDS[option].format(what, command_option(option, values)))
    return ", or ".join(words)


def command_option(name: str, values: Iterable[str]) -> str:
    """Return `--drop a,b` for the command line; a value with a comma or a quote is quoted, as in CSV."""
    text = ",".join(map(_quoted, values))
    return f"--{name}={shlex.quote(text)}" if text.startswith("-") else f"--{name} {shlex.quote(text)}"


def _quoted(name: str) -> str:
    if not name.isprintable():
        return repr(name)
    return '"{}"'.format(name.replace('"', '""')) if "," in name or '"' in name else name


# Rows that nothing can be learnt from.

MIN_ROWS = 10
"""Normal rows that training needs."""
_SHOWN_COLUMNS = 10


def problems_of_rows(rows: NDArray[np.float64], names: Sequence[str], impute: str | None) -> list[Problem]:
    """Return what keeps an autoencoder from being trained on normal rows, (rows, columns): gaps.

    Args:
        rows: columns that hold numbers.
        names: their names.
        impute: how missing values are filled, and infinite ones with them; None: they are not.
    """
    problems = []
    if len(rows) < MIN_ROWS:
        text = f"{MIN_ROWS} normal rows or more are needed to train, found {len(rows)}"
        problems.append(Problem(text, "give more rows, or check --label and --normal"))
    if impute is not None:
        return problems
    with np.errstate(over="ignore"):
        infinite = np.isinf(rows.astype(np.float32))
    if infinite.any():
        counts = infinite.sum(axis=0)
        text = f"infinite values (or beyond float32) in {_counted(names, counts)}"
        problems.append(Problem(text, "fix the cells", _for_columns(names, counts)))
    missing = np.isnan(rows)
    if missing.any():
        counts = missing.sum(axis=0)
        text = f"missing values in {_counted(names, counts)}"
        problems.append(Problem(text, "fill the cells", _for_columns(names, counts)))
    return problems


def require_trainable(rows: NDArray[np.float64], names: Sequence[str], impute: str | None, source: str) -> None:
    """Refuse normal rows, (rows, columns), that an autoencoder cannot be trained on.

    Raises:
        InputError: missing or infinite values without `impute`; the message counts them by column.
    """
    if problems := problems_of_rows(rows, names, impute):
        refuse(problems, source)


def _for_columns(names: Sequence[str], counts: NDArray[np.int64]) -> dict[str, list[str]]:
    found = [name for name, count in zip(names, counts, strict=True) if count]
    return {"impute": ["median"], **({"drop": found} if len(found) <= _SHOWN_COLUMNS else {})}


def _counted(names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """Return `a (3), b (1)` for the columns whose count is not 0."""
    found = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True) if count]
    shown = ", ".join(found[:_SHOWN_COLUMNS])
    return shown if len(found) <= _SHOWN_COLUMNS else f"{shown} and {len(found) - _SHOWN_COLUMNS} more columns"
