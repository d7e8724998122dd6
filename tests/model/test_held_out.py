"""What a threshold is chosen from: the rows held out, and where they are few those trained on as if held out."""

import dataclasses

import numpy as np
import pytest
import torch

from aetool.checks.binomial import expected_counts
from aetool.export.threshold import choose_threshold
from aetool.model import TrainingConfig, _held_out, load_checkpoint, save_checkpoint, train
from aetool.model._held_out import as_if_held_out
from aetool.tables import table_from_columns

QUICK = TrainingConfig(epochs=20)


def heavy_tailed(rows, seed):
    random = np.random.default_rng(seed)
    return random.standard_t(4, (rows, 3)) @ random.normal(size=(3, 5)) + 0.3 * random.standard_t(4, (rows, 5))


def trained_on(rows, training=QUICK):
    return train(table_from_columns({f"c{i}": column for i, column in enumerate(rows.T)}, source="x"), training)


@pytest.fixture(scope="module")
def trained():
    return trained_on(heavy_tailed(500, 1))


def held_out_places(rows):
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(QUICK.seed)).numpy()
    return order[: QUICK.held_out_of(rows)]


def test_odd_rows_among_few_held_out_do_not_set_the_threshold(trained):
    rows = heavy_tailed(500, 1)
    rows[held_out_places(500)[:2]] *= 40
    odd = trained_on(rows)
    before, after = (choose_threshold(one.held_out.all_scores, None, None).value for one in (trained, odd))
    assert after < 2 * before
    assert choose_threshold(odd.held_out.scores, None, None).value > 50 * before


def test_fresh_normal_rows_are_flagged_as_often_as_an_exact_interval_allows():
    for seed in range(3):
        rows = heavy_tailed(3000, seed)
        found = trained_on(rows[:400])
        threshold = choose_threshold(found.held_out.all_scores, 0.05, None).value
        low, high = expected_counts(20, 400, 2600)
        assert low <= np.sum(found.score(rows[400:]) > threshold) <= high


def test_rows_trained_on_are_scored_by_prototypes_that_did_not_see_them(trained, monkeypatch):
    rows = heavy_tailed(60, 1)
    standardised = ((rows - trained.statistics.mean) / trained.statistics.scale).astype(np.float32)
    # Every row a prototype: only one that did not see the row is at a distance from it.
    monkeypatch.setattr(_held_out, "learn_prototypes", lambda rows, seed: rows)
    found = _held_out._cross_fitted(trained.pipeline(torch.float64), rows, standardised, 0)
    alone = dataclasses.replace(trained, prototypes=None).evaluate(rows)["score"]
    near = np.sort(np.sum((standardised[:, None] - standardised) ** 2, axis=2), axis=1)[:, 1] / 5
    assert (found - alone >= 0.999 * near).all()


def test_together_they_are_the_scores_of_all_rows_on_one_scale(trained):
    others, scores = trained.held_out.others, trained.held_out.scores
    assert len(others) + len(scores) == 500
    np.testing.assert_array_equal(trained.held_out.all_scores, np.sort([*others, *scores]))
    assert np.median(others) == pytest.approx(np.median(scores), rel=0.25)


def test_scores_of_rows_trained_on_are_raised_to_those_of_others_and_never_lowered():
    seen = np.array([4.0, 2.0, np.nan, 1.0, 3.0])
    np.testing.assert_allclose(as_if_held_out(seen, 10 * seen[[0, 1, 3, 4]]), [10, 20, 30, 40])
    np.testing.assert_allclose(as_if_held_out(seen, seen[[0, 1, 3, 4]] / 10), [1, 2, 3, 4])
    assert len(as_if_held_out(np.zeros(5), seen[:2])) == len(as_if_held_out(seen, np.empty(0))) == 0


def test_a_thousand_rows_held_out_need_no_others():
    found = trained_on(heavy_tailed(2000, 0), TrainingConfig(epochs=1, validation_fraction=0.5))
    assert found.held_out.others is None and len(found.held_out.all_scores) == 1000


def test_the_reconstruction_alone_is_judged_by_rows_held_out_alone():
    found = trained_on(heavy_tailed(100, 0), TrainingConfig(epochs=1, score="reconstruction"))
    assert found.held_out.others is None


def test_a_checkpoint_keeps_them_and_does_without(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "new")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "new").held_out.others, trained.held_out.others)
    old = dataclasses.replace(trained, held_out=dataclasses.replace(trained.held_out, others=None))
    save_checkpoint(old, tmp_path / "old")
    assert load_checkpoint(tmp_path / "old").held_out.others is None
