"""How faithful a variant is, and whether that is within a budget."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from aetool.checks.evaluation import Auroc
from aetool.checks.fidelity import Answers, Budget, auroc_drop_interval, fidelity, neighbour_overlap
from aetool.errors import InputError

ROWS = 400


@pytest.fixture
def answers() -> Answers:
    random = np.random.default_rng(0)
    score = random.exponential(size=ROWS).astype(np.float32)
    return Answers(
        embedding=random.normal(size=(ROWS, 5)).astype(np.float32),
        reconstruction=random.normal(size=(ROWS, 7)).astype(np.float32),
        score=score,
        is_anomaly=score > 2,
    )


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).random(ROWS) < 0.1


def test_a_model_is_faithful_to_itself(answers: Answers, labels: np.ndarray) -> None:
    found = fidelity(answers, answers, labels)
    assert (found.flips, found.flipped, found.rank_correlation) == (0, 0, pytest.approx(1))
    assert (found.score_ratio, found.neighbour_overlap) == (1, 1)
    assert found.embedding_cosine == pytest.approx(1)
    assert (found.auroc_drop, found.auroc_drop_interval) == (0, (0, 0))
    assert not Budget(0, 0, 1).exceeded(found, 1.0)


def test_flips_are_counted_and_false_positives_are_of_normal_rows(answers: Answers, labels: np.ndarray) -> None:
    decisions = answers.is_anomaly.copy()
    decisions[:8] ^= True
    found = fidelity(answers, replace(answers, is_anomaly=decisions), labels)
    assert (found.flipped, found.flips) == (8, 8 / ROWS)
    assert found.false_positive_rate == (answers.is_anomaly[~labels].mean(), decisions[~labels].mean())


def test_scores_that_rise_as_a_whole_are_seen_in_their_ratio(answers: Answers) -> None:
    found = fidelity(answers, replace(answers, score=answers.score * 1.5))
    assert found.score_ratio == pytest.approx(1.5)
    assert found.rank_correlation == pytest.approx(1)
    assert found.auroc is None and found.auroc_drop is None


def test_other_embeddings_lower_cosine_and_overlap(answers: Answers) -> None:
    other = np.random.default_rng(5).normal(size=(ROWS, 5)).astype(np.float32)
    found = fidelity(answers, replace(answers, embedding=other))
    assert abs(found.embedding_cosine or 1) < 0.1
    assert (found.neighbour_overlap or 1) < 0.1


def test_a_model_without_embedding_has_no_figures_of_it(answers: Answers) -> None:
    bare = replace(answers, embedding=None)
    found = fidelity(bare, bare)
    assert (found.embedding_cosine, found.neighbour_overlap) == (None, None)


def test_overlap_is_what_a_neighbour_search_finds(answers: Answers) -> None:
    first = answers.embedding
    assert first is not None
    second = first + np.random.default_rng(2).normal(0, 0.2, first.shape).astype(np.float32)
    nearest = [
        NearestNeighbors(n_neighbors=11).fit(x).kneighbors(return_distance=False)[:, :10] for x in (first, second)
    ]
    expected = np.mean([len({*a} & {*b}) / 10 for a, b in zip(*nearest, strict=True)])
    assert neighbour_overlap(first, second) == pytest.approx(expected)


def test_weighted_auroc_is_that_of_the_rows_drawn(answers: Answers, labels: np.ndarray) -> None:
    score = np.round(answers.score, 1)  # with ties
    score[3] = np.nan
    weights = np.random.default_rng(3).integers(0, 4, ROWS)
    values = np.where(np.isfinite(score), score, 1e9)
    expected = roc_auc_score(np.repeat(labels, weights), np.repeat(values, weights))
    assert Auroc(score, labels).of(weights.astype(float)) == pytest.approx(expected)


def test_the_interval_holds_the_drop_of_a_worse_variant(answers: Answers, labels: np.ndarray) -> None:
    good = answers.score + 3 * labels
    noisy = good + np.random.default_rng(4).normal(0, 2, ROWS)
    low, high = auroc_drop_interval(good, noisy, labels)
    drop = roc_auc_score(labels, good) - roc_auc_score(labels, noisy)
    assert 0 < low < drop < high < 2 * drop


def test_a_budget_names_what_is_exceeded(answers: Answers, labels: np.ndarray) -> None:
    found = replace(fidelity(answers, answers, labels), auroc_drop=0.01, flips=0.02)
    assert Budget(min_speedup=1.2).exceeded(found, 1.1) == [
        "AUROC drop 0.0100 above 0.002",
        "flips 2.00% above 0.50%",
        "speedup 1.10 below 1.2",
    ]
    assert Budget(None, None, None).exceeded(found, 0.1) == []


def test_a_figure_that_is_no_number_is_outside_every_budget(answers: Answers) -> None:
    found = replace(fidelity(answers, answers), flips=float("nan"))
    assert Budget().exceeded(found)


@pytest.mark.parametrize("limits", [{"max_flips": -0.1}, {"max_auroc_drop": 1.1}, {"min_speedup": float("nan")}])
def test_a_limit_that_cannot_be_one_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(limits))):
        Budget(**limits)
