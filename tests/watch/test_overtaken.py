"""Messages that overtake each other while a connection is new: held until the others are there."""

import json

import numpy as np
import pytest
from series_bundles import waves
from test_watch import expected_scores, scores_in

from aetool.watch import TextOutput, Watcher, WatchOptions
from aetool.watch._messages import Message


class Kept(TextOutput):
    """Lines in memory."""

    def __init__(self):
        super().__init__(None, "kept")
        self.lines = []

    def send(self, records):
        self.lines += [json.loads(text) for _, text in records]
        self.delivered = records[-1][0]


def messages_of(samples):
    return [
        Message(json.dumps({"time": t, "machine": "a", **{f"c{i}": float(v) for i, v in enumerate(sample)}}))
        for t, sample in enumerate(samples)
    ]


@pytest.fixture
def shuffled():
    """40 messages, of which those from 20 to 29 come after those from 30 to 34."""
    return np.array([*range(20), *range(30, 35), *range(20, 30), *range(35, 40)])


def test_samples_that_were_overtaken_are_scored_in_their_order(series, model, shuffled):
    samples = waves(40, 3)
    messages, kept = messages_of(samples), Kept()
    watcher = Watcher(model, WatchOptions(all_scores=True), outputs=[kept], tell=print)
    for place in shuffled:
        watcher.take([messages[place]], is_settling=bool(place >= 20))
    assert scores_in(kept.lines) == expected_scores(series, {"a": samples})
    assert watcher.counts["late"] == watcher.counts["duplicate"] == 0


def test_without_a_new_connection_they_are_late(model, shuffled):
    messages, kept = messages_of(waves(40, 3)), Kept()
    watcher = Watcher(model, WatchOptions(all_scores=True), outputs=[kept], tell=print)
    watcher.take([messages[place] for place in shuffled])
    assert watcher.counts["late"] == 10


def test_what_is_held_survives_a_restart_and_is_scored_when_the_connection_is_old(
    series, model, shuffled, tmp_path
):
    samples = waves(40, 3)
    messages, lines = messages_of(samples), []
    options = WatchOptions(all_scores=True, state=tmp_path / "state")
    for place, number in enumerate(shuffled):
        kept = Kept()
        watcher = Watcher(model, options, outputs=[kept], tell=print)
        watcher.take([messages[number], messages[number]], is_settling=place >= 20)
        watcher.close(after_error=bool(place % 2))  # with and without a state, by the journal alone
        lines += kept.lines
    assert scores_in(lines) == expected_scores(series, {"a": samples})
    kept = Kept()
    watcher = Watcher(model, options, outputs=[kept], tell=print)
    watcher.take([Message(messages[0].text.replace('"time": 0', '"time": 60'))], is_settling=True)
    assert watcher.counts["samples"] == 40
    watcher.take([], is_settling=False)
    assert watcher.counts["samples"] == 41
    watcher.close()
