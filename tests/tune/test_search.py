"""The search, with races whose times are made up."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from aetool.runtime.settings import RunConfig, RunSettings
from aetool.runtime.tuning_file import Race
from aetool.tune import _search as searching
from aetool.tune._candidates import RunCandidate, default_of
from aetool.tune._search import EFFORTS, HEAT, Clock, Record, RunSetup, search

DEFAULT = default_of("cpu", Path("bundle"))


def candidate(number):
    return RunCandidate(f"c{number}", RunConfig("cpu", "fp32", RunSettings(chunk_rows=number + 1)), Path("bundle"))


class Races:
    """Gives every candidate its time, the default 1.0 s, and remembers who raced."""

    def __init__(self, times, refused=(), takes=0.0):
        self.times, self.refused, self.takes, self.held = times, refused, takes, []
        self.now = 0.0

    def __call__(self, name, default, challengers, track, load, rounds, seed):
        self.now += self.takes
        self.held.append((name, [one.name for one in challengers], load, rounds))
        found = {}
        for one in challengers:
            if one.name in self.refused:
                continue
            time = self.times[one.name]
            seconds = tuple(time(len(self.held), i) if callable(time) else time for i in range(rounds))
            ratio = sorted(seconds)[rounds // 2]
            found[one.name] = Race(name, load.batch, seconds, (1.0,) * rounds, ratio)
        return found, {one.name: "does not work here" for one in challengers if one.name in self.refused}


@pytest.fixture
def run(monkeypatch):
    """(times, ...) -> winner's name or None, what became of each, the races."""

    def apply(
        times, *, purpose="throughput", rows=65_536, objection=lambda *_: "", seconds=60.0, busy=0.0, **options
    ):
        races = Races(times, **options)
        monkeypatch.setattr(searching, "race", races)
        monkeypatch.setattr(searching, "Others", lambda: SimpleNamespace(share=busy))
        monkeypatch.setattr("aetool.tune._search.time.monotonic", lambda: races.now)
        records = [Record(candidate(i)) for i in range(len(times))]
        track = RunSetup("score", Path(), {}, {}, lambda _: None)
        winner = search(purpose, DEFAULT, records, track, rows, Clock(seconds), objection=objection, seed=0)
        return winner and winner.candidate.name, {r.candidate.name: r.dropped for r in records}, races.held

    return apply


def test_the_fastest_is_chosen_and_the_others_are_told_why_not(run):
    winner, dropped, _ = run({"c0": 0.8, "c1": 0.5, "c2": 1.2, "c3": 0.6, "c4": 0.9})
    assert winner == "c1" and dropped["c1"] == ""
    assert dropped["c3"] == "c1 is faster still, or as fast and simpler"
    assert dropped["c2"] == "no faster than the default in stage 1"
    assert dropped["c0"] == dropped["c4"] == "not among the fastest in stage 1"


def test_without_candidates_it_is_the_default_and_nothing_is_run(run):
    assert run({}) == (None, {}, [])


def test_what_is_slower_than_the_default_gets_no_final(run):
    winner, dropped, held = run({"c0": 1.0, "c1": 1.3})
    assert winner is None and {name for name, *_ in held} == {"stage 1"}
    assert set(dropped.values()) == {"no faster than the default in stage 1"}


@pytest.mark.parametrize("purpose", ["latency", "throughput"])
def test_one_round_lost_in_the_final_keeps_the_default(run, purpose):
    def once(held, i):
        return 1.0 if (held, i) == (3, 1) else 0.5  # the second race of the final

    winner, dropped, held = run({"c0": once}, purpose=purpose, rows=1)
    rounds = EFFORTS[purpose].launches * EFFORTS[purpose].rounds
    assert winner is None and dropped["c0"] == f"not faster in 1 of {rounds} rounds of the final"
    assert sum(name == "final" for name, *_ in held) == EFFORTS[purpose].launches


@pytest.mark.parametrize(("purpose", "least"), [("latency", 0.05), ("throughput", 0.03)])
def test_a_gain_of_a_few_percent_keeps_the_default(run, purpose, least):
    winner, dropped, _ = run({"c0": 1 - least + 0.005}, purpose=purpose)
    assert winner is None and dropped["c0"].endswith(f"less than {least:.0%}")
    assert run({"c0": 1 - least - 0.005}, purpose=purpose)[0] == "c0"


def test_where_the_fastest_is_in_doubt_the_next_is_chosen(run):
    winner, dropped, _ = run({"c0": lambda held, i: 1.5 if held > 1 and i == 0 else 0.3, "c1": 0.6})
    assert winner == "c1" and dropped["c0"].startswith("not faster in 2 of")


def test_what_the_budget_forbids_is_not_chosen(run):
    def slow(one, speedup):
        return f"speedup {speedup:.2f} below 3" if speedup < 3 else ""

    winner, dropped, _ = run({"c0": 0.5, "c1": 0.6}, objection=slow)
    assert winner is None and dropped == {"c0": "speedup 2.00 below 3", "c1": "speedup 1.67 below 3"}
    assert run({"c0": 0.25, "c1": 0.6}, objection=slow)[0] == "c0"


def test_where_others_are_busy_another_number_of_threads_is_not_believed(run, monkeypatch):
    plain = RunCandidate("c0", RunConfig("cpu", "int8", RunSettings()), Path("bundle"))
    monkeypatch.setattr(f"{__name__}.candidate", lambda i: plain)
    assert run({"c0": 0.5}, busy=0.9)[0] == "c0"
    fewer = RunCandidate("c0", RunConfig("cpu", "fp32", RunSettings(direct_threads=1)), Path("bundle"))
    monkeypatch.setattr(f"{__name__}.candidate", lambda i: fewer)
    winner, dropped, _ = run({"c0": 0.5}, busy=0.9)
    assert winner is None and dropped["c0"].startswith("others kept 90% of the cores busy")
    assert run({"c0": 0.5}, busy=0.02)[0] == "c0"


def test_of_two_that_are_as_fast_the_simpler_is_chosen(run, monkeypatch):
    settings = {0: RunSettings(direct_threads=1, spin_us=0), 1: RunSettings()}
    monkeypatch.setattr(
        f"{__name__}.candidate",
        lambda i: RunCandidate(f"c{i}", RunConfig("cpu", "int8", settings[i]), Path("bundle")),
    )
    assert run({"c0": 0.59, "c1": 0.6}, purpose="latency")[0] == "c1"
    assert run({"c0": 0.5, "c1": 0.6}, purpose="latency")[0] == "c0"


def test_a_candidate_that_does_not_work_is_told_and_the_others_go_on(run):
    winner, dropped, _ = run({"c0": 0.1, "c1": 0.6}, refused=("c0",))
    assert winner == "c1" and dropped["c0"] == "does not work here"


def test_later_stages_are_longer_and_hold_fewer(run):
    times = {f"c{i}": 0.5 + 0.01 * i for i in range(18)}
    _, _, held = run(times, purpose="latency", rows=1)
    sizes, turns = {}, {}
    for name, raced, load, rounds in held:
        assert 1 <= len(raced) <= HEAT
        sizes[name] = sizes.get(name, 0) + len(raced)
        turns[name] = load.seconds * rounds
    assert (sizes["stage 1"], sizes["stage 2"]) == (18, 6)
    assert sizes["final"] == EFFORTS["latency"].launches * EFFORTS["latency"].finalists
    assert turns["stage 1"] < turns["stage 2"] < turns["final"]


def test_the_first_stage_of_many_rows_has_short_calls(run):
    _, _, held = run({f"c{i}": 0.5 + 0.01 * i for i in range(9)})
    batches = [load.batch for _, _, load, _ in held]
    assert batches[0] < 65_536 and batches[-1] == 65_536


def test_the_time_is_kept_and_what_was_not_tried_is_told(run):
    times = {f"c{i}": 0.5 + 0.001 * i for i in range(30)}
    winner, dropped, held = run(times, takes=10.0, seconds=60.0)
    assert winner == "c0"
    assert 10.0 * len(held) <= 60.0 + 20.0
    untried = [name for name, why in dropped.items() if why.startswith("no time for it in stage 1")]
    assert "c29" in untried and "c0" not in untried
