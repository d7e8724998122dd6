"""Agent: the current release of a channel on this machine, proven before it is used, taken back if it does badly.

An agent's directory:

    current      -> versions/VERSION, the bundle that programs use; replaced in one step
    versions/    bundles that are whole and have proven themselves here: the current one and the last good one
    staging/     what is being downloaded
    reports/     what programs have counted
    state.json   what the agent remembers

Each step is flushed to the disk before the next depends on it: a version takes its name below `versions` when it
is whole and proven, the state names it as good, the link changes, and what is no longer needed goes last.
"""

import contextlib
import fcntl
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aetool.bundle.atomic import clear_stale, scratch, sync_directory
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import DEFAULT_LIMITS, AnyPath, Limits
from aetool.bundle.manifest import MANIFEST, Manifest
from aetool.errors import AetoolError, BundleError, OutputError, ReleaseError, reason_of
from aetool.release._channel import MOST_BYTES, Channel, channel_file, made_at, now, read_channel, text_of
from aetool.release._download import clear_staging, download
from aetool.release._proof import Prove, prove_apart
from aetool.release._state import Last, RefusedVersion, State, read_state, write_state
from aetool.release._store import Store, open_store, read
from aetool.release._watch import Probation, Promise, judge, promise_of, read_reports
from aetool.runtime.following import CURRENT, REPORTS
from aetool.runtime.providers import ProviderName

VERSIONS, STAGING = "versions", "staging"
MOST_BYTES_OF_A_RELEASE = 4 << 30
INTERVAL_S, LONGEST_S, LOOK_S = 60.0, 3600.0, 0.5
JITTER = 0.2
"""Share of the interval by which it varies, so that a hundred devices do not ask at once."""


class AgentOutcome(NamedTuple):
    """What came of a look at the channel, or at the reports."""

    event: str
    """`switched`, `current` (nothing to do), `refused` (does not compute here what it should), `held` (refused or
    taken back before), `rolled back`, `failing` (it should be, but nothing is there to go back to), or `failed`
    (the store, the channel or the download)."""
    version: str | None
    """Version that is current now; None where there is none yet."""
    message: str

    @property
    def is_good(self) -> bool:
        """True if the channel's version is in use."""
        return self.event in ("switched", "current")

    def is_news(self, before: "AgentOutcome | None") -> bool:
        """Decide whether this has to be told after `before`: that all is as it was has not."""
        quiet = self.event in ("current", "held") and before is not None and before.event != "failed"
        return self != before and not quiet


class Agent:
    """Agent of one directory; a context manager that keeps other agents away.

    Args:
        store: a directory, a URI, or a `Store`.
        folder: the agent's directory.
        channel: the channel to follow.
        public_key: file of the key that must have signed channel and bundle; None requires no signature.
        allow_downgrade: take an older bundle, and an older file of the channel.
        provider: what the proof runs on: what the programs use.
        limits: bounds on what is read of a bundle.
        most_bytes: largest size of a version.
        most_errors: errors that programs may report of a version before it is taken back.
        tolerated: share of live rows that may be anomalies, besides what calibration promised.
        prove: the proof.
    """

    def __init__(
        self,
        store: str | Path | Store,
        folder: str | Path,
        *,
        channel: str = "stable",
        public_key: AnyPath | None = None,
        allow_downgrade: bool = False,
        provider: ProviderName = "auto",
        limits: Limits = DEFAULT_LIMITS,
        most_bytes: int = MOST_BYTES_OF_A_RELEASE,
        most_errors: int = 0,
        tolerated: float = 0.0,
        prove: Prove = prove_apart,
    ) -> None:
        """Keep the options; nothing is touched yet."""
        self.store = open_store(store) if isinstance(store, str | Path) else store
        self.folder, self.channel, self._file = Path(folder), channel, channel_file(channel)
        self._public_key, self._allow_downgrade, self._provider = public_key, allow_downgrade, provider
        self._limits, self._most_bytes, self._prove = limits, most_bytes, prove
        self._most_errors, self._tolerated = most_errors, tolerated
        self._state = State()
        self._promise: tuple[str, Promise | None] | None = None
        self._descriptor = -1
        self._damaged = False
        """True: the current version is, and nothing else is here."""

    def __enter__(self) -> "Agent":
        """Take the directory, and finish what an interrupted agent had begun.

        Raises:
            ReleaseError: another agent has it, or its state is damaged.
            OutputError: it cannot be written.
        """
        try:
            for name in (VERSIONS, STAGING, REPORTS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._lock()
            self._state = read_state(self.folder)
            clear_stale(self.folder)
            self._finish()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Give the directory back."""
        os.close(self._descriptor)

    @property
    def version(self) -> str | None:
        """Version in use; None where there is none yet."""
        return current_version(self.folder)

    @property
    def state(self) -> State:
        """What the agent remembers."""
        return self._state

    def poll(self) -> AgentOutcome:
        """Look at the channel, and take its version if it is another one that proves itself here.

        No fault of a release or a store is raised: it is in the outcome.
        """
        try:
            return self._told(self._poll())
        except (AetoolError, OSError) as error:
            return self._told(AgentOutcome("failed", self.version, str(error) or reason_of(error)))

    def look(self) -> AgentOutcome | None:
        """Look at what programs have reported, and take the current version back if it does badly."""
        version = self.version
        if version is None:
            return None
        try:
            return self._judged(version)
        except (AetoolError, OSError) as error:
            return self._told(AgentOutcome("failed", version, str(error) or reason_of(error)))

    def _judged(self, version: str) -> AgentOutcome | None:
        probation = self._state.probation
        if probation is None or probation.version != version:
            probation = Probation(version)
        reported = read_reports(self.folder, version)
        after, reason = judge(reported, probation, self._promised(version), self._most_errors)
        if reason is not None:
            return self._told(self._roll_back(version, reason))
        if after != probation:
            self._write(self._state._replace(probation=after))
        return None

    def run(
        self,
        report: Callable[[AgentOutcome], None],
        *,
        interval_s: float = INTERVAL_S,
        stop: threading.Event | None = None,
    ) -> None:
        """Poll for ever, or until `stop` is set; tell `report` what came of it, where that is news.

        Failures double the interval, up to an hour.
        """
        stop, failures, before = stop or threading.Event(), 0, None
        while not stop.is_set():
            outcome = self.poll()
            if outcome.is_news(before):
                report(outcome)
                before = outcome
            failures = failures + 1 if outcome.event == "failed" else 0
            wait_s = max(interval_s, min(interval_s * 2 ** min(failures, 30), LONGEST_S))
            wait_s *= 1 + JITTER * random.uniform(-1, 1)
            while wait_s > 0 and not stop.wait(min(LOOK_S, wait_s)):
                wait_s -= LOOK_S
                if (looked := self.look()) is not None and looked.is_news(before):
                    report(looked)
                    before = looked

    # The channel

    def _poll(self) -> AgentOutcome:
        channel = self._read_channel()
        version = self.version
        if channel.version == version and not self._damaged:
            return AgentOutcome("current", version, f"{version} is current")
        refused = self._state.refused.get(channel.version)
        if refused is not None and refused.release >= channel.release:
            return AgentOutcome("held", version, f"{channel.version} is not tried again: {refused.reason}")
        if text_of(now()) > channel.expires:
            raise ReleaseError(
                f"{self._where}: expired {channel.expires}, nothing is switched to by it; renew it: "
                f"aetool release renew {self.store.where} --channel {self.channel}"
            )
        self._require_newer(channel, version)
        folder = self.folder / VERSIONS / channel.version
        if not self._is_whole(folder):
            clear_staging(self.folder / STAGING, channel.version)
            known = [entry for entry in (self.folder / VERSIONS).iterdir() if entry.is_dir()]
            folder = download(self.store, channel, self.folder / STAGING, known, self._limits, self._most_bytes)
        if self._public_key is not None:
            try:
                Bundle.open_whole(folder, limits=self._limits, public_key=self._public_key)
            except BundleError as error:
                (folder / MANIFEST).unlink(missing_ok=True)  # with its signature, it is fetched again
                raise ReleaseError(str(error)) from error
        fault = self._prove(folder, self._provider, self._public_key, self._limits)
        if fault is not None:
            self._write(
                self._state.with_refusal(channel.version, RefusedVersion(channel.release, fault, text_of(now())))
            )
            clear_staging(self.folder / STAGING)
            return AgentOutcome("refused", version, f"{channel.version} is not used: {fault}")
        self._take(folder, channel)
        return AgentOutcome("switched", channel.version, f"{channel.version} has proven itself and is current")

    @property
    def _where(self) -> str:
        return f"{self.store.where}/{self._file}"

    def _read_channel(self) -> Channel:
        """Read the channel's file, and refuse an older one than was seen."""
        try:
            text = read(self.store, self._file, MOST_BYTES)
        except FileNotFoundError as error:
            reason = "missing, or out of reach" if "://" in self.store.where else "missing"
            raise ReleaseError(
                f"{self._where}: {reason}; release a bundle first: aetool release push BUNDLE {self.store.where} "
                f"--channel {self.channel}"
            ) from error
        except OSError as error:
            reason = error.strerror or reason_of(error)
            raise ReleaseError(
                f"{self._where}: cannot be read: {reason}; check the store and the connection"
            ) from error
        channel = read_channel(text, self.channel, self._where, self._public_key)
        seen = self._state.sequences.get(self.channel, 0)
        if channel.sequence < seen and not self._allow_downgrade:
            raise ReleaseError(
                f"{self._where}: is an older file (sequence {channel.sequence}, {seen} was seen before); it was "
                "put back or the store was made anew: if you meant to, run the agent once with --allow-downgrade"
            )
        if channel.sequence != seen:
            self._write(self._state._replace(sequences={**self._state.sequences, self.channel: channel.sequence}))
        return channel

    def _require_newer(self, channel: Channel, version: str | None) -> None:
        if version is None or channel.allow_downgrade or self._allow_downgrade:
            return
        made = self._made(version)
        if channel.made < made:
            raise ReleaseError(
                f"{self._where}: {channel.version} was made {channel.made}, {version}, which is current, {made}; "
                "to go back, push it with --allow-downgrade"
            )

    # Switching

    def _take(self, folder: Path, channel: Channel) -> None:
        target = self.folder / VERSIONS / channel.version
        if folder != target:
            if target.exists():  # not whole any more
                self._discard(target)
            folder.rename(target)
            sync_directory(folder.parent)
            sync_directory(target.parent)
        state, before = self._state.with_good(channel.version, channel.release), self.version
        if before is not None and channel.made < self._made(before):
            state = state.without_good(before)  # withdrawn: nothing goes back to it
        self._write(state._replace(probation=None))
        self._clear_reports()
        self._link(channel.version)
        self._damaged = False
        self._clear_versions()

    def _roll_back(self, version: str, reason: str) -> AgentOutcome:
        target = self._good_before(version)
        if target is None:
            return AgentOutcome("failing", version, f"{version} is kept, nothing is there to go back to: {reason}")
        release = next((each.release for each in self._state.good if each.version == version), 1)
        release = max(release, self._state.sequences.get(self.channel, 1))
        self._write(
            self._state.with_refusal(version, RefusedVersion(release, reason, text_of(now())))._replace(
                probation=None
            )
        )
        self._clear_reports()
        self._link(target)
        return AgentOutcome(
            "rolled back", target, f"{version} was taken back, {target} is current again: {reason}"
        )

    def _good_before(self, version: str) -> str | None:
        """Return the last version that proved itself here, other than `version`, and is still whole."""
        good = [each.version for each in self._state.good if each.version != version]
        return next((each for each in reversed(good) if self._is_whole(self.folder / VERSIONS / each)), None)

    def _finish(self) -> None:
        """Finish what an interrupted agent had begun: a version that was to be taken back is."""
        with contextlib.suppress(OSError):
            for entry in self.folder.glob(f".{CURRENT}.*"):
                entry.unlink()
        version = self.version
        if version is not None and version in self._state.refused:
            self._roll_back(version, self._state.refused[version].reason)
        elif version is not None and not self._is_whole(self.folder / VERSIONS / version):
            good = self._good_before(version)
            if good is not None:
                self._link(good)
            self._damaged = good is None

    def _link(self, version: str) -> None:
        """Let `current` lead to a version, in one step."""
        temporary = self.folder / f".{CURRENT}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path(VERSIONS, version))
        temporary.replace(self.folder / CURRENT)
        sync_directory(self.folder)

    def _clear_versions(self) -> None:
        """Delete all versions but the current one and the one to go back to."""
        current = self.version
        kept = {current, *[each.version for each in self._state.good if each.version != current][-1:]}
        for entry in (self.folder / VERSIONS).iterdir():
            if entry.name.removesuffix(".tuning.json") not in kept:
                self._discard(entry)
        good = tuple(each for each in self._state.good if each.version in kept)
        if good != self._state.good:
            self._write(self._state._replace(good=good))
        clear_staging(self.folder / STAGING)

    def _discard(self, folder: Path) -> None:
        """Delete a version, whose name goes first: half of one never stands below `versions`."""
        with scratch(self.folder) as gone:
            folder.rename(gone / folder.name)
            sync_directory(folder.parent)

    def _clear_reports(self) -> None:
        for entry in (self.folder / REPORTS).iterdir():
            entry.unlink(missing_ok=True)

    # The directory

    def _is_whole(self, folder: Path) -> bool:
        if not folder.is_dir():
            return False
        try:
            Bundle.open_whole(folder, limits=self._limits)
        except AetoolError:
            return False
        return True

    def _manifest(self, version: str) -> Manifest:
        return Bundle.open(self.folder / VERSIONS / version, limits=self._limits).manifest

    def _made(self, version: str) -> str:
        """Return when a version was made; an empty text, before all others, where it is damaged."""
        try:
            return made_at(self._manifest(version))
        except BundleError:
            return ""

    def _promised(self, version: str) -> Promise | None:
        if self._promise is None or self._promise[0] != version:
            self._promise = version, promise_of(self._manifest(version), self._tolerated)
        return self._promise[1]

    def _told(self, outcome: AgentOutcome) -> AgentOutcome:
        """Remember an outcome, if it is news: the disk is not worn by each look."""
        last = self._state.last
        if outcome.is_news(None if last is None else AgentOutcome(last.event, last.version or None, last.message)):
            told = Last(outcome.event, outcome.version or "", outcome.message, text_of(now()))
            with contextlib.suppress(OutputError):
                self._write(self._state._replace(last=told))
        return outcome

    def _write(self, state: State) -> None:
        if state != self._state:
            write_state(self.folder, state)
            self._state = state

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReleaseError(
                f"{self.folder}: another agent keeps this directory; stop it, or choose another"
            ) from error
        except OSError as error:  # a file system without locks
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.folder}: cannot be an agent's directory: {error.strerror or error}; choose another, or fix "
            "its permissions"
        )


def current_version(folder: Path) -> str | None:
    """Return the version that is current in an agent's directory; None where there is none yet."""
    try:
        return (folder / CURRENT).readlink().name
    except OSError:
        return None
