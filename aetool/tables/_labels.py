"""Labels: which words and numbers of a column mean normal, and which an anomaly."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.runtime.categories import as_text, factorise
from aetool.suggest import hint
from aetool.tables._layout import Reading
from aetool.tables._problems import Problem, command_option

NORMAL = frozenset(
    {"0", "normal", "ok", "okay", "good", "benign", "healthy", "pass", "passed", "no", "false", "none", "negative"}
    | {"neg", "regular", "nominal", "legit", "legitimate", "genuine", "inlier", "intact", "fine", "clean"}
)
"""Labels that mean normal wherever they stand."""
_SHOWN = 3


class Labels(NamedTuple):
    """What a column of labels says."""

    values: NDArray[np.bool_] | None  # (rows,), True = anomaly
    normal: tuple[str, ...] = ()
    anomaly: tuple[str, ...] = ()
    notes: Sequence[str] = ()
    problems: Sequence[Problem] = ()


def read_labels(column: Any, name: str, asked: Reading, like: Reading) -> Labels:
    """Read a column of labels.

    Args:
        column: text, numbers or booleans; numpy or Arrow.
        name: its name.
        asked: labels that mean normal, or an anomaly, if the caller knows.
        like: those of the model.
    """
    cells, places = factorise(column, f"column {name!r}")
    texts = [cell or "" for cell in cells]
    counts = np.bincount(places, minlength=len(texts))
    found: dict[str, int] = {}
    for text, count in zip(texts, counts.tolist(), strict=True):
        if count:
            found[text] = found.get(text, 0) + count
    for known in (asked, like):
        normal, anomaly = _as_labels(known.normal), _as_labels(known.anomaly)
        words = normal or anomaly
        if known is asked and (absent := [word for word in words if word not in found]) and found:
            option = "normal" if normal else "anomaly"
            text = f"label column {name!r} has no {absent[0]!r}{hint(absent[0], found)}; it holds {_listed(found)}"
            return Labels(None, problems=[Problem(text, f"correct --{option}")])
        if words and any(word in found for word in words):
            break
    else:
        normal, anomaly = (), ()
        guess = _plain_normal(found)
        if isinstance(guess, Problem):
            return Labels(None, problems=[_with_name(guess, name)])
        normal = guess
    if "" in found and not anomaly and "" not in normal:
        row = int((np.array(texts)[places] == "").argmax()) + 1
        others = [text for text in found if text]
        options = {"anomaly": others} if len(others) == 1 else {"normal": [*normal, ""]}
        text = f"row {row}: no label in column {name!r} ({found['']:,} rows lack one)"
        remedy = "fill in 0 (normal) or 1 (anomaly), or leave these rows out"
        return Labels(None, problems=[Problem(text, remedy, options)])
    is_anomaly = np.array([text in anomaly if anomaly else text not in normal for text in texts])
    values: NDArray[np.bool_] = is_anomaly[places] if texts else np.zeros(len(places), bool)
    usual = () if set(normal) <= {"0"} else normal
    return Labels(values, usual, anomaly, _notes(name, found, normal, anomaly, values, asked))


def _plain_normal(found: dict[str, int]) -> tuple[str, ...] | Problem:
    """Return the labels that mean normal, or the doubt."""
    words = [text for text in found if text]
    plain = {text for text in words if text.casefold().strip(" .") in NORMAL or _number(text) == 0}
    if plain or not words or set(words) in ({"1"}, {"true"}, {"yes"}):
        return tuple(plain)
    commonest = max(words, key=found.__getitem__)
    others = [text for text in words if text != commonest]
    options = {"normal": [commonest]} | ({"anomaly": others} if len(others) == 1 else {})
    if "" in found and not others:
        options = {"anomaly": words, "normal": words}
    which = ""
    if {_number(text) for text in words} == {-1, 1}:
        which = "; scikit-learn marks anomalies with -1, PyOD and most data sets with 1"
    return Problem(f"holds {_listed(found)}{which}", options=options)


def _with_name(problem: Problem, name: str) -> Problem:
    return problem._replace(text=f"label column {name!r} {problem.text}")


def _notes(
    name: str,
    found: dict[str, int],
    normal: tuple[str, ...],
    anomaly: tuple[str, ...],
    values: NDArray[np.bool_],
    asked: Reading,
) -> list[str]:
    notes = []
    if any(text not in ("0", "1", "true", "false") for text in found):
        usual = [repr(text) for text in found if (text not in anomaly if anomaly else text in normal)]
        odd = [repr(text) for text in found if (text in anomaly if anomaly else text not in normal)]
        notes.append(
            f"label {name}: {_few(usual)} normal ({np.count_nonzero(~values):,} rows), {_few(odd)} an anomaly "
            f"({np.count_nonzero(values):,})"
        )
    share = values.mean() if len(values) else 0.0
    if share > 0.5 and not (asked.normal or asked.anomaly):
        commonest = max((text for text in found if text not in normal), key=found.__getitem__)
        notes.append(
            f"{share:.0%} of the rows are marked as anomalies: is it the other way round? "
            f"{command_option('normal', [commonest])}"
        )
    return notes


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more + (" are" if len(words) > 1 else " is") if words else "nothing is"


def _listed(found: dict[str, int]) -> str:
    shown = sorted(found, key=lambda text: -found[text])
    words = [f"{text[:40]!r} ({found[text]:,} rows)" for text in shown[:_SHOWN]]
    return ", ".join(words) + (f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else "")


def _as_labels(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(as_text(word) or "" for word in words)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
