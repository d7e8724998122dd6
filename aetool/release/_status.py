"""What an agent's directory tells, and what programs tell the agent."""

from pathlib import Path
from typing import Any, NamedTuple

from aetool.bundle.bundle import Bundle
from aetool.errors import AetoolError, InputError, OutputError, ReleaseError
from aetool.release._agent import VERSIONS, current_version
from aetool.release._state import State, read_state
from aetool.release._watch import WINDOWS, Promise, Reported, promise_of, read_reports
from aetool.runtime.following import REPORTS, add_to_report

_PATIENCE_S = 10.0


class AgentStatus(NamedTuple):
    """State of an agent's directory."""

    version: str | None
    """Current version; None where there is none yet."""
    name: str
    """Name of its model."""
    state: State
    reported: Reported
    promise: Promise | None

    @property
    def reported_text(self) -> str:
        """What programs reported, in words."""
        found = self.reported
        share = f" ({100 * found.flagged / found.rows:.3g} %)" if found.rows else ""
        return f"{found.rows:,} rows, {found.flagged:,} flagged{share}, {found.errors:,} errors"

    @property
    def promised_text(self) -> str:
        """What calibration promised, in words."""
        promise, probation = self.promise, self.state.probation
        if promise is None:
            return "nothing; calibrate the bundle: aetool calibrate"
        share = f"{100 * promise.low:.2g} to {100 * promise.high:.2g} % of normal rows flagged"
        if promise.window == 0:
            return f"{share}: too wide to be judged"
        passed = probation.windows if probation is not None and probation.version == self.version else 0
        return f"{share}; judged every {promise.window:,} rows, {passed} of {WINDOWS} times passed"

    def document(self) -> dict[str, Any]:
        """Return everything as plain values."""
        state = self.state
        return {
            "version": self.version,
            "name": self.name,
            "sequences": dict(state.sequences),
            "good": [each._asdict() for each in state.good],
            "refused": {version: each._asdict() for version, each in state.refused.items()},
            "probation": None if state.probation is None else state.probation._asdict(),
            "last": None if state.last is None else state.last._asdict(),
            "reported": self.reported._asdict(),
            "promise": None if self.promise is None else self.promise._asdict(),
        }


def status_of(folder: Path) -> AgentStatus:
    """Return what an agent's directory tells; the agent may run meanwhile.

    Raises:
        ReleaseError: it is no agent's directory, or its state is damaged.
    """
    _require_agents(folder)
    state, version = read_state(folder), current_version(folder)
    if version is None:
        return AgentStatus(None, "", state, Reported(), None)
    try:
        manifest = Bundle.open(folder / VERSIONS / version).manifest
    except AetoolError as error:
        raise ReleaseError(f"{folder}: its current version is damaged: {error}") from error
    return AgentStatus(version, manifest.name, state, read_reports(folder, version), promise_of(manifest))


class Added(NamedTuple):
    """One report."""

    version: str
    rows: int
    flagged: int
    errors: int
    error: str


def add_report(
    folder: Path, *, rows: int = 0, flagged: int = 0, error: str | None = None, version: str | None = None
) -> Added:
    """Report to the agent of `folder` what a program has computed since its last report.

    Args:
        folder: the agent's directory.
        rows: rows that were scored.
        flagged: those of them that were anomalies.
        error: an error of the model.
        version: the version that it was; None for the current one.

    Raises:
        ReleaseError: it is no agent's directory, or has no version yet.
        InputError: more rows were flagged than scored, or no such version.
        OutputError: it cannot be written to.
    """
    _require_agents(folder)
    if not 0 <= flagged <= rows:
        raise InputError(f"{flagged:,} of {rows:,} rows flagged; give rows, and how many of these were anomalies")
    current = current_version(folder)
    if current is None:
        raise ReleaseError(f"{folder}: has no version yet; start the agent: aetool agent STORE -o {folder}")
    chosen = current if version is None else version
    if not (folder / VERSIONS / Path(chosen).name).is_dir() or Path(chosen).name != chosen:
        raise InputError(f"{folder}: has no version {chosen!r:.80}; the current one is {current}")
    made = Added(chosen, rows, flagged, int(error is not None), " ".join((error or "").split())[:300])
    try:
        add_to_report(folder, *made, patience_s=_PATIENCE_S)
    except OSError as failed:
        raise OutputError(
            f"{folder / REPORTS}: cannot be written: {failed.strerror}; fix its permissions"
        ) from failed
    return made


def _require_agents(folder: Path) -> None:
    if not (folder / VERSIONS).is_dir():
        raise ReleaseError(f"{folder}: is no agent's directory; start one: aetool agent STORE -o {folder}")
