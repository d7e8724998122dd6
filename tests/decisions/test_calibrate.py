"""A threshold from rows of the place where a model runs."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.checks.binomial import expected_counts
from aetool.checks.drift import measure_drift
from aetool.checks.verify import verify_bundle
from aetool.decisions import Goal, calibrate
from aetool.decisions._choice import choose
from aetool.errors import InputError
from aetool.segments import add_segments


def test_the_threshold_flags_no_more_than_the_rate_of_further_rows(exported, normal):
    """As conformal prediction promises: on average over splits at most the rate, and nearly the rate."""
    score, flagged = aetool.load(exported).score(normal).astype(float), []
    for seed in range(300):
        order = np.random.default_rng(seed).permutation(len(score))
        threshold = choose(Goal(false_alarms=0.1), np.sort(score[order[:99]]), np.empty(0))
        flagged.append(np.mean(score[order[99:]] > threshold))
    assert 0.09 <= np.mean(flagged) <= 0.1 + 2 * np.std(flagged) / np.sqrt(len(flagged))


def test_the_new_bundle_is_whole_and_says_where_it_comes_from(bundle, normal):
    before = Bundle.open(bundle).manifest
    made = calibrate(bundle, normal, goal=Goal(false_alarms=0.05), source="plant.csv")
    manifest = Bundle.open_whole(bundle).manifest
    assert all(record.passed for record in verify_bundle(bundle))
    assert manifest.id != before.id == manifest.provenance["calibrated_from"] == manifest.calibration["from"]
    assert manifest.threshold["method"] == "at most 5 % of normal rows flagged, calibrated on plant.csv"
    shown = f"{np.float32(made.bundle.variant('fp32').threshold)!s}: at most 5 %"
    assert shown in (bundle / "README.md").read_text("utf-8")
    with aetool.load(bundle) as model:
        assert np.count_nonzero(model.detect(normal)) == made.outcome.false_alarms.count == 8


def test_the_graphs_are_changed_as_the_onnx_package_would(bundle, exported, normal):
    made = calibrate(bundle, normal, goal=Goal(false_alarms=0.05))
    threshold = made.bundle.variant("fp32").threshold
    for name in ("detector", "encoder"):
        old, new = (onnx.load(folder / f"{name}.onnx") for folder in (exported, bundle))
        onnx.checker.check_model(new, full_check=True)
        told = {entry.key: entry.value for entry in new.metadata_props}
        assert told["threshold"] == repr(threshold) and told["bundle"] == made.bundle.manifest.id
        for tensor in new.graph.initializer:
            if tensor.name == "threshold":
                assert onnx.numpy_helper.to_array(tensor).tolist() == [np.float32(threshold)]
        for model in (old, new):
            del model.metadata_props[:]
            kept = [each for each in model.graph.initializer if each.name != "threshold"]
            del model.graph.initializer[:]
            model.graph.initializer.extend(kept)
        assert old == new


def test_the_interval_is_that_of_scipy(bundle, normal):
    from scipy.stats import beta

    found = calibrate(bundle, normal, goal=Goal(false_alarms=0.05)).outcome.false_alarms
    expected = (
        beta.ppf(0.025, found.count, found.rows - found.count + 1),
        beta.ppf(0.975, found.count + 1, found.rows - found.count),
    )
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("hits", "rows", "further"), [(0, 60, 1000), (99, 9000, 1000), (10, 99, 50), (5, 5, 30)])
def test_the_flagged_rows_to_come_are_those_of_scipys_beta_binomial(hits, rows, further):
    from scipy.stats import betabinom

    of_scipy = betabinom(further, hits + 1, max(rows - hits, 1)).ppf([0.025, 0.975])
    assert expected_counts(hits, rows, further) == tuple(of_scipy)


def test_recall_cost_and_false_discoveries_are_goals_with_labels(bundle, table):
    rows, labels = table
    score = aetool.load(bundle).score(rows).astype(float)

    def flagged(goal):
        made = calibrate(bundle, rows, labels, goal=goal)
        return ~(score <= made.bundle.variant("fp32").threshold)

    found = flagged(Goal(recall=0.9))
    assert np.mean(found[labels]) >= 0.9
    found = flagged(Goal(fdr=0.05))
    assert np.mean(~labels[found]) <= 0.05
    found = flagged(Goal(costs=(1, 10)))
    cost = [np.sum((score > t) & ~labels) + 10 * np.sum((score <= t) & labels) for t in score]
    assert np.sum(found & ~labels) + 10 * np.sum(~found & labels) == min(cost)


def test_a_threshold_needs_no_rows_and_keeps_the_p_values(bundle, normal):
    calibrate(bundle, normal, goal=Goal(false_alarms=0.05))
    before = aetool.load(bundle).p_value(normal)
    calibrate(bundle, goal=Goal(threshold=0.4))
    with aetool.load(bundle) as model:
        assert model.threshold == np.float32(0.4) and np.array_equal(model.p_value(normal), before)
    assert all(record.passed for record in verify_bundle(bundle))


def test_drift_compares_with_the_calibration_rows(bundle, normal):
    moved = normal * 1.4
    assert calibrate(bundle, moved, goal=Goal(false_alarms=0.05), source="moved.csv").drift
    found = measure_drift(bundle, moved)
    assert not found.drifted and "calibrated on (moved.csv)" in found.compared_with
    assert measure_drift(bundle, normal).drifted


def test_each_segment_gets_its_own_threshold(bundle, normal):
    add_segments(bundle, normal, clusters=2)
    made = calibrate(bundle, normal, goal=Goal(false_alarms=0.1), per_segment=True)
    with aetool.load(bundle) as model:
        segment, score, found = model.segment(normal), model.score(normal), model.detect(normal, per_segment=True)
        limits = np.array([each["threshold"] for each in made.segments], np.float32)
        assert np.array_equal(found, ~(score <= limits[segment]))
        assert model.detect(np.full(30, np.nan), per_segment=True)
        for each in made.segments:
            assert each["too_few"] or np.mean(found[segment == each["segment"]]) <= 0.1


def test_a_bundle_of_an_older_aetool_is_calibrated_too(bundle, normal, rewrite):
    """Its threshold is a scalar, and no input."""
    model = onnx.load(bundle / "detector.onnx")
    (tensor,) = (each for each in model.graph.initializer if each.name == "threshold")
    del tensor.dims[:]
    del model.graph.input[1:]
    rewrite(bundle, detector=model.SerializeToString())
    made = calibrate(bundle, normal, goal=Goal(false_alarms=0.05))
    with aetool.load(bundle) as session:
        assert session.detect(normal).sum() == made.outcome.false_alarms.count


@pytest.mark.parametrize(
    ("change", "goal", "message"),
    [
        (
            lambda rows: rows[:50],
            Goal(false_alarms=0.01),
            "50 normal rows are too few for 1 % false alarms: 99",
        ),
        (lambda rows: np.resize(rows[0], rows.shape), Goal(false_alarms=0.05), "have the same score"),
        (lambda rows: np.where(rows == rows[3, 2], np.nan, rows), Goal(false_alarms=0.05), "no finite score"),
        (lambda rows: rows[:, 1:], Goal(false_alarms=0.05), "expected shape"),
        (lambda rows: rows, Goal(recall=0.9), "labelled anomalies are needed"),
        (lambda rows: rows, Goal(fdr=0.05), "score --fdr decide batch by batch"),
    ],
)
def test_rows_that_cannot_calibrate_are_refused(bundle, normal, change, goal, message):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(InputError, match=message):
        calibrate(bundle, change(normal), goal=goal)
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "goal", [{}, {"false_alarms": 0.01, "recall": 0.9}, {"false_alarms": 1.0}, {"threshold": np.nan}]
)
def test_a_goal_is_one_and_within_its_range(goal):
    with pytest.raises(InputError):
        Goal(**goal)


def test_a_calibration_that_is_killed_leaves_the_old_bundle(bundle, normal, tmp_path):
    np.save(tmp_path / "rows.npy", normal)
    code = (
        "import numpy, os, sys, aetool.bundle.atomic as atomic\n"
        "from aetool.decisions import Goal, calibrate\n"
        "atomic._take_name = lambda *_: os._exit(9)\n"
        "calibrate(sys.argv[1], numpy.load(sys.argv[2]), goal=Goal(false_alarms=0.05))\n"
    )
    before = Bundle.open_whole(bundle).manifest
    run = subprocess.run([sys.executable, "-c", code, bundle, tmp_path / "rows.npy"], check=False)
    assert run.returncode == 9 and Bundle.open_whole(bundle).manifest == before
    calibrate(bundle, normal, goal=Goal(false_alarms=0.05))
    assert not list(tmp_path.glob(".aetool-*"))


def test_neither_torch_nor_onnx_nor_scikit_learn_is_imported(bundle, normal, tmp_path):
    np.save(tmp_path / "rows.npy", normal)
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'sklearn', 'scipy', 'pyarrow', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from aetool.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    given = ("calibrate", bundle, "--data", tmp_path / "rows.npy", "--false-alarms", "5%", "--json")
    run = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert json.loads(run.stdout)["false_alarms"]["count"] == 8
