"""An old model and a new one on the same rows."""

import json

import click.testing
import numpy as np
import pytest

import aetool
from aetool.cli import main
from aetool.decisions import Goal, Requirement, calibrate, compare, requirements
from aetool.decisions._compare import _spread_of_change, kinds_of
from aetool.errors import InputError


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two bundles: one fitted to ten columns that belong together, one to noise in the place of one of them."""
    import torch
    from torch import nn

    from aetool.export import export_module

    random, weights = np.random.default_rng(0), np.random.default_rng(1).normal(size=(3, 10))

    def rows(count):
        return (random.normal(size=(count, 3)) @ weights + 0.3 * random.normal(size=(count, 10))).astype(
            np.float32
        )

    def network(values):
        axes = torch.from_numpy(np.linalg.svd(values, full_matrices=False)[2][:3])
        found = nn.Sequential(nn.Linear(10, 3, bias=False), nn.Linear(3, 10, bias=False))
        found.load_state_dict({"0.weight": axes, "1.weight": axes.T})
        return found.eval()

    known, normal, odd = rows(600), rows(300), rows(100)
    odd[:, 4] = random.permutation(odd[:, 4])
    spoilt = known.copy()
    spoilt[:, 4] = random.permutation(spoilt[:, 4])
    folder = tmp_path_factory.mktemp("pair")
    for name, values in (("whole", known), ("spoilt", spoilt)):
        export_module(network(values), folder / name, rows=values, names=[f"c{i}" for i in range(10)])
    return folder, np.concatenate([normal, odd]), np.repeat([False, True], [300, 100])


def test_a_bundle_does_not_differ_from_itself(exported, table):
    rows, labels = table
    found = compare(exported, exported, rows, labels)
    assert found.verdict == "no difference" and found.changed == 0 and found.rank_correlation == 1
    assert found.auroc_change == 0 and found.auroc_interval == (0, 0)
    assert found.old.one_row_s > 0 and found.new.rows_per_s > 0
    hopeless = np.full((3, 30), np.nan)
    assert compare(exported, exported, hopeless, timed=False).verdict == "no difference"


def test_a_model_that_knows_less_is_worse(pair):
    folder, rows, labels = pair
    found = compare(folder / "whole", folder / "spoilt", rows, labels, timed=False)
    assert found.verdict == "worse" and found.auroc_interval[1] < 0, found.sentence
    back = compare(folder / "spoilt", folder / "whole", rows, labels, timed=False)
    assert back.verdict == "better" and back.auroc_change == pytest.approx(-found.auroc_change)


def test_similar_rows_are_of_one_kind_and_anomalies_of_their_own():
    random = np.random.default_rng(0)
    centres = np.repeat(np.eye(8) * 30, 25, axis=0)
    rows = (centres + random.normal(size=centres.shape)).astype(np.float32)
    labels = np.repeat([False, True], 100)
    kinds = kinds_of(rows, labels)
    assert not set(kinds[labels]) & set(kinds[~labels])
    assert max(len(set(kinds[at : at + 25])) for at in range(0, 200, 25)) <= 4
    assert np.bincount(kinds).min() >= 12 and kinds.max() == 15
    with_gaps = np.where(random.random(rows.shape) < 0.2, np.nan, rows)
    assert kinds_of(with_gaps, labels).max() == kinds_of(rows[:, :0], labels).max() == 15


def test_a_change_on_rows_of_one_kind_is_less_sure_than_the_same_change_on_rows_of_every_kind():
    random = np.random.default_rng(0)
    labels, kinds = np.repeat([False, True], 320), np.repeat(np.arange(16), 40)
    score = random.normal(size=640) + labels
    of_one, of_every = score.copy(), score.copy()
    of_one[320:360] += 3
    of_every[320::8] += 3
    one, every = (_spread_of_change((score, other), labels, kinds) for other in (of_one, of_every))
    assert one > 2 * every
    assert _spread_of_change((score, score), labels, kinds) == 0


def test_decisions_that_change_are_named_with_the_highest_first(bundle, exported, normal):
    calibrate(bundle, normal, goal=Goal(false_alarms=0.2))
    found = compare(exported, bundle, normal, timed=False)
    score = aetool.load(exported).score(normal)
    old, new = found.old.threshold, found.new.threshold
    expected = np.flatnonzero((score > min(old, new)) & (score <= max(old, new)))
    assert found.verdict == "different" and len(expected) > 10
    assert found.now_flagged.tolist() == expected[np.argsort(-score[expected], kind="stable")].tolist()
    assert len(found.no_longer_flagged) == 0


def test_false_alarms_are_compared_at_the_recall_of_the_old_model(bundle, exported, table):
    rows, labels = table
    calibrate(bundle, rows, labels, goal=Goal(recall=0.99))
    found = compare(exported, bundle, rows, labels, timed=False)
    assert found.new.false_alarms > found.old.false_alarms
    assert found.new.false_alarms_at_recall == found.old.false_alarms_at_recall <= found.old.false_alarms


def test_other_columns_are_listed(exported, pair):
    with pytest.raises(InputError, match=r"the new one has no 'mean radius', .* and 25 more; the old one"):
        compare(exported, pair[0] / "whole", np.zeros((3, 30)))


def test_requirements_are_read_and_judged(exported, table):
    rows, labels = table
    found = compare(exported, exported, rows, labels)
    for text in ("auroc>=old-0.002, changed<=1%", "rank_correlation > 0.9", "bytes<=old*1.1", "one_row<=old*9"):
        assert [each.unmet(found) for each in requirements(text)] == [None] * len(requirements(text))
    assert "auroc is 0.9" in Requirement("auroc>old+1%").unmet(found)
    assert Requirement("bytes<old").unmet(found)
    unlabelled = compare(exported, exported, rows, timed=False)
    with pytest.raises(InputError, match="needs labels"):
        Requirement("auroc>=0.5").unmet(unlabelled)


@pytest.mark.parametrize("text", ["", "auroc", "auroc>=", "aroc>=0.5", "auroc>=old-", "auroc=0.5", "auroc>=1.2.3"])
def test_a_requirement_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match="requirement"):
        Requirement(text)


def test_the_command_writes_a_page_and_its_exit_code_says_whether_conditions_are_met(exported, bundle, tmp_path):
    samples = exported.parent / "samples.csv"
    run = click.testing.CliRunner().invoke
    given = ["--data", str(samples), "--label", "malignant", "--json"]
    calibrated = run(main, ["calibrate", str(bundle), *given, "--false-alarms", "20%"])
    assert calibrated.exit_code == 0, calibrated.output
    page = tmp_path / "page.html"
    compared = ["compare", str(exported), str(bundle), *given, "--keep", "id"]
    found = run(main, [*compared, "--require", "auroc>=old-0.002", "-o", str(page)])
    document = json.loads(found.stdout)
    assert found.exit_code == 0 and document["verdict"] == "no clear difference"
    text = page.read_text("utf-8")
    assert document["sentence"] in text and "Newly flagged" in text and 'class="dot s1"' in text
    found = run(main, [*compared, "--require", "changed<=0.1%"])
    assert found.exit_code == 3 and "changed<=0.1%" in json.loads(found.stdout)["unmet"][0]
