"""The range-based figures of benchmarks/series.py, against cases computed by hand."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from range_metrics import areas, ranges, softened, volumes


def mask(text):
    return np.array([letter == "1" for letter in text])


def test_ranges_are_those_of_each_anomaly():
    assert ranges(mask("1001101")) == [(0, 1), (3, 5), (6, 7)]
    assert ranges(mask("000")) == []


def test_steps_within_half_a_buffer_of_an_anomaly_belong_to_it_in_part():
    near, far = math.sqrt(1 - 1 / 4), math.sqrt(1 - 2 / 4)
    assert softened(mask("0001000"), 4).tolist() == [0, far, near, 1, near, far, 0]
    assert softened(mask("1000"), 2).tolist() == [1, math.sqrt(1 / 2), 0, 0]
    assert softened(mask("0110"), 0).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "score", "expected"),
    [
        ("001100", [0, 0, 1, 1, 0, 0], (1.0, 1.0)),
        ("001100", [1, 1, 0, 0, 1, 1], (0.0, 1 / 3)),
        # Recall counts a share of the anomalies too: 1/2 of the steps x 1/2 of the anomalies at the first score.
        ("10010", [3, 0, 2, 1, 0], (0.75, 0.75)),
        ("0100", [1, 1, 1, 1], (0.5, 0.25)),
    ],
)
def test_areas_without_a_buffer(labels, score, expected):
    assert areas(mask(labels), np.array(score, float), 0) == pytest.approx(expected)


def test_areas_with_a_buffer():
    # Step 1 counts sqrt(1/2), and there are (1 + 1 + 2 sqrt(1/2)) / 2 positives among 5 steps.
    part = math.sqrt(1 / 2)
    positives = (1 + 1 + 2 * part) / 2
    negatives = 5 - positives
    # Scores: step 1, step 2, then all others.
    recall = [0, part / positives, min((part + 1) / positives, 1), 1]
    false = [0, (1 - part) / negatives, (1 - part) / negatives, (5 - 1 - 2 * part) / negatives]
    precision = [part, (part + 1) / 2, (1 + 2 * part) / 5]
    roc = np.trapezoid([*recall, 1], [*false, 1])
    expected = roc, float((np.diff(recall) * precision).sum())
    assert areas(mask("00100"), np.array([0, 2, 1, 0, 0.0]), 2) == pytest.approx(expected)


def test_a_volume_is_the_mean_over_buffers():
    labels, score = mask("000110000"), np.array([0, 1, 3, 2, 5, 4, 1, 0, 2.0])
    found = np.mean([areas(labels, score, buffer) for buffer in (0, 1, 2)], axis=0)
    assert volumes(labels, score, 2) == pytest.approx(tuple(found))
