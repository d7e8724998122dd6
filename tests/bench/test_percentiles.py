"""What a set of latencies says, and no more than it can say."""

import math

import numpy as np
import pytest

from aetool.bench._statistics import BIN_FACTOR, MINIMUM_SAMPLES, histogram, latency_figures


def fewest(share):
    """The fewest samples of which at most one lies above a percentile with a probability of 1 % or less."""
    over, count = 1 - share, 1
    while share**count + count * over * share ** (count - 1) > 0.01:
        count += 1
    return count


@pytest.mark.parametrize(("name", "share"), [("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)])
def test_the_fewest_samples_are_those_of_loadgens_early_stopping(name, share):
    assert MINIMUM_SAMPLES[name] == fewest(share)


@pytest.mark.parametrize("name", ["p90", "p99", "p99.9"])
def test_a_percentile_of_too_few_samples_is_not_told(name):
    least = MINIMUM_SAMPLES[name]
    assert latency_figures(np.linspace(1, 2, least - 1))[name] is None
    assert latency_figures(np.linspace(1, 2, least))[name] is not None


def test_a_percentile_is_a_latency_that_was_measured():
    latencies = np.arange(1, 1001) / 1e6
    figures = latency_figures(latencies)
    assert (figures["p50"], figures["p90"], figures["p99"]) == (500e-6, 900e-6, 990e-6)


def test_no_outlier_is_left_out():
    latencies = np.array([1e-5] * 999 + [3.0])
    figures = latency_figures(latencies)
    assert figures["max"] == 3.0 and math.isclose(figures["mean"], latencies.mean())
    bins = histogram(latencies)
    assert sum(bins.counts) == 1000 and bins.counts[-1] == 1 and bins.edges_s[-1] == 3.0


@pytest.mark.parametrize("latencies", [[1e-6], [0.0, 1e-3], [5e-5] * 100, [1e-7, 1e2]])
def test_every_sample_is_in_the_histogram(latencies):
    bins = histogram(np.array(latencies))
    assert sum(bins.counts) == len(latencies)
    assert len(bins.edges_s) == len(bins.counts) + 1
    steps = np.diff(np.log(bins.edges_s))
    assert np.allclose(steps, steps[0]) and 0 < steps[0] <= math.log(BIN_FACTOR) * 1.001


def test_an_outlier_does_not_blur_the_rest():
    bins = histogram(np.array([1e-5, 1.1e-5, 1.2e-5, 1.3e-5, 1.0]))
    assert sorted(bins.counts, reverse=True)[:5] == [1] * 5
