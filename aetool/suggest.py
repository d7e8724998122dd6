"""Names for messages: those near a misspelled one, and a few of many."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


def hint(word: str, known: Iterable[str]) -> str:
    """Return ` (nearest: 'train')` for a message, after the word; empty where no known word is near."""
    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(name.casefold(), name)
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" (nearest: {folded[near[0]]!r})" if near else ""


def few(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first of these texts for a message: `a, b and 5 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def file_hint(path: Path) -> str:
    """Return `hint` for the name of a file or directory that is not there, among those beside it."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):  # ValueError: a name that no directory can have
        return ""
    return hint(path.name, (name for name in beside if name.isprintable()))
