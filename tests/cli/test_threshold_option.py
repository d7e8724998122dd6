"""`--threshold`: another decision without another export."""

import json

import pytest


def test_score_counts_anomalies_above_the_given_threshold(aetool, made):
    found = json.loads(aetool("score", made / "bundle", made / "new.csv", "--threshold", "0.2", "--json").stdout)
    assert found["threshold"] == pytest.approx(0.2)
    assert found["anomalies"] == sum(score > 0.2 for score in found["data"]["score"])
    assert found["data"]["is_anomaly"] == [score > 0.2 for score in found["data"]["score"]]


def test_a_streamed_run_uses_the_given_threshold(aetool, made, tmp_path):
    given = (made / "bundle", made / "new.csv", "-o", tmp_path / "out", "--threshold", "0.2", "--json")
    assert json.loads(aetool("score", *given).stdout)["threshold"] == pytest.approx(0.2)
    resumed = aetool("score", *given[:-2], "0.3", "--resume")
    assert resumed.exit_code == 1 and "--overwrite" in resumed.stderr


def test_evaluate_and_report_use_the_given_threshold(aetool, made, tmp_path):
    given = (made / "new.csv", "--label", "broken", "--threshold", "inf")
    assert json.loads(aetool("evaluate", made / "bundle", *given, "--json").stdout)["flagged"] == 0
    page = aetool("report", made / "bundle", "--threshold", "0.2", "-o", tmp_path / "page.html")
    assert page.exit_code == 0 and "0.2" in (tmp_path / "page.html").read_text("utf-8")


def test_a_threshold_that_is_no_number_is_a_usage_error(aetool, made):
    for text in ("nan", "high"):
        refused = aetool("score", made / "bundle", made / "new.csv", "--threshold", text)
        assert refused.exit_code == 2 and "expected a number" in refused.stderr
