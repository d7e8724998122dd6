"""The estimator keeps scikit-learn's contract, and its bundle decides as it does."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import aetool
from aetool.sklearn import AutoencoderDetector


@parametrize_with_checks([AutoencoderDetector(epochs=5)])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def fitted():
    rows = load_breast_cancer().data
    return AutoencoderDetector(epochs=20, contamination=0.05).fit(rows), rows


def test_signs_are_scikit_learns(fitted):
    detector, rows = fitted
    assert np.array_equal(detector.decision_function(rows), detector.score_samples(rows) - detector.offset_)
    assert np.array_equal(detector.predict(rows) == -1, detector.decision_function(rows) < 0)
    assert (detector.predict(rows) == -1).mean() == pytest.approx(0.05, abs=0.005)
    far = rows + 100 * rows.std(axis=0)
    assert (detector.score_samples(far) < detector.score_samples(rows)).all()


def test_inverse_transform_gives_rows_in_raw_units(fitted):
    detector, rows = fitted
    error = np.abs(detector.inverse_transform(detector.transform(rows)) - rows).mean(axis=0)
    assert (error < rows.std(axis=0)).all()


def test_the_bundle_decides_as_the_estimator(fitted, tmp_path):
    detector, rows = fitted
    detector.export(tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    np.testing.assert_allclose(-model.score(rows), detector.score_samples(rows), rtol=1e-4)
    clear = np.abs(detector.decision_function(rows)) > 1e-5 * abs(detector.offset_)
    assert np.array_equal(model.detect(rows)[clear], (detector.predict(rows) == -1)[clear])


def test_it_works_in_a_pipeline_and_a_grid_search(fitted):
    _, rows = fitted
    pipeline = make_pipeline(StandardScaler(), AutoencoderDetector(epochs=3))
    assert pipeline.fit(rows).transform(rows[:5]).shape == (5, 120)
    search = GridSearchCV(
        AutoencoderDetector(epochs=3),
        {"dropout": [0.1, 0.5]},
        scoring=lambda e, x, y: e.score_samples(x).mean(),
        cv=2,
    )
    assert search.fit(rows, np.zeros(len(rows))).best_params_["dropout"] in (0.1, 0.5)
