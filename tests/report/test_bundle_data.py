"""What the page of a bundle is drawn from: the thresholds, the curves, the map, the rows."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, roc_auc_score

import aetool
from aetool.errors import DependencyError, InputError
from aetool.report.bundle.data import MOST_CURVE_POINTS as MOST_OF_A_CURVE
from aetool.report.bundle.data import MOST_POINTS, curves, histogram, portray, project, sweep

BUNDLE = Path(__file__).parents[2] / "exported" / "breast-cancer"
SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 1e-30, 0.1, 0.5, 0.5000001, 2.0, 1e9, np.inf, np.nan]), st.booleans()),
    min_size=1,
    max_size=40,
)


def split(pairs):
    return np.array([score for score, _ in pairs], np.float64), np.array([label for _, label in pairs], bool)


@given(SCORES, st.sampled_from([0.0, 0.1, 0.5, 3.0, 1e12, 3.4e38]))
@settings(deadline=None)
def test_every_stop_of_the_sweep_counts_what_that_threshold_flags(pairs, threshold):
    score, labels = split(pairs)
    found = sweep(score, threshold, labels)
    assert found.thresholds[found.own] == threshold
    assert list(found.thresholds) == sorted(found.thresholds)
    for place in (0, found.own, len(found.thresholds) // 2, -1):
        flagged = ~(score <= found.thresholds[place]) | np.isinf(score)
        assert found.flagged[place] == flagged.sum()
        assert found.hits[place] == (flagged & labels).sum()


@given(SCORES)
@settings(deadline=None)
def test_the_histogram_holds_every_score_that_is_a_number(pairs):
    score, labels = split(pairs)
    found = histogram(score, 0.5, labels)
    assert sum(found.counts) + sum(found.anomalies) == np.isfinite(score).sum()
    assert sum(histogram(score, 0.5, None).counts) == np.isfinite(score).sum()


@pytest.mark.parametrize(("rows", "bins"), [(20, 12), (1000, 20), (10_000, 43), (1_000_000, 80)])
def test_more_rows_have_more_bins(rows, bins):
    assert len(histogram(np.linspace(1, 2, rows), 1.5, None).counts) == bins


def test_a_threshold_that_is_not_set_does_not_stretch_the_axis():
    assert histogram(np.array([1.0, 2.0]), float(np.finfo(np.float32).max), None).edges[-1] < 3


@given(SCORES)
@settings(deadline=None)
def test_the_areas_are_those_of_scikit_learn_ties_and_infinite_scores_too(pairs):
    score, labels = split(pairs)
    found = curves(score, labels)
    if labels.all() or not labels.any():
        assert found is None
        return
    ranks = np.unique(np.where(np.isfinite(score), score, np.inf), return_inverse=True)[1]
    assert found.auroc == pytest.approx(roc_auc_score(labels, ranks))
    assert found.average_precision == pytest.approx(average_precision_score(labels, ranks))
    assert found.roc[0] == (0.0, 0.0) and found.roc[-1] == pytest.approx((1.0, 1.0))
    assert found.precision_recall[-1] == pytest.approx((1.0, labels.mean()))


def test_a_long_curve_is_thinned_to_what_a_picture_shows_and_keeps_its_shape():
    random = np.random.default_rng(0)
    labels = random.random(20_000) < 0.1
    found = curves(random.random(20_000) + labels, labels)
    assert len(found.roc) <= MOST_OF_A_CURVE + 1
    x, y = np.array(found.roc).T
    assert np.trapezoid(y, x) == pytest.approx(found.auroc, abs=1e-3)


def test_the_map_is_the_plane_of_the_first_two_principal_components():
    random = np.random.default_rng(1)
    embedding = random.normal(size=(200, 2)) @ random.normal(size=(2, 5)) + 0.1 * random.normal(size=(200, 5))
    places, told = project(embedding, "pca")
    z = np.clip((embedding - embedding.mean(axis=0)) / embedding.std(axis=0), -3, 3)
    expected = PCA(2, svd_solver="full").fit(z)
    axes = expected.transform(z)
    for mine, theirs in zip(places.T, axes.T, strict=True):
        assert abs(np.corrcoef(mine, theirs)[0, 1]) == pytest.approx(1)
    assert f"{expected.explained_variance_ratio_.sum() * 100:.0f} %" in told
    assert places.min() == 0 and places.max() == 1


@pytest.mark.parametrize("embedding", [np.zeros((4, 3)), np.ones((5, 1)), np.arange(6.0)[:, None]])
def test_embeddings_that_do_not_differ_or_have_one_number_have_a_map_too(embedding):
    places, _ = project(embedding, "pca")
    assert places.shape == (len(embedding), 2) and np.isfinite(places).all()


def test_umap_that_is_not_installed_is_an_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DependencyError, match=r"umap-learn.*the extra 'umap'"):
        project(np.random.default_rng(0).normal(size=(20, 3)), "umap")


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_keeps_two_groups_apart():
    random = np.random.default_rng(2)
    places, told = project(np.vstack([random.normal(0, 0.1, (30, 4)), random.normal(9, 0.1, (30, 4))]), "umap")
    first, second = places[:30], places[30:]
    assert np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) > first.std() + second.std()
    assert "UMAP" in told


def samples():
    table = np.loadtxt(BUNDLE.parent / "samples.csv", delimiter=",", skiprows=1).astype(np.float32)
    return table[:, 1:31], table[:, 31] != 0


def test_it_is_what_the_model_says_of_the_rows():
    rows, labels = samples()
    found = portray(BUNDLE, rows, labels, source="samples.csv")
    model = aetool.load(BUNDLE)
    score = model.score(rows)
    assert found.sweep.flagged[found.sweep.own] == model.detect(rows).sum()
    assert (found.rows, found.anomalies, found.without_score) == (len(rows), labels.sum(), 0)
    assert [row.number for row in found.worst] == np.argsort(-score)[: len(found.worst)].tolist()
    assert found.best[0].number == score.argmin()
    why = model.explain(rows[score.argmax()][None])
    first = found.worst[0].features[0]
    assert first.name == model.feature_names[why.contribution[0].argmax()]
    assert first.share == pytest.approx(why.contribution[0].max() / score.max(), rel=1e-5)
    assert {row.number for row in found.worst} <= {point.number for point in found.embedding_map.points}
    assert found.drift is not None and not found.is_golden


def test_what_names_a_row_goes_with_it_and_is_no_longer_than_a_name():
    rows, labels = samples()
    names = np.array([f"sample {number}" + "x" * 100 for number in range(len(rows))])
    found = portray(BUNDLE, rows, labels, kept={"name": names, "number": np.arange(len(rows))})
    assert found.kept == ("name", "number")
    for row in (*found.worst, *found.best, *found.embedding_map.points):
        assert row.kept == (names[row.number][:60], str(row.number))


def test_without_rows_it_is_made_of_the_golden_ones():
    found = portray(BUNDLE)
    assert found.is_golden and "golden" in found.source and found.drift is None and found.curves is None


def test_many_rows_are_drawn_as_a_few_thousand_the_same_every_time():
    rows, _ = samples()
    many = np.tile(rows, (100, 1))
    points = portray(BUNDLE, many).embedding_map.points
    assert MOST_POINTS <= len(points) <= MOST_POINTS + 10
    assert points == portray(BUNDLE, many).embedding_map.points


def test_rows_with_missing_values_are_flagged_at_every_threshold_and_not_among_the_explained():
    rows, labels = samples()
    rows[:3, 2] = np.nan
    found = portray(BUNDLE, rows, labels)
    assert found.without_score == 3 and min(found.sweep.flagged) == 3
    assert not {0, 1, 2} & {row.number for row in (*found.worst, *found.best)}
    lost = portray(BUNDLE, np.full((5, 30), np.nan, np.float32))
    assert lost.worst == lost.best == () and lost.embedding_map is None


def test_categories_are_told_by_name(mixed_bundle):
    found = portray(mixed_bundle)
    jobs = {one.found for row in found.worst for one in row.features if one.name == "job"}
    assert jobs and jobs <= {"clerk", "nurse", "pilot", "smith, or so"}
    assert all(one.places is None for row in found.worst for one in row.features if one.name == "job")


def test_columns_by_name_and_labels_of_0_and_1_will_do(mixed_bundle, mixed):
    rows = aetool.load(mixed_bundle).to_rows(mixed)
    labels = np.arange(len(rows)) < 9
    assert portray(mixed_bundle, mixed, labels.astype(int).tolist()) == portray(mixed_bundle, rows, labels)


def test_no_rows_are_an_error():
    with pytest.raises(InputError, match="one row or more"):
        portray(BUNDLE, np.empty((0, 30), np.float32))
