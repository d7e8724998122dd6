"""The watcher: messages in, alerts out, and a state from which it goes on after a kill."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetool.errors import InputError
from aetool.runtime.session import AutoencoderSession
from aetool.watch._counts import AgentVersion, WatchCounts, serve_metrics
from aetool.watch._groups import Groups, Rules
from aetool.watch._journal import Journal
from aetool.watch._lines import MessageSource, Stop
from aetool.watch._messages import MalformedError, Message, Reader, Written
from aetool.watch._outputs import MOST_WAITING, AlertOutput, Record

_REPORT_S = 10.0
"""Seconds between notes on what was left out."""
_TAKEN = ("samples", "late", "duplicate")
"""Counts of messages that hold a sample."""
_PATIENCE_S = 5.0
"""Seconds that the end waits for receivers of alerts."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Options of `watch`."""

    time: str | None = None
    """Column of the time; by default that of the bundle."""
    group: str | None = None
    """Column of the group; by default that of the bundle."""
    columns: Sequence[str] = ()
    """Names of the fields of a line of CSV; without them the first line names them."""
    smooth: tuple[int, int] | None = None
    """(K, N): an alert begins when K of the last N scores are above the threshold."""
    all_scores: bool = False
    """A record for each score, not for alerts alone."""
    max_gap: float | None = None
    """Longest time between samples of a window, in seconds; by default that of the bundle."""
    max_groups: int = 1000
    """Groups with a stream at the same time."""
    state: Path | None = None
    """File of the state; without it, nothing survives the end."""
    sync: bool = False
    """Wait for the disk before a message counts as taken: for power cuts."""
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class WatchSummary:
    """Counts of a run and of those that it went on from."""

    counts: Mapping[str, int]
    groups: int
    seconds: float


class Watcher:
    """Messages to alerts, with what is known about every group."""

    def __init__(
        self,
        model: AutoencoderSession,
        options: WatchOptions,
        *,
        outputs: Sequence[AlertOutput],
        tell: Callable[[str], None],
        counts: WatchCounts | None = None,
    ) -> None:
        """Open the state, if there is one, and take what its journal holds.

        Args:
            model: the bundle, opened.
            options: what to read and when to alert.
            outputs: where alerts go.
            tell: takes notes for people.
            counts: counts that outputs and sources add to as well.
        """
        self.counts = WatchCounts() if counts is None else counts
        self._outputs, self._tell, self._model = outputs, tell, model
        series = model.manifest.series
        names = model.feature_names or tuple(map(str, range(model.input_shape[-1])))
        is_table = len(model.input_shape) == 1
        encode = model.to_rows if model.categories else None
        self._reader = Reader(
            names,
            time=options.time or (series.time if series else None),
            group=options.group or (series.group if series else None),
            columns=options.columns,
            written=Written.of(model.manifest.provenance),
            encode=encode,
        )
        least, of = options.smooth or (1, 1)
        if not 1 <= least <= of <= 1000:
            raise InputError(f"smooth: expected K/N with 1 <= K <= N <= 1000, found {least}/{of}")
        if options.max_groups < 1:
            raise InputError(f"max_groups: expected 1 or more, found {options.max_groups}")
        alone = is_table and options.smooth is None
        rules = Rules(least, of, alone, options.all_scores, options.max_groups, options.max_gap)
        self._groups = Groups(model, rules, self.counts)
        self._sequence = 0
        self._waiting: deque[Record] = deque()
        """Alerts that not every output has."""
        self.first_fault = ""
        """Why the first message was left out that held no sample."""
        self._told_at, self._told, self._why = time.monotonic(), self.counts.left_out(), ""
        self._position: list[Any] | None = None
        self._marks: dict[str, int] = {}
        self._journal = None if options.state is None else Journal(options.state, sync=options.sync)
        if self._journal is not None:
            self._restore(self._journal)

    @property
    def position(self) -> list[Any] | None:
        """Position of the source that the state belongs to."""
        return self._position

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self._groups)

    def take(
        self, messages: Sequence[Message], position: list[Any] | None = None, *, is_settling: bool = False
    ) -> None:
        """Take messages: when this returns they are safe, and their alerts are on their way.

        Args:
            messages: the messages.
            position: position of their source after them.
            is_settling: messages may overtake each other now, as after a lost connection.
        """
        if is_settling != self._groups.is_settling:
            if self._journal is not None:
                self._journal.append([["settling", is_settling]])
            self._send(self._numbered(self._groups.settle(is_settling)))
        if messages:
            if self._journal is not None:
                entries: list[list[Any]] = [["message", *message] for message in messages]
                if position is not None:
                    entries.append(["position", position])
                self._journal.append(entries)
            self._position = position
            self._send([record for message in messages for record in self._records(message)])
        self._look_after()

    def _send(self, records: Sequence[Record]) -> None:
        if records:
            self._waiting.extend(records)
            for output in self._outputs:
                output.send(records)

    def save(self) -> None:
        """Write the state."""
        if self._journal is not None:
            self._journal.save(
                {
                    "features": list(self._model.feature_names),
                    "window": list(self._model.input_shape),
                    "sequence": self._sequence,
                    "delivered": self._marks,
                    "waiting": [list(record) for record in self._waiting],
                    "position": self._position,
                    "columns": list(self._reader.columns),
                    "counts": dict(self.counts),
                    "groups": self._groups.state(),
                    "settling": self._groups.is_settling,
                }
            )

    def close(self, *, after_error: bool = False) -> None:
        """Wait for outputs, and write the state; after an error the journal is what counts."""
        until = time.monotonic() + _PATIENCE_S
        for output in self._outputs:
            output.close(max(0.0, until - time.monotonic()))
        if not after_error:
            self._look_after()
            self.save()
        if self._journal is not None:
            self._journal.close()
        self._report()

    def _records(self, message: Message) -> list[Record]:
        """Return the records that come of a message."""
        self.counts.count("messages")
        try:
            samples = self._reader.read(message)
        except (MalformedError, InputError) as error:
            self._leave_out(str(error))
            return []
        return [record for sample in samples for record in self._numbered(self._groups.take(sample))]

    def _numbered(self, records: Iterable[Mapping[str, Any]]) -> list[Record]:
        """Return records as texts, each with the next sequence number."""
        found = []
        for record in records:
            self._sequence += 1
            text = json.dumps({"sequence": self._sequence, **record}, ensure_ascii=False, allow_nan=False)
            found.append((self._sequence, text))
        return found

    def _leave_out(self, why: str) -> None:
        self.first_fault = self.first_fault or why
        if not self.counts["malformed"]:
            self._tell(f"Left out a message: {why}")
        self.counts.count("malformed")
        self._why = why

    def _look_after(self) -> None:
        """Note which alerts are delivered, write the state where its journal is long, report what was left out."""
        changed = []
        for output in self._outputs:
            if output.delivered > self._marks.get(output.name, 0):
                self._marks[output.name] = output.delivered
                changed.append(["delivered", output.name, output.delivered])
        if changed:
            done = min(self._marks.get(output.name, 0) for output in self._outputs)
            while self._waiting and self._waiting[0][0] <= done:
                self._waiting.popleft()
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
        if self._journal is not None:
            if changed:
                self._journal.append(changed)
            if self._journal.is_long:
                self.save()
        if time.monotonic() - self._told_at > _REPORT_S:
            self._report()

    def _report(self) -> None:
        """Say what was left out, if that changed since the last report."""
        left_out = self.counts.left_out()
        self._told_at = time.monotonic()
        if left_out != self._told:
            self._told = left_out
            why = f"; the last one: {self._why}" if self._why else ""
            self._tell(
                f"Left out so far: {', '.join(f'{count:,} {name}' for name, count in left_out.items())}{why}"
            )
            self._why = ""

    def _restore(self, journal: Journal) -> None:
        """Go on from the state and its journal.

        Raises:
            InputError: they are of another model.
        """
        found = journal.load()
        if found is not None:
            self._require_ours(found, journal.path)
            try:
                self._groups.restore(found["groups"])
                self._groups.is_settling = bool(found["settling"])
                self._sequence, self._position = found["sequence"], found["position"]
                self._marks = dict(found["delivered"])
                self._waiting.extend((number, text) for number, text in found["waiting"])
                self._reader.columns = tuple(found["columns"]) or self._reader.columns
                self.counts.update({name: found["counts"].get(name, 0) for name in self.counts})
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{journal.path}: not a state of aetool watch; give another --state") from error
        before = self._sequence
        for kind, *entry in journal.entries():
            if kind == "message":
                self._waiting.extend(self._records(Message(*entry)))
            elif kind == "position":
                self._position = entry[0]
            elif kind == "settling":
                self._waiting.extend(self._numbered(self._groups.settle(entry[0])))
            else:
                self._marks[entry[0]] = entry[1]
        for output in self._outputs:
            # What a file holds it tells itself; an output that was not there before gets what is new.
            known = self._marks.get(output.name, before)
            done = self._marks[output.name] = max(known, output.held if output.held <= self._sequence else 0)
            if missing := [record for record in self._waiting if record[0] > done]:
                output.send(missing)
        self._look_after()
        self.save()

    def _require_ours(self, state: Mapping[str, Any], path: Path) -> None:
        mine = list(self._model.feature_names), list(self._model.input_shape)
        if (state.get("features"), state.get("window")) != mine:
            raise InputError(
                f"{path}: a state of a model with other columns or windows; give another --state, or delete it"
            )


def watch(
    model: AutoencoderSession,
    source: MessageSource,
    options: WatchOptions,
    *,
    outputs: Sequence[AlertOutput],
    stop: Stop,
    tell: Callable[[str], None],
    counts: WatchCounts | None = None,
    agent: AgentVersion | None = None,
) -> WatchSummary:
    """Take messages from `source` until it ends, `stop` is requested, or the agent has another version.

    Raises:
        InputError: the source has ended, and none of its messages held a sample.
    """
    began = time.monotonic()
    watcher = Watcher(model, options, outputs=outputs, tell=tell, counts=counts)
    metrics = None
    if options.metrics_port is not None:
        metrics = serve_metrics(
            options.metrics_port,
            watcher.counts,
            lambda: {"groups": watcher.groups, "up_seconds": round(time.monotonic() - began, 3)},
        )
        tell(f"Metrics: http://127.0.0.1:{metrics.server_address[1]}/metrics")
    before = {name: watcher.counts[name] for name in _TAKEN}
    if agent is not None:
        agent.tell(watcher.counts)  # what the state brought was reported already
    try:
        source.seek(watcher.position)
        for messages in source.batches(stop):
            watcher.take(messages, source.position, is_settling=source.is_settling)
            source.acknowledge()
            if agent is not None and agent.tell(watcher.counts):
                tell("The agent has another version now: ended, to be started again with it")
                stop.request()
    except BaseException:
        watcher.close(after_error=True)
        raise
    else:
        watcher.close()
    finally:
        if metrics is not None:
            metrics.shutdown()
    if not stop.requested and watcher.first_fault and all(watcher.counts[n] == before[n] for n in _TAKEN):
        raise InputError(
            f"no sample in any of {watcher.counts['messages']:,} messages; the first fault: {watcher.first_fault}"
        )
    return WatchSummary(dict(watcher.counts), watcher.groups, time.monotonic() - began)
