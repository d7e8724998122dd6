"""The estimator keeps scikit-learn's contract, and its bundle decides as it does."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import aetool
from aetool.errors import InputError
from aetool.sklearn import AutoencoderDetector


@parametrize_with_checks([AutoencoderDetector(epochs=5)])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    return load_breast_cancer().data


@pytest.fixture(scope="module")
def fitted(rows):
    return AutoencoderDetector(epochs=20, contamination=0.05).fit(rows)


def test_signs_are_scikit_learns(fitted, rows):
    assert np.array_equal(fitted.decision_function(rows), fitted.score_samples(rows) - fitted.offset_)
    assert np.array_equal(fitted.predict(rows) == -1, fitted.decision_function(rows) < 0)
    assert (fitted.predict(rows) == -1).mean() == pytest.approx(0.05, abs=0.005)
    far = rows + 100 * rows.std(axis=0)
    assert (fitted.score_samples(far) < fitted.score_samples(rows)).all()


def test_inverse_transform_gives_rows_in_raw_units(fitted, rows):
    error = np.abs(fitted.inverse_transform(fitted.transform(rows)) - rows).mean(axis=0)
    assert (error < rows.std(axis=0)).all()
    with pytest.raises(InputError, match=r"expected shape \(rows, 120\), found \(569, 30\)"):
        fitted.inverse_transform(rows)


@pytest.mark.parametrize(("contamination", "seed"), [(0.01, 0), (0.1, 1), (0.5, 2)])
def test_the_bundle_decides_as_the_estimator_on_every_training_row(contamination, seed, tmp_path):
    rows = np.random.default_rng(seed).normal(size=(400, 8)) @ np.random.default_rng(9).normal(size=(8, 8))
    rows[200:] = rows[:200]  # scores that stand twice
    detector = AutoencoderDetector(epochs=3, contamination=contamination, random_state=seed).fit(rows)
    detector.export(tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    assert np.array_equal(model.detect(rows), detector.predict(rows) == -1)
    np.testing.assert_allclose(-model.score(rows), detector.score_samples(rows), rtol=1e-4)
    np.testing.assert_allclose(model.encode(rows), detector.transform(rows), rtol=1e-4, atol=1e-5)


def test_a_pickle_and_what_is_fitted_again_from_a_clone_are_the_same(rows):
    detector = AutoencoderDetector(epochs=2, hidden_dims=(20,), random_state=np.random.RandomState(3))
    twin = clone(detector).fit(rows)
    scores = detector.fit(rows).score_samples(rows)
    assert np.array_equal(twin.score_samples(rows), scores)
    assert np.array_equal(pickle.loads(pickle.dumps(detector)).score_samples(rows), scores)
    with pytest.raises(NotFittedError):
        clone(detector).predict(rows)


def test_columns_of_a_frame_keep_their_names_into_the_bundle(rows, tmp_path):
    frame = pd.DataFrame(rows[:, :4], columns=["radius", "texture", "perimeter", "area"])
    detector = AutoencoderDetector(epochs=2).set_output(transform="pandas").fit(frame)
    embedding = detector.transform(frame)
    assert list(embedding.columns) == list(detector.get_feature_names_out())
    assert (embedding.index == frame.index).all()
    detector.export(tmp_path / "b")
    model = aetool.load(tmp_path / "b")
    assert model.feature_names == tuple(frame.columns)
    shuffled = frame[["area", "radius", "perimeter", "texture"]]
    assert np.array_equal(model.score(shuffled), model.score(frame))
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(shuffled)


def test_it_works_in_a_pipeline_and_a_grid_search(rows):
    pipeline = make_pipeline(StandardScaler(), AutoencoderDetector(epochs=3))
    assert pipeline.fit(rows).transform(rows[:5]).shape == (5, 120)
    assert set(pipeline.predict(rows)) == {1, -1}
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AutoencoderDetector(epochs=3)),
        {"autoencoderdetector__dropout": [0.1, 0.5]},
        scoring=lambda estimator, x, y: estimator.score_samples(x).mean(),
        cv=2,
    )
    assert search.fit(rows, np.zeros(len(rows))).best_params_["autoencoderdetector__dropout"] in (0.1, 0.5)


@pytest.mark.parametrize("parameters", [{"contamination": 0}, {"contamination": 0.6}, {"dropout": 1.5}])
def test_parameters_that_cannot_be_used_are_value_errors(parameters, rows):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        AutoencoderDetector(epochs=1, **parameters).fit(rows)
