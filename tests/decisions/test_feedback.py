"""What rows turned out to be, and what that says about the threshold."""

import json

import click.testing
import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.cli import main
from aetool.decisions import Goal, feedback
from aetool.errors import InputError


@pytest.fixture
def run(bundle, tmp_path):
    """Run `aetool feedback` on the copied bundle."""

    def invoke(*arguments):
        given = ["feedback", bundle, *arguments, "--label", "malignant", "--json"]
        found = click.testing.CliRunner().invoke(main, list(map(str, given)))
        return found.exit_code, json.loads(found.stdout), found.stderr

    return invoke


def test_false_alarms_and_misses_are_named_with_their_causes(bundle, table):
    rows, labels = table
    found = feedback(bundle, rows, labels)
    with aetool.load(bundle) as model:
        score, flagged = model.score(rows), model.detect(rows)
        first = model.reasons(rows[found.false_alarms[0]], 1)[0][0]
    assert sorted(found.false_alarms.tolist()) == np.flatnonzero(flagged & ~labels).tolist()
    assert found.false_alarms[0] == np.flatnonzero(~labels)[score[~labels].argmax()]
    assert sorted(found.missed.tolist()) == np.flatnonzero(~flagged & labels).tolist()
    assert found.causes[first.feature] >= 1 and sum(found.causes.values()) == len(found.false_alarms)
    assert not found.only_flagged and found.published is None


def test_the_labels_imply_thresholds(bundle, table):
    rows, labels = table
    found = feedback(bundle, rows, labels)
    score = aetool.load(bundle).score(rows)
    wrong, discoveries, recall = found.proposals
    errors = [np.sum((score > each) == ~labels) for each in score]
    assert np.sum((score > wrong.threshold) == ~labels) == min(errors)
    assert np.mean(~labels[score > discoveries.threshold]) <= 0.1
    assert np.mean(score[labels] > recall.threshold) >= 0.95


def test_a_goal_moves_the_threshold_and_leaves_the_p_values(bundle, table):
    rows, labels = table
    before = aetool.load(bundle).p_value(rows)
    found = feedback(bundle, rows, labels, goal=Goal(fdr=0.05), source="tickets.csv")
    with aetool.load(bundle) as model:
        assert model.threshold == found.published.bundle.variant("fp32").threshold
        assert np.mean(~labels[model.detect(rows)]) <= 0.05
        assert np.array_equal(model.p_value(rows), before)
        told = model.manifest.calibration
    assert told["feedback"]["data"] == "tickets.csv" and told["goal"] == {"fdr": 0.05}


def test_labels_of_flagged_rows_alone_only_raise_the_threshold(bundle, table):
    rows, labels = table
    with aetool.load(bundle) as model:
        flagged = model.detect(rows)
        before = model.threshold
    found = feedback(bundle, rows[flagged], labels[flagged], goal=Goal(costs=(1, 1000)))
    assert found.only_flagged and found.published.bundle.variant("fp32").threshold == before
    for goal in (Goal(false_alarms=0.01), Goal(recall=0.9)):
        with pytest.raises(InputError, match="all of these rows were flagged"):
            feedback(bundle, rows[flagged], labels[flagged], goal=goal)


def test_labels_come_by_id_too(run, exported, tmp_path):
    samples = exported.parent / "samples.csv"
    lines = samples.read_text().splitlines()
    names = lines[0].split(",")
    cells = [line.split(",") for line in lines[1:]]
    place, truth = names.index("id"), names.index("malignant")
    chosen = cells[:80]
    labels = tmp_path / "tickets.csv"
    labels.write_text("id,malignant\n" + "".join(f"{row[place]},{row[truth]}\n" for row in chosen) + "99999,1\n")
    code, by_id, stderr = run(labels, "--data", samples, "--id", "id")
    assert code == 0 and "1 of 81 ids of tickets.csv are not in samples.csv" in stderr
    whole = tmp_path / "rows.csv"
    whole.write_text("\n".join([lines[0], *lines[1:81]]) + "\n")
    _, by_row, _ = run(whole, "--keep", "id")
    assert by_id["rows"] == 80 and by_id["false_alarm_rows"] == by_row["false_alarm_rows"]
    assert by_id["flagged_normal"] == by_row["flagged_normal"] and by_id["false_alarm_rows"]["why_1"]


def test_the_command_publishes_with_a_goal_and_writes_the_false_alarms(run, bundle, exported, tmp_path):
    samples = exported.parent / "samples.csv"
    code, found, _ = run(samples, "--fdr", "5%", "-o", tmp_path / "alarms.csv", "--to", tmp_path / "new")
    assert code == 0 and found["new_threshold"] == Bundle.open_whole(tmp_path / "new").variant("fp32").threshold
    assert Bundle.open(bundle).manifest.calibration == {}
    header, *lines = (tmp_path / "alarms.csv").read_text().splitlines()
    assert header.startswith("row,score,why_1,") and len(lines) == len(found["false_alarm_rows"]["row"])
