"""Contestants take turns, and how their rounds compare."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from aetool.bench import rounds as turns
from aetool.bench._statistics import stability
from aetool.bench.contestants import ContestantTurn, Load
from aetool.bench.rounds import compared, ratio, take_turns


@dataclass
class Recorder:
    """Stands for a running contestant."""

    name: str
    log: list = field(default_factory=list)
    warmed: int = 0

    def warm(self, load, seed=0):
        self.warmed += 5
        return 5

    def turn(self, load, seed=0):
        self.log.append((self.name, seed))
        return ContestantTurn(np.full(4, 1000 * (seed + 1)), wall_s=1e-5, cpu_s=1e-5, rows=4)


@pytest.fixture
def taken(monkeypatch):
    monkeypatch.setattr(turns, "wait_until_idle", lambda running: None)
    log = []
    found = take_turns([Recorder(name, log) for name in "abc"], Load(), rounds=6, seed=1)
    return found, log


def test_everybody_has_a_turn_in_every_round_and_the_order_rotates(taken):
    _, log = taken
    rounds = [[name for name, _ in log[i : i + 3]] for i in range(0, 18, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert [order[0] for order in rounds] == [*rounds[0], *rounds[0]]


def test_all_get_the_same_queries_and_other_ones_each_round(taken):
    _, log = taken
    assert [[seed for _, seed in log[i : i + 3]] for i in range(0, 18, 3)] == [[1 + i] * 3 for i in range(6)]


def test_figures_are_medians_of_rounds_and_warm_up_is_counted_apart(taken):
    found, _ = taken
    assert found["a"].p50_s == 4.5e-6
    assert len(found["a"].latencies_s) == 24
    assert found["a"].warm_up_samples == 5 * 7


def test_a_ratio_is_the_median_of_the_rounds_own_ratios_with_their_spread():
    # The machine halves its pace after two rounds: the ratio does not change, the ratio of medians would.
    found = ratio([1.0, 1.0, 2.0, 2.0, 2.0], [2.0, 2.0, 4.0, 4.0, 5.0])
    assert (found.median, found.low, found.high) == (0.5, 0.4, 0.5)


def test_contestants_that_took_turns_are_compared_round_by_round(taken):
    found, _ = taken
    assert compared(found["a"], found["b"]).median == 1.0
    assert compared(found["a"], found["b"], "rows_per_s").median == 1.0


def test_ratios_of_unequal_rounds_are_refused():
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


def test_a_quiet_machine_is_stable():
    found = stability([np.full(100, 1000), np.full(100, 1050)])
    assert found.stable and found.reason == "" and len(found.windows_s) == 4
    assert found.spread == pytest.approx(50 / 1025)


def test_a_machine_that_changes_its_pace_within_a_turn_is_too_noisy():
    found = stability([np.repeat([1000, 1200], 50)])
    assert not found.stable and found.reason.startswith("machine too noisy")


def test_single_outliers_do_not_make_a_machine_noisy():
    turn = np.full(100, 1000)
    turn[::20] = 1_000_000
    assert stability([turn, turn]).stable
