"""Two results: faster, slower, or not to be told apart."""

import pytest
from measuring import measured

from aetool.bench.compare import compare, word
from aetool.errors import BenchmarkError

BEFORE = (10.8e-6, 11e-6, 11.2e-6, 11e-6, 10.8e-6)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((9.8e-6, 10e-6, 10.4e-6, 10e-6, 9.8e-6), "faster"),
        ((9.9e-6, 10e-6, 10.85e-6, 10e-6, 9.9e-6), "can't tell"),  # one round is slower than the fastest before
        ((11.9e-6, 12e-6, 12.2e-6, 12e-6, 11.9e-6), "slower"),
        ((11.9e-6, 11.15e-6, 12.2e-6, 12e-6, 11.9e-6), "can't tell"),
        (BEFORE, "can't tell"),
    ],
)
def test_the_rounds_decide(result, after, expected):
    found = compare(result(measured(rounds=BEFORE)), result(measured(rounds=after)))
    (verdict,) = found.verdicts
    assert verdict.verdict == expected
    assert (verdict.before_s, verdict.contestant) == (11e-6, "aetool")
    assert verdict.ratio == pytest.approx(sorted(after)[2] / 11e-6)


def test_nothing_is_told_of_a_very_small_change_however_steady():
    assert word(1.04, 1.03, 1.05) == "can't tell"
    assert word(1.06, 1.05, 1.07) == "slower"


def test_what_the_machine_changed_by_is_no_verdict(result):
    """The same bundle measured twice, all of it in 0.58 of the time the second time: so is the peer."""
    faster = tuple(0.58 * seconds for seconds in BEFORE)
    before = result(measured(rounds=BEFORE), measured("raw-onnxruntime", rounds=BEFORE))
    both = compare(before, result(measured(rounds=faster), measured("raw-onnxruntime", rounds=faster)))
    assert [one.verdict for one in both.verdicts] == ["can't tell", "can't tell"]
    assert all(one.low < 0.58 and one.high > 1 for one in both.verdicts)
    alone = compare(before, result(measured(rounds=faster), measured("raw-onnxruntime", rounds=BEFORE)))
    assert alone.verdicts[0].verdict == "faster" and alone.verdicts[0].high < 1


def test_with_other_packages_a_peer_changes_too(result):
    faster = tuple(0.58 * seconds for seconds in BEFORE)
    before = result(measured(rounds=BEFORE), measured("raw-onnxruntime", rounds=BEFORE))
    rows = (measured(rounds=faster), measured("raw-onnxruntime", rounds=faster))
    updated = compare(before, result(*rows, packages={"onnxruntime": "1.32.0"}))
    assert [one.verdict for one in updated.verdicts] == ["faster", "faster"]


def test_a_change_must_be_larger_than_the_noise(result):
    noisy = measured(rounds=(1.0e-5, 1.2e-5, 1.3e-5, 1.2e-5, 1.0e-5))
    for after, expected in ((1.4e-5, "can't tell"), (1.9e-5, "slower")):
        (verdict,) = compare(result(noisy), result(measured(rounds=(after,) * 5))).verdicts
        assert verdict.verdict == expected and not verdict.stable


def test_only_the_same_measurement_is_compared(result):
    before = result(measured(), measured(batch=64), measured(threads=2))
    found = compare(before, result(measured(), measured(batch=16)))
    assert len(found.verdicts) == 1 and (found.only_before, found.only_after) == (2, 1)


@pytest.mark.parametrize(
    "machine", [{"cpu": "Another"}, {"cores": 4}, {"cpu_flags": ("avx2", "avx512f", "fma")}, {"quota_cores": 1.5}]
)
def test_other_machines_are_refused_unless_allowed(result, machine):
    with pytest.raises(BenchmarkError, match=next(iter(machine))):
        compare(result(), result(**machine))
    found = compare(result(), result(**machine), different_machines=True)
    assert any(next(iter(machine)) in change for change in found.changed)


def test_what_else_changed_is_told(result):
    found = compare(result(), result(packages={"onnxruntime": "1.32.0"}, commit="def5678"))
    assert found.changed == ("onnxruntime 1.31.1 -> 1.32.0", "commit abc1234 -> def5678")


def test_nothing_in_common_is_refused(result):
    with pytest.raises(BenchmarkError, match="no measurement in common"):
        compare(result(measured()), result(measured(batch=64)))
