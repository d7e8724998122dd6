"""State of an agent: one file, replaced in one step."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from aetool.bundle.atomic import publish_file
from aetool.bundle.schema import NOT_NULL, OPTIONAL, Count, Size, Source, read_json, to_plain
from aetool.errors import ReleaseError
from aetool.release._watch import Probation

STATE = "state.json"
_NO_NUMBERS: Mapping[str, int] = {}
_MOST_BYTES = 1 << 20
MOST_REFUSED = 100
"""Refused versions that are remembered; the oldest release is forgotten first."""


class Good(NamedTuple):
    """A version that has proven itself on this machine."""

    version: str
    release: Count
    """Sequence of the release by which it was taken."""


class RefusedVersion(NamedTuple):
    """A version that is not tried again, unless it is released anew."""

    release: Count
    reason: str
    at: str


class Last(NamedTuple):
    """The last thing that happened."""

    event: str
    version: str
    message: str
    at: str


class State(NamedTuple):
    """All that an agent remembers, beside the link and the directories of versions."""

    sequences: Annotated[Mapping[str, Size], OPTIONAL] = _NO_NUMBERS
    """Channel -> highest sequence seen."""
    good: Annotated[tuple[Good, ...], OPTIONAL] = ()
    """Versions that have proven themselves here, in the order in which they were taken."""
    refused: Annotated[Mapping[str, RefusedVersion], OPTIONAL] = {}
    probation: Annotated[Probation | None, OPTIONAL, NOT_NULL] = None
    last: Annotated[Last | None, OPTIONAL, NOT_NULL] = None
    format_version: str = "1"

    def with_refusal(self, version: str, refusal: RefusedVersion) -> "State":
        """Return the state in which a version is refused, and no longer one of the good."""
        kept = sorted({**self.refused, version: refusal}.items(), key=lambda item: item[1].release)[-MOST_REFUSED:]
        return self._replace(refused=dict(kept)).without_good(version)

    def with_good(self, version: str, release: int) -> "State":
        """Return the state in which a version is the last of the good."""
        others = self.without_good(version).good
        refused = {name: each for name, each in self.refused.items() if name != version}
        return self._replace(good=(*others, Good(version, release)), refused=refused)

    def without_good(self, version: str) -> "State":
        """Return the state in which a version is none of the good."""
        return self._replace(good=tuple(each for each in self.good if each.version != version))


def read_state(folder: Path) -> State:
    """Read the state of the agent in `folder`; a new one where there is none.

    Raises:
        ReleaseError: damaged.
    """
    path = folder / STATE
    source = Source(
        str(path), "delete it to begin anew; an old channel file is then no longer recognised", ReleaseError
    )
    try:
        found = read_json(path, _MOST_BYTES)
    except FileNotFoundError:
        return State()
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path}: cannot be read: {error}; {source.remedy}") from error
    return source.read(State, found)


def write_state(folder: Path, state: State) -> None:
    """Write the state in one step, flushed to the disk.

    Raises:
        OutputError: the disk refuses.
    """
    content = json.dumps({"format_version": state.format_version, **to_plain(state)}, indent=2) + "\n"
    publish_file(folder / STATE, content.encode(), overwrite=True)
