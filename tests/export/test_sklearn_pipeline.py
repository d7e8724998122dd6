"""A Pipeline's bundle takes raw rows and scores as the Pipeline does; what cannot be in a graph is named."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

import aetool
from aetool.checks import verify
from aetool.errors import ExportError, InputError, VerificationError
from aetool.export import sklearn_pipeline
from aetool.sklearn import AutoencoderDetector, export_pipeline


def frame(count=240, seed=0, gaps=0.0):
    """Numbers that hang together, far from zero; texts, codes and flags. float32 holds every number."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, 2))
    numbers = hidden @ np.random.default_rng(5).normal(size=(2, 4)) * [1, 50, 0.1, 3] + [0, 1e4, 5, -20]
    made = pd.DataFrame(numbers.astype(np.float32).astype(np.float64), columns=["a", "b", "c", "d"])
    made["kind"] = np.array(["red", "green", "blue"])[rng.integers(0, 3, count)]
    made["code"] = rng.integers(1, 5, count) * 10
    made["flag"] = rng.integers(0, 2, count).astype(bool)
    for name in ("a", "c", "kind"):
        made.loc[rng.random(count) < gaps, name] = None
    return made


NUMBERS = ["a", "b", "c", "d"]


def detector(**settings):
    return AutoencoderDetector(epochs=1, **{"embedding_dim": 3, "contamination": 0.05, **settings})


def mixed(*, imputed):
    number = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()) if imputed else StandardScaler()
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    text = make_pipeline(SimpleImputer(strategy="most_frequent"), encoder) if imputed else encoder
    return ColumnTransformer(
        [("text", text, ["kind", "code"]), ("left", "drop", ["flag"]), ("number", number, NUMBERS)]
    )


PIPELINES = {
    "standard, then max-abs": (lambda: [StandardScaler(), MaxAbsScaler()], 0),
    "min-max, then robust": (lambda: [MinMaxScaler((-1, 3)), RobustScaler(quantile_range=(10, 90))], 0),
    "halves, and nothing": (
        lambda: [StandardScaler(with_mean=False), RobustScaler(with_scaling=False), "passthrough"],
        0,
    ),
    "imputed, then no function": (lambda: [SimpleImputer(), FunctionTransformer()], 0.1),
    "imputed when scaled": (lambda: [StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.5)], 0.1),
    "nested": (lambda: [make_pipeline(SimpleImputer(), make_pipeline(MinMaxScaler()))], 0.1),
}


def published(pipeline, rows, path):
    bundle = export_pipeline(pipeline, rows, path).bundle
    assert all(record.passed for record in verify.verify_bundle(path))
    return aetool.load(bundle.path)


@pytest.mark.parametrize("case", PIPELINES)
def test_scalers_and_imputers_become_part_of_the_graph(case, tmp_path):
    make, gaps = PIPELINES[case]
    rows = frame(gaps=gaps)[NUMBERS]
    pipeline = make_pipeline(*make(), detector()).fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    fresh = frame(seed=7, gaps=gaps)[NUMBERS]
    np.testing.assert_allclose(model.score(fresh), -pipeline.score_samples(fresh), rtol=1e-4)
    assert np.array_equal(model.detect(fresh), pipeline.predict(fresh) == -1)
    assert model.feature_names == tuple(NUMBERS)
    np.testing.assert_array_equal(model.score(fresh[NUMBERS[::-1]]), model.score(fresh))  # by name


@pytest.mark.parametrize("imputed", [False, True])
@pytest.mark.parametrize("scaled_again", [False, True])
def test_columns_of_numbers_and_categories_become_part_of_the_graph(imputed, scaled_again, tmp_path):
    rows = frame(gaps=0.1 if imputed else 0)
    after = [StandardScaler()] if scaled_again else []
    pipeline = make_pipeline(mixed(imputed=imputed), *after, detector()).fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    fresh = frame(seed=7, gaps=0.2 if imputed else 0)
    fresh.loc[3, "kind"] = "mauve"  # unknown
    np.testing.assert_allclose(model.score(fresh), -pipeline.score_samples(fresh), rtol=1e-4)
    assert np.array_equal(model.detect(fresh), pipeline.predict(fresh) == -1)
    assert model.feature_names == ("a", "b", "c", "d", "kind", "code")  # the raw order, without what is dropped
    assert dict(model.categories) == {"kind": ("blue", "green", "red"), "code": ("10", "20", "30", "40")}
    reconstructed = model.to_columns(model.reconstruct(fresh))
    assert set(reconstructed["kind"]) <= {"blue", "green", "red"}
    assert abs(np.mean(reconstructed["b"]) - 1e4) < 500  # raw units


def test_a_missing_value_may_be_a_category_of_its_own(tmp_path):
    rows = frame(gaps=0.2)[["kind", "b", "d"]]
    steps = make_column_transformer((OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough")
    pipeline = make_pipeline(steps, StandardScaler(), detector()).fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    assert model.categories["kind"] == ("blue", "green", "red", "(missing)")
    gap = rows.iloc[:3].assign(b=[1e4, np.nan, 1e4])  # which nothing fills
    assert np.isnan(model.score(gap)).tolist() == [False, True, False] and model.detect(gap)[1]
    np.testing.assert_allclose(model.score(rows), -pipeline.score_samples(rows), rtol=1e-4)


@pytest.mark.parametrize(
    ("columns", "places"),
    [
        ([3, 0], [3, 0]),
        (slice(1, 4), [1, 2, 3]),
        (slice("b", "c"), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        (np.array([True, False, True, False]), [0, 2]),
        ([-1, 1], [3, 1]),
        (["d", "a"], [3, 0]),
        ("c", [2]),
        (2, [2]),
        ([], []),
    ],
)
def test_columns_may_be_chosen_in_every_way(columns, places):
    assert sklearn_pipeline._places(columns, NUMBERS, 4) == places


def test_a_slice_of_names_holds_its_end(tmp_path):
    rows = frame()[NUMBERS]
    steps = ColumnTransformer([("s", StandardScaler(), slice("b", "d"))])
    pipeline = make_pipeline(steps, detector()).fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    assert model.feature_names == ("b", "c", "d")
    np.testing.assert_allclose(model.score(rows[["b", "c", "d"]]), -pipeline.score_samples(rows), rtol=1e-4)


def test_rows_that_float32_does_not_hold_are_compared_as_it_holds_them(tmp_path):
    rows = frame()[NUMBERS] + 1e5 / 3
    pipeline = make_pipeline(StandardScaler(), detector()).fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    held = rows.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(model.score(rows), -pipeline.score_samples(held), rtol=1e-3)


REFUSED = {
    "a decomposition": (
        lambda: [StandardScaler(), PCA(3)],
        "'pca': PCA cannot become part of the graph; supported",
    ),
    "a power": (lambda: [PowerTransformer()], "PowerTransformer cannot become part"),
    "neighbours": (lambda: [KNNImputer()], "KNNImputer cannot become part"),
    "a function": (lambda: [FunctionTransformer(np.abs)], "FunctionTransformer cannot become part"),
    "clipped": (lambda: [MinMaxScaler(clip=True)], "MinMaxScaler with clip=True"),
    "indicators": (lambda: [SimpleImputer(add_indicator=True)], "SimpleImputer with add_indicator"),
    "other gaps": (lambda: [SimpleImputer(missing_values=-1.0)], "other missing values than NaN"),
    "twice": (
        lambda: [ColumnTransformer([("x", StandardScaler(), ["a", "b"]), ("y", MinMaxScaler(), ["b", "c"])])],
        "column 'b' is used twice",
    ),
    "inner step": (
        lambda: [ColumnTransformer([("x", make_pipeline(StandardScaler(), PCA(2)), ["a", "b", "c"])])],
        "'columntransformer, x, step pca': PCA",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_step_that_cannot_become_part_of_the_graph_is_named(case, tmp_path):
    make, message = REFUSED[case]
    rows = frame()[NUMBERS]
    rows.iloc[3, 0] = np.nan if case == "indicators" else rows.iloc[3, 0]
    pipeline = make_pipeline(*make(), detector()).fit(rows)
    with pytest.raises(ExportError, match=message):
        export_pipeline(pipeline, rows, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("settings", [{"drop": "first"}, {"max_categories": 2}])
def test_encoders_that_leave_categories_out_are_named(settings, tmp_path):
    rows = frame()[["kind", "a"]]
    encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore", **settings)
    pipeline = make_pipeline(make_column_transformer((encoder, ["kind"]), remainder="passthrough"), detector())
    with pytest.raises(ExportError, match="OneHotEncoder with drop, or with infrequent"):
        export_pipeline(pipeline.fit(rows), rows, tmp_path / "b")


def test_codes_in_an_array_are_refused_where_they_would_be_taken_for_indexes(tmp_path):
    rows = frame()[["code", "a"]].to_numpy()
    steps = make_column_transformer((OneHotEncoder(sparse_output=False), [0]), remainder="passthrough")
    pipeline = make_pipeline(steps, detector()).fit(rows)
    with pytest.raises(ExportError, match=r"'x0' holds codes \(10, 20, 30, 40\).*fit the pipeline to a DataFrame"):
        export_pipeline(pipeline, rows, tmp_path / "b")
    rows[:, 0] = rows[:, 0] / 10 - 1  # 0 to 3: they are their indexes
    pipeline.fit(rows)
    model = published(pipeline, rows, tmp_path / "b")
    np.testing.assert_allclose(model.score(rows), -pipeline.score_samples(rows), rtol=1e-4)


def test_what_is_no_fitted_pipeline_is_refused(tmp_path):
    rows = frame()[NUMBERS]
    for one in (
        make_pipeline(StandardScaler(), detector()),
        StandardScaler(),
        Pipeline([("s", StandardScaler())]),
    ):
        with pytest.raises(ExportError, match="a fitted Pipeline whose last step is an AutoencoderDetector"):
            export_pipeline(one, rows, tmp_path / "b")
    pipeline = make_pipeline(StandardScaler(), detector()).fit(rows)
    with pytest.raises(InputError, match="one or more rows"):
        export_pipeline(pipeline, rows[:0], tmp_path / "b")


def test_steps_that_are_read_wrongly_are_not_published(tmp_path):
    rows = frame()[NUMBERS]
    pipeline = make_pipeline(StandardScaler(), detector()).fit(rows)
    scaler = pipeline[0]
    transform = scaler.transform
    scaler.transform = lambda x: transform(x) * 1.01  # as a later scikit-learn might scale otherwise
    with pytest.raises(VerificationError, match=r"the pipeline scores row \d+ .*, its steps inside a graph"):
        export_pipeline(pipeline, rows, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_last_step_alone_is_not_exported_without_a_word(tmp_path):
    rows = frame()[NUMBERS]
    for scaler in (MinMaxScaler(), MaxAbsScaler(), RobustScaler(), StandardScaler()):
        pipeline = make_pipeline(scaler, detector()).fit(rows)
        assert pipeline[-1].looks_prepared_
    with pytest.warns(
        UserWarning, match=r"look scaled or encoded already.*export_pipeline\(pipeline, rows, path\)"
    ):
        pipeline[-1].export(tmp_path / "b")


def test_raw_rows_and_flags_are_exported_without_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    for rows in (rng.integers(0, 2, (200, 5)).astype(float), rng.normal(size=(200, 4)), frame()[NUMBERS]):
        fitted = detector().fit(rows)
        assert not fitted.looks_prepared_
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fitted.export(tmp_path / "b")


@pytest.mark.parametrize("wrong", [lambda rows: rows[:, :3], lambda rows: rows[:, :, None], lambda rows: rows[0]])
def test_rows_of_another_shape_than_the_pipeline_was_fitted_to_are_refused(tmp_path, wrong):
    rows = frame()[NUMBERS].to_numpy()
    fitted = make_pipeline(StandardScaler(), detector()).fit(rows)
    with pytest.raises(InputError, match=r"rows: expected \(rows, 4\), as the pipeline was fitted to"):
        export_pipeline(fitted, wrong(rows), tmp_path / "bundle")
