"""Figures of quality, against small cases counted by hand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from aetool.checks.evaluation import evaluate, ranking
from aetool.errors import InputError


@dataclass
class Fixed:
    """A scorer whose answers are given."""

    scores: Any
    reconstruction: Any = 0.0

    def score(self, rows: Any) -> Any:
        return np.asarray(self.scores, dtype=float)

    def reconstruct(self, rows: Any) -> Any:
        return np.broadcast_to(np.asarray(self.reconstruction, dtype=float), np.shape(rows))


def labels(*values: int) -> Any:
    return np.array(values, dtype=bool)


def test_auroc_and_average_precision_by_hand() -> None:
    # From the top: 0.9 anomaly, 0.8 normal, 0.7 anomaly, 0.1 normal.
    found = ranking(np.array([0.1, 0.7, 0.8, 0.9]), labels(0, 1, 0, 1))
    assert found["auroc"] == 3 / 4  # of four pairs, only (0.7, 0.8) is the wrong way round
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_ties_count_half() -> None:
    assert ranking(np.ones(4), labels(0, 1, 0, 1))["auroc"] == 0.5


SCORES = st.floats(width=32) | st.sampled_from([0.0, 0.25, 0.5, 1.0])  # few values: ties


@given(st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=60))
def test_auroc_and_average_precision_are_those_of_sklearn(rows: list[tuple[float, bool]]) -> None:
    score, truth = np.array([score for score, _ in rows], np.float32), labels(*(label for _, label in rows))
    assume(truth.any() and not truth.all())
    _, ranks = np.unique(np.where(np.isfinite(score), score, np.inf), return_inverse=True)
    found = ranking(score, truth)
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, ranks), rel=0, abs=1e-12)
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, ranks), rel=0, abs=1e-12)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_rank_as_most_abnormal(odd: float) -> None:
    assert ranking(np.array([1.0, 2.0, odd]), labels(0, 0, 1)) == {"auroc": 1.0, "average_precision": 1.0}
    assert ranking(np.array([odd, 2.0, 3.0]), labels(0, 0, 1))["auroc"] == 0.5


@pytest.mark.parametrize(("kind", "word"), [(True, "anomalies"), (False, "normal rows")])
def test_one_class_is_an_error(kind: bool, word: str) -> None:
    with pytest.raises(InputError, match=f"labels of both kinds are needed, found only {word}"):
        evaluate(Fixed([1, 2]), np.zeros((2, 3)), np.full(2, kind))


def test_no_rows_is_an_error() -> None:
    with pytest.raises(InputError, match="one row or more"):
        evaluate(Fixed([]), np.empty((0, 3)))


@pytest.mark.parametrize("wrong", [np.array([0, 1]), labels(0, 1, 1), np.array([["a", "b"]])])
def test_labels_of_another_shape_or_type_are_an_error(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"labels: true or false for each of 2 rows expected"):
        evaluate(Fixed([1, 2]), np.zeros((2, 3)), wrong)


def test_decisions_by_hand() -> None:
    scores = [0.1, 0.5, 0.6, 0.9, np.nan]
    found = evaluate(Fixed(scores), np.zeros((5, 1)), labels(0, 1, 0, 1, 1), threshold=0.5)
    assert (found.rows, found.anomalies, found.flagged) == (5, 3, 3)  # 0.5 itself is normal, NaN is not
    assert found.precision == 2 / 3
    assert found.recall == 2 / 3
    assert found.false_positive_rate == 0.5


def test_nothing_flagged_has_no_precision() -> None:
    assert evaluate(Fixed([0.1, 0.2]), np.zeros((2, 1)), labels(0, 1), threshold=1.0).precision is None


def test_errors_are_those_of_the_normal_rows() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [100.0, 100.0]])
    found = evaluate(Fixed([1, 3, 50]), rows, labels(0, 0, 1))
    assert found.median_score == 2
    assert found.reconstruction_rmse == pytest.approx(2.5)


def test_missing_cells_have_no_reconstruction_error() -> None:
    rows = np.array([[3.0, np.nan], [3.0, 3.0]])
    assert evaluate(Fixed([1, 2]), rows).reconstruction_rmse == 3


def test_a_few_scores_that_are_no_numbers_leave_the_median_a_number() -> None:
    assert evaluate(Fixed([1, np.nan, 2]), np.zeros((3, 1))).median_score == 2
