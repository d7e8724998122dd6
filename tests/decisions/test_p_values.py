"""p-values, probabilities and decisions for a whole batch."""

import numpy as np
import onnxruntime
import pytest

import aetool
from aetool.checks.evaluation import ranking
from aetool.decisions import Goal, calibrate
from aetool.decisions._graph import calibrator
from aetool.decisions._tail import fit_tail
from aetool.errors import BundleError, InputError
from aetool.runtime.calibrator import discoveries


@pytest.fixture(scope="module")
def calibrated(table, normal, tmp_path_factory):
    """A bundle calibrated on 99 normal rows."""
    from app_fixtures import EXPORTED

    path = tmp_path_factory.mktemp("p") / "bundle"
    calibrate(EXPORTED, normal[:99], goal=Goal(false_alarms=0.1), output=path)
    return path


def test_a_p_value_is_the_share_of_normal_rows_that_score_as_high(calibrated, table, normal):
    rows, _ = table
    with aetool.load(calibrated) as model:
        known, score, found = model.score(normal[:99]), model.score(rows), model.p_value(rows)
    inside = score <= known.max()
    expected = (1 + np.sum(known >= score[:, None], axis=1)) / 100
    # A row that is a calibration row itself may come out an ulp lower in a batch of another size.
    assert found[inside] == pytest.approx(expected[inside], abs=0.0101)
    assert np.mean(np.abs(found[inside] - expected[inside]) < 1e-6) > 0.9
    assert (found[~inside] <= 0.01).all() and (~inside).sum() > 50


def test_p_values_fall_with_the_score_and_are_never_0(calibrated):
    session = onnxruntime.InferenceSession((calibrated / "calibrator.onnx").read_bytes())
    highest = float(np.finfo(np.float32).max)
    score = np.concatenate([[-np.inf, -1, 0], np.geomspace(1e-30, highest, 5000), [np.inf]]).astype(np.float32)
    found = session.run(["p_value"], {"score": score})[0]
    assert found[0] == 1 and (np.diff(found) <= 0).all() and found[-1] > 0
    assert session.run(["p_value"], {"score": np.full(1, np.nan, np.float32)})[0][0] == found[-1]


def test_a_row_without_a_score_has_the_smallest_p_value(calibrated):
    with aetool.load(calibrated) as model:
        hopeless = model.p_value(np.full(30, np.nan))
        assert 0 < hopeless < 1e-30 and hopeless.shape == ()
        assert model.p_value(np.empty((0, 30))).shape == (0,)
        assert model.detect(np.full((2, 30), np.nan), fdr=0.01).all()


def test_few_of_the_flagged_rows_are_normal_with_fdr(table, normal, exported):
    """On average over calibration sets and batches, which the guarantee is for."""
    rows, labels = table
    score = aetool.load(exported).score
    calm, odd, shares = score(normal), score(rows[labels]), []
    for seed in range(200):
        random = np.random.default_rng(seed)
        order = random.permutation(len(calm))
        kept = np.sort(calm[order[:99]])
        told = {"opset": 18, "ir_version": 10, "producer": "", "metadata": {}}
        graph = calibrator(kept, fit_tail(kept.astype(float)), None, **told)
        batch = np.concatenate([calm[order[99:159]], random.permutation(odd)[:20]])
        p_value = onnxruntime.InferenceSession(graph).run(["p_value"], {"score": batch})[0]
        found = discoveries(np.maximum(p_value, 1 / 100), 0.1)
        shares.append(found[:60].sum() / max(found.sum(), 1))
    assert 0.02 < np.mean(shares) <= 0.1 + 2 * np.std(shares) / np.sqrt(len(shares))


def test_a_batch_of_normal_rows_is_seldom_flagged_with_fdr(calibrated, normal):
    with aetool.load(calibrated) as model:
        assert not model.detect(normal[:1], fdr=0.05)
        out = np.empty(60, bool)
        assert model.detect(normal[99:159], fdr=0.05, out=out) is out


@pytest.mark.parametrize("fdr", [0, 1, -0.1, True, "5%", np.nan])
def test_an_fdr_that_is_no_share_is_refused(calibrated, normal, fdr):
    with aetool.load(calibrated) as model, pytest.raises(InputError, match="fdr: expected a share"):
        model.detect(normal, fdr=fdr)


def test_a_bundle_without_scores_names_the_command_that_keeps_some(bundle, normal, rewrite):
    rewrite(bundle, lambda manifest: manifest["variants"]["fp32"].pop("calibrator", None))
    with aetool.load(bundle) as model:
        with pytest.raises(InputError, match="aetool calibrate"):
            model.p_value(normal)
        with pytest.raises(InputError, match="calibrate --per-segment"):
            model.detect(normal, per_segment=True)


def test_the_calibrator_of_another_model_is_refused(bundle, calibrated, normal, rewrite):
    calibrate(bundle, normal, goal=Goal(false_alarms=0.05))
    rewrite(bundle, calibrator=(calibrated / "calibrator.onnx").read_bytes())
    with aetool.load(bundle) as model, pytest.raises(BundleError, match="scores of another model"):
        model.p_value(normal)


def test_probabilities_rise_with_the_score_and_are_calibrated(bundle, table):
    rows, labels = table
    made = calibrate(bundle, rows, labels, goal=Goal(recall=0.9), probability=True)
    with aetool.load(bundle, preload=True) as model:
        score, found = model.score(rows), model.probability(rows)
    assert (np.diff(found[np.argsort(score)]) >= 0).all()
    assert ranking(found, labels)["auroc"] == pytest.approx(ranking(score, labels)["auroc"], abs=1e-3)
    assert np.mean(found) == pytest.approx(np.mean(labels), abs=0.02)
    assert sum(part["rows"] for part in made.bundle.manifest.calibration["reliability"]) == len(rows)


def test_probabilities_need_labels_of_both_kinds(bundle, table, normal):
    rows, labels = table
    with pytest.raises(InputError, match="--label"):
        calibrate(bundle, normal, goal=Goal(false_alarms=0.05), probability=True)
    few = np.flatnonzero(~labels).tolist() + np.flatnonzero(labels)[:5].tolist()
    with pytest.raises(InputError, match="10 normal rows and 10 anomalies are needed"):
        calibrate(bundle, rows[few], labels[few], goal=Goal(false_alarms=0.05), probability=True)
