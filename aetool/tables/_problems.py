"""Everything that is wrong with a table, in one error whose remedy can be pasted."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

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
    mend = "mend the file" + (f", or try {options}" if options else "")
    raise InputError(f"{source}: {len(problems):,} problems: {mend}\n" + "\n".join(texts))


def _remedies(problem: Problem) -> str:
    """Return the remedies of one problem: in the file, then each option."""
    several = len(next(iter(problem.options.values()), ())) > 1
    words = [problem.mend] if problem.mend else []
    for option, values in problem.options.items():
        what = "them" if several and option != "na" else "it"
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
