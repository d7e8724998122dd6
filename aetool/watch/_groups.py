"""Groups of samples: a stream for each, and the alerts that its scores raise."""

import math
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aetool.errors import InputError
from aetool.runtime.moments import channel_shares
from aetool.runtime.session import AutoencoderSession
from aetool.watch._counts import WatchCounts
from aetool.watch._messages import GroupSample

_NANO = 1_000_000_000
_LONGEST_HOLD = 1 << 20
"""Samples that repeat one, at most, as in `aetool train --every`."""
_CHANNELS = 3
"""Channels that an alert names."""


class Rules(NamedTuple):
    """How alerts come from scores."""

    least: int = 1
    of: int = 1
    """`least` of the last `of` scores above the threshold begin an alert."""
    rows_alone: bool = False
    """Each anomaly is an alert of its own, as for rows of a table."""
    all_scores: bool = False
    """A record for every score."""
    max_groups: int = 1000
    max_gap: float | None = None


_LEAP = 1.5
"""A step in time so many times as long as the last ones tells that samples are missing."""
_FADE = 0.98
"""Share of the longest step that stays with each sample."""
_MOST_HELD = 10_000


class Interval:
    """Samples at equal distances from those at any times, as `aetool train --every` made them.

    One stands for each interval, which begins at a multiple of its length: the mean of what came in it, channel by
    channel. An interval in which nothing came repeats the one before, up to a gap.
    """

    __slots__ = ("cell", "counts", "every", "hold", "sums")

    def __init__(self, every: float, gap: float | None, channels: int, state: Mapping[str, Any] | None) -> None:
        """Begin, or go on from `state`."""
        self.every = round(every * _NANO)
        self.hold = _LONGEST_HOLD if gap is None else round(gap / every) - 1
        self.cell: int | None = None
        self.sums, self.counts = np.zeros(channels), np.zeros(channels, np.int64)
        if state is not None:
            self.cell, self.sums = state["cell"], np.array(state["sums"])
            self.counts = np.array(state["counts"], np.int64)

    def add(self, time: float, values: NDArray[np.float32]) -> list[tuple[float, NDArray[np.float32]]]:
        """Take a sample, and return time and values of those of the intervals that it ends."""
        cell, found = round(time * _NANO) // self.every, []
        if self.cell is not None and cell != self.cell:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                mean = (self.sums / self.counts).astype(np.float32)
            ahead = cell - self.cell
            for place in range(1 if ahead - 1 > self.hold else ahead):
                found.append(((self.cell + place) * self.every / _NANO, mean))
            self.sums[:], self.counts[:] = 0, 0
        self.cell = cell
        there = np.isfinite(values)
        self.sums[there] += values[there]
        self.counts += there
        return found

    def state(self) -> dict[str, Any]:
        """Return what it takes to go on."""
        return {"cell": self.cell, "sums": self.sums.tolist(), "counts": self.counts.tolist()}


class GroupStream:
    """One group: its stream, its last decisions and the alert that is on."""

    __slots__ = ("alert", "flags", "held", "interval", "step", "stream", "time")

    def __init__(self, model: AutoencoderSession, state: Mapping[str, Any] | None, max_gap: float | None) -> None:
        """Begin, or go on from `state`."""
        if state is None:
            state = {"stream": None, "flags": 0, "time": None, "alert": None}
            self.stream = model.stream(max_gap=max_gap)
        else:
            self.stream = model.stream(state["stream"])
        series, interval = model.manifest.series, state.get("interval")
        self.interval = None
        if series is not None and series.every is not None and series.time is not None:
            self.interval = Interval(series.every, self.stream.max_gap, model.input_shape[-1], interval)
        self.flags: int = state["flags"]
        """The last decisions, as bits."""
        self.time: float | None = state["time"]
        """Time of the last sample."""
        self.alert: dict[str, Any] | None = state["alert"]
        self.step: float | None = state.get("step")
        """Longest of the last steps in time, in seconds."""
        self.held = [
            GroupSample(group, time, when, np.array(values, np.float32))
            for group, time, when, values in state.get("held", ())
        ]
        """Samples that overtook others, in the order of their time."""

    def state(self) -> dict[str, Any]:
        """Return what it takes to go on."""
        found = {"stream": self.stream.state(), "flags": self.flags, "time": self.time, "alert": self.alert}
        found["step"] = self.step
        if self.held:
            found["held"] = [[*each[:3], each.values.tolist()] for each in self.held]
        return found if self.interval is None else {**found, "interval": self.interval.state()}

    def leaps_to(self, time: float) -> bool:
        """Return whether samples seem to be missing before `time`."""
        return self.time is not None and self.step is not None and time - self.time > _LEAP * self.step

    def steps_to(self, time: float) -> None:
        """Note the time of the next sample."""
        if self.time is not None:
            step = time - self.time
            self.step = step if self.step is None or step > _LEAP * self.step else max(step, _FADE * self.step)
        self.time = time


class Groups:
    """All groups, the least recently used dropped where there are more than allowed."""

    def __init__(self, model: AutoencoderSession, rules: Rules, counts: WatchCounts) -> None:
        """Begin without groups."""
        self._model, self._rules, self._counts, self._count = model, rules, counts, counts.count
        self._groups: OrderedDict[str, GroupStream] = OrderedDict()
        self._threshold = model.threshold
        self._window = model.input_shape[0] if len(model.input_shape) == 2 else 1
        self.is_settling = False
        self._mask = (1 << rules.of) - 1
        series = model.manifest.series
        self._stride = 1 if series is None else series.stride
        self._explains = "explainer" in model.graphs
        if self._explains:
            model.explain(
                np.zeros((1, *model.input_shape), np.float32)
            )  # opened now: an alert should not wait for it

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._groups)

    def take(self, sample: GroupSample) -> Iterator[dict[str, Any]]:
        """Push a sample into its group's stream, and return the records that come of it.

        While `is_settling`, a sample that leaps ahead is held until those that it overtook are there.
        """
        group = self._groups.get(sample.group)
        if group is None:
            group = self._groups[sample.group] = GroupStream(self._model, None, self._rules.max_gap)
            if len(self._groups) > self._rules.max_groups:
                self._groups.popitem(last=False)
                self._count("dropped_groups")
        else:
            self._groups.move_to_end(sample.group)
        time = sample.time
        if time is None:
            yield from self._pushed(group, sample)
            return
        if group.time is not None and time <= group.time:
            self._count("duplicate" if time == group.time else "late")
            return
        if not group.held and not (self.is_settling and group.leaps_to(time)):
            yield from self._pushed(group, sample)
            return
        if any(each.time == time for each in group.held):
            self._count("duplicate")
            return
        insort(group.held, sample, key=_time_of)
        while group.held and (not group.leaps_to(_time_of(group.held[0])) or len(group.held) > _MOST_HELD):
            yield from self._pushed(group, group.held.pop(0))

    def settle(self, is_settling: bool) -> Iterator[dict[str, Any]]:
        """Begin to hold samples that leap ahead, or end it: then those that are held are pushed."""
        self.is_settling = is_settling
        for group in () if is_settling else list(self._groups.values()):
            while group.held:
                yield from self._pushed(group, group.held.pop(0))

    def _pushed(self, group: GroupStream, sample: GroupSample) -> Iterator[dict[str, Any]]:
        time = sample.time
        if time is not None:
            group.steps_to(time)
        self._count("samples")
        pushed = [(time, sample.values)]
        if group.interval is not None and time is not None:
            pushed = [*group.interval.add(time, sample.values)]
        for when, values in pushed:
            for score in group.stream.push(values, when).tolist():
                self._count("scores")
                yield from self._decided(group, sample, score)

    def _decided(self, group: GroupStream, sample: GroupSample, score: float) -> Iterator[dict[str, Any]]:
        rules = self._rules
        is_anomaly = not score <= self._threshold
        if is_anomaly:
            self._count("flagged")
        group.flags = ((group.flags << 1) | is_anomaly) & self._mask
        here = {"group": sample.group, "time": sample.when, "score": _plain(score)}
        if sample.time is None:
            here["message"] = self._counts["messages"]
        if rules.all_scores:
            yield {"kind": "score", **here, "is_anomaly": is_anomaly}
        if rules.rows_alone:
            if is_anomaly:
                self._count("alerts")
                yield {"kind": "anomaly", **here, "threshold": self._threshold, **self._why(group)}
            return
        is_on = group.flags.bit_count() >= rules.least
        alert = group.alert
        if alert is not None:
            if is_on:
                alert["scores"] += 1
                if is_anomaly:
                    alert["end"] = sample.when
                if _height(score) > _height(alert["peak_score"]):
                    alert |= {"peak": sample.when, "peak_score": _plain(score)}
                return
            group.alert = None
            yield {"kind": "end", "group": sample.group, **alert}
        elif is_on:
            self._count("alerts")
            group.alert = {
                "start": sample.when,
                "end": sample.when,
                "peak": sample.when,
                "peak_score": _plain(score),
                "scores": 1,
            }
            yield {"kind": "start", **here, "threshold": self._threshold, **self._why(group)}

    def _why(self, group: GroupStream) -> dict[str, Any]:
        """Return the channels that contribute most to the last window."""
        window = group.stream.window
        if not self._explains or window is None:
            return {}
        shape = self._model.input_shape
        contribution = self._model.explain(window.reshape(1, *shape)).contribution[0]
        share = channel_shares(contribution.reshape(self._window, -1))
        names = self._model.feature_names or tuple(map(str, range(len(share))))
        largest = np.argsort(-share, kind="stable")[:_CHANNELS]
        return {
            "channels": [{"name": names[i], "share": round(float(share[i]), 4)} for i in largest if share[i] > 0]
        }

    def state(self) -> list[list[Any]]:
        """Return name and state of each group, the least recently used first."""
        return [[name, group.state()] for name, group in self._groups.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Begin with the groups of a state.

        Raises:
            InputError: it is of another model.
        """
        try:
            self._groups = OrderedDict((name, GroupStream(self._model, each, None)) for name, each in state)
        except (TypeError, ValueError, KeyError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("state: not what aetool watch writes") from error


def _time_of(sample: GroupSample) -> float:
    return sample.time or 0.0


def _plain(score: float) -> float | str:
    """Return a score as JSON holds it, in the digits of a float32; what is no number as text."""
    return float(str(np.float32(score))) if math.isfinite(score) else str(score)


def _height(score: float | str) -> float:
    number = float(score)
    return math.inf if math.isnan(number) else number
