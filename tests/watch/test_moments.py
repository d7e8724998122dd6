"""Scores of moments, smoothing and events: plain arithmetic, held against the formula written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_bundles import row_scores

from aetool.errors import InputError
from aetool.runtime.moments import (
    Event,
    by_moment,
    channel_shares,
    count_overlapped,
    find_events,
    highest_windows,
    smoothed,
)


def written_out(scores, window, stride, own=None):
    """Score and maximum from the windows that cover each moment, one by one."""
    length = (len(scores) - 1) * stride + window
    score, maximum = np.full(length, np.nan), np.full(length, np.nan)
    for moment in range(length):
        covering = [i for i in range(len(scores)) if i * stride <= moment < i * stride + window]
        if covering:
            score[moment], maximum[moment] = np.mean(scores[covering]), np.max(scores[covering])
            if own is not None:
                mine = window * np.mean([own[i, moment - i * stride] for i in covering])
                score[moment] = np.sqrt(score[moment] * mine)
    return score, maximum


@pytest.mark.parametrize(
    ("length", "window", "stride"),
    [(30, 8, 1), (30, 8, 2), (30, 8, 3), (31, 7, 7), (40, 5, 9), (8, 8, 8), (8, 8, 1), (100, 64, 5)],
)
@pytest.mark.parametrize("by_row", [False, True])
def test_a_moment_has_the_mean_of_its_windows_and_with_what_it_contributes_the_geometric_mean_of_both(
    length, window, stride, by_row
):
    random = np.random.default_rng(length)
    count = (length - window) // stride + 1
    scores, own = by_moment(random.exponential(size=(count, window, 3)).astype(np.float32))
    own = own if by_row else None
    found = row_scores(scores, window, stride, own)
    expected = written_out(scores, window, stride, own)
    np.testing.assert_allclose(found.score, expected[0], rtol=1e-6)
    np.testing.assert_array_equal(found.maximum, expected[1].astype(np.float32))
    for block in (1, 3):  # the same bits, however the windows come
        again = row_scores(scores, window, stride, own, block)
        assert [part.tobytes() for part in again] == [part.tobytes() for part in found]


def test_a_fault_that_fills_a_window_evenly_gives_its_moments_the_score_of_the_window():
    scores, own = by_moment(np.full((20, 4, 2), 0.25, np.float32))
    assert scores.tolist() == [2.0] * 20 and row_scores(scores, 4, 1, own).score.tolist() == [2.0] * 23


def test_contributions_add_up_to_scores_and_one_that_is_not_finite_spoils_its_window_alone():
    contribution = np.random.default_rng(0).exponential(size=(4, 5, 3)).astype(np.float32)
    contribution[1, 2, 0], contribution[3, 0, 0] = np.nan, np.inf
    scores, own = by_moment(contribution)
    np.testing.assert_allclose(scores, contribution.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(own, contribution.sum(axis=2), rtol=1e-6)


@pytest.mark.parametrize("own", [None, np.full((20, 4), 0.25)])
def test_a_score_that_is_nan_or_infinite_stays_where_its_window_is(own):
    scores = np.ones(20, np.float32)
    scores[4], scores[14] = np.nan, np.inf
    found = row_scores(scores, 4, 1, own)
    assert np.flatnonzero(np.isnan(found.score)).tolist() == [4, 5, 6, 7]
    assert np.flatnonzero(np.isinf(found.score)).tolist() == [14, 15, 16, 17]
    assert (np.isnan(found.maximum) == np.isnan(found.score)).all()


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


def test_a_smoothed_event_reaches_from_the_first_flag_that_made_it_to_the_last():
    flags = np.array([0, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0], bool)
    (event,) = find_events(flags, np.arange(12.0), (3, 5))
    assert event == Event(1, 5, 4, 4.0)
    (event,) = find_events(flags, np.arange(12.0), (2, 4))
    assert event[:2] == (1, 5)
    # The flag at 4 belongs to the first event, though it is among those that make the second one.
    both = find_events(np.array([1, 1, 0, 0, 1, 0, 1, 1], bool), np.zeros(8), (3, 5))
    assert [event[:2] for event in both] == [(0, 5), (6, 8)]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6), st.integers(0, 6))
def test_smoothed_events_begin_and_end_at_a_flag_and_never_overlap(flags, least, more):
    odd = np.array(flags, bool)
    events = find_events(odd, np.ones(len(odd)), (least, least + more))
    assert all(odd[event.start] and odd[event.stop - 1] for event in events)
    assert all(before.stop <= event.start for before, event in itertools.pairwise(events))
    abnormal = smoothed(odd, least, least + more)
    assert np.count_nonzero(np.diff(np.concatenate(([0], abnormal))) == 1) == len(events)
    inside = np.zeros(len(odd), bool)
    for event in events:
        inside[event.start : event.stop] = True
    assert (inside | ~(abnormal & odd)).all()


@given(st.lists(st.booleans(), max_size=30), st.lists(st.booleans(), max_size=30))
def test_overlapped_stretches_are_those_that_share_a_moment(first, second):
    size = max(len(first), len(second))
    masks = [np.resize(np.array([*each, *[False] * (size - len(each))], bool), size) for each in (first, second)]
    stretches, events = (find_events(mask, np.zeros(size)) for mask in masks)
    assert count_overlapped(stretches, events) == sum(masks[1][each.start : each.stop].any() for each in stretches)


def test_the_window_behind_a_moment_is_the_highest_that_covers_it():
    # Windows of 4 with stride 2: window 2 covers moments 4 to 7.
    for scores, behind in (([1, 1, 7, 1, 9], [0, 2, 4]), ([1, 1, 7, np.nan, np.nan], [0, 2, 4])):
        found = highest_windows(np.array([0, 5, 11]), np.array(scores, np.float32), 4, 2)
        assert found.tolist() == behind
    found = highest_windows(np.array([6, 9]), np.array([7, np.nan, np.nan], np.float32), 4, 2, begin=2)
    assert found.tolist() == [3, 3]
    assert highest_windows(np.array([1, 3, 5]), np.ones(2), 2, 4).tolist() == [0, -1, 1]


def test_channels_share_the_score_and_what_is_not_finite_comes_first():
    contribution = np.array([[1, 0, 1], [3, 0, 1]], np.float32)
    assert channel_shares(contribution).tolist() == pytest.approx([4 / 6, 0, 2 / 6])
    assert channel_shares(contribution, 0, 1).tolist() == pytest.approx([0.5, 0, 0.5])
    contribution[0, 1] = np.nan
    assert channel_shares(contribution).tolist() == [0, 1, 0]
    assert channel_shares(np.zeros((2, 2))).tolist() == [0, 0]
