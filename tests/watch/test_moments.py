"""Scores of moments, smoothing and events: plain arithmetic, held against the formula written out."""

import numpy as np
import pytest

from aetool.errors import InputError
from aetool.runtime.moments import (
    Event,
    channel_shares,
    find_events,
    moment_scores,
    peak_window,
    smoothed,
)


def written_out(scores, length, window, stride):
    """Mean and maximum over the windows that cover each moment, one by one."""
    mean, maximum = np.full(length, np.nan), np.full(length, np.nan)
    for moment in range(length):
        covering = [s for i, s in enumerate(scores) if i * stride <= moment < i * stride + window]
        if covering:
            mean[moment], maximum[moment] = np.mean(covering), np.max(covering)
    return mean, maximum


@pytest.mark.parametrize(
    ("length", "window", "stride"),
    [(30, 8, 1), (30, 8, 2), (30, 8, 3), (31, 7, 7), (40, 5, 9), (8, 8, 8), (8, 8, 1), (7, 8, 1), (100, 64, 5)],
)
def test_a_moment_has_mean_and_maximum_of_the_windows_that_cover_it(length, window, stride):
    count = 0 if length < window else (length - window) // stride + 1
    scores = np.random.default_rng(length).exponential(size=count).astype(np.float32)
    found = moment_scores(scores, length, window, stride)
    mean, maximum = written_out(scores, length, window, stride)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_array_equal(found.maximum, maximum.astype(np.float32))


def test_a_score_that_is_nan_or_infinite_stays_where_its_window_is():
    scores = np.ones(20, np.float32)
    scores[4], scores[14] = np.nan, np.inf
    found = moment_scores(scores, 23, 4, 1)
    assert np.flatnonzero(np.isnan(found.mean)).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(np.isinf(found.mean)).tolist() == [14, 15, 16, 17]
    assert (np.isnan(found.maximum) == np.isnan(found.mean)).all()


def test_scores_of_another_number_are_refused():
    with pytest.raises(InputError, match="23 moments has 20 windows"):
        moment_scores(np.ones(19), 23, 4, 1)


def test_smoothing_asks_for_k_of_the_last_n():
    flags = np.array([1, 0, 1, 1, 0, 0, 1, 0, 0], bool)
    assert smoothed(flags, 2, 3).tolist() == [False, False, True, True, True, False, False, False, False]
    assert (smoothed(flags, 1, 1) == flags).all() and smoothed(flags[:0], 2, 3).size == 0
    for least, of in ((0, 3), (4, 3)):
        with pytest.raises(InputError, match="K of the last N"):
            smoothed(flags, least, of)


def test_events_are_stretches_with_their_peak_and_nan_is_the_highest():
    scores = np.array([0, 3, 5, 4, 0, 9, 0, 2, np.nan, 7])
    flags = ~(scores <= 1)
    assert find_events(flags, scores)[:2] == [Event(1, 4, 2, 5.0), Event(5, 6, 5, 9.0)]
    assert find_events(flags, scores)[2][:3] == (7, 10, 8)
    assert find_events(flags[:0], scores[:0]) == []


def test_the_window_behind_a_peak_is_the_highest_that_covers_it():
    scores = np.array([1, 1, 7, 1, 9], np.float32)  # windows of 4 with stride 2: moments 4 to 7 are of window 2
    assert peak_window(scores, Event(4, 6, 5, 7.0), 4, 2) == 2
    assert peak_window(scores, Event(0, 1, 0, 1.0), 4, 2) == 0
    assert peak_window(scores, Event(9, 12, 11, 9.0), 4, 2) == 4


def test_channels_share_the_score_and_what_is_not_finite_comes_first():
    contribution = np.array([[1, 0, 1], [3, 0, 1]], np.float32)
    assert channel_shares(contribution).tolist() == pytest.approx([4 / 6, 0, 2 / 6])
    assert channel_shares(contribution, 0, 1).tolist() == pytest.approx([0.5, 0, 0.5])
    contribution[0, 1] = np.nan
    assert channel_shares(contribution).tolist() == [0, 1, 0]
    assert channel_shares(np.zeros((2, 2))).tolist() == [0, 0]
