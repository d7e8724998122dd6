"""`aetool calibrate` and what follows from it on the command line."""

import json
import shutil

import pytest


@pytest.fixture
def bundle(made, tmp_path):
    return shutil.copytree(made / "bundle", tmp_path / "bundle")


@pytest.fixture
def normal(made, tmp_path):
    """The normal rows of train.csv."""
    path = tmp_path / "normal.csv"
    lines = (made / "train.csv").read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.endswith(",1\n")), "utf-8")
    return path


def test_it_says_how_sure_the_rate_is_and_how_many_rows_would_do(aetool, bundle, normal):
    shown = aetool("calibrate", bundle, "--data", normal, "--false-alarms", "5%")
    assert shown.exit_code == 0, shown.output
    assert "of 270 normal rows (95 %: " in shown.stdout
    assert "408 normal rows narrow that to about 2.5% to 7.5%" in shown.stdout
    assert "p-values           from 270 scores of normal rows" in shown.stdout


def test_the_new_bundle_is_written_beside_the_old_one_or_in_its_place(aetool, bundle, normal, tmp_path):
    before = (bundle / "manifest.json").read_bytes()
    given = ("calibrate", bundle, "--data", normal, "--false-alarms", "5%")
    assert aetool(*given, "-o", tmp_path / "new").exit_code == 0
    assert (bundle / "manifest.json").read_bytes() == before
    again = aetool(*given, "-o", tmp_path / "new")
    assert again.exit_code == 1 and "--overwrite" in again.stderr
    assert aetool(*given).exit_code == 0
    assert (bundle / "manifest.json").read_bytes() != before


def test_a_signature_is_asked_for_again(aetool, bundle, tmp_path):
    assert aetool("keygen", "-o", tmp_path / "key.pem").exit_code == 0
    assert aetool("sign", bundle, "--private-key", tmp_path / "key.pem").exit_code == 0
    made = aetool("calibrate", bundle, "--threshold", "0.3", "--json")
    assert json.loads(made.stdout)["was_signed"] and "aetool sign" in made.stderr
    assert not (bundle / "signature.json").exists()
    assert aetool("verify", bundle).exit_code == 0


def test_p_values_are_a_column_and_fdr_decides_all_rows(aetool, bundle, made, normal):
    assert aetool("calibrate", bundle, "--data", normal, "--false-alarms", "5%").exit_code == 0
    found = json.loads(aetool("score", bundle, made / "new.csv", "--p-value", "--fdr", "10%", "--json").stdout)
    assert found["columns"] == ["score", "is_anomaly", "p_value"] and "0.1" in found["rule"]
    flagged = [p for p, odd in zip(found["data"]["p_value"], found["data"]["is_anomaly"], strict=True) if odd]
    passed = [p for p, odd in zip(found["data"]["p_value"], found["data"]["is_anomaly"], strict=True) if not odd]
    assert len(flagged) >= 5 and max(flagged) < min(passed)


def test_rows_that_drifted_are_told_that_the_calibration_is_void(aetool, bundle, made, normal, tmp_path):
    assert aetool("calibrate", bundle, "--data", normal, "--false-alarms", "5%").exit_code == 0
    header, *lines = normal.read_text("utf-8").splitlines()
    cells = [line.split(",") for line in lines]
    moved = [",".join([row[0], str(float(row[1]) + 5), *row[2:]]) for row in cells]
    (tmp_path / "moved.csv").write_text("\n".join([header, *moved]) + "\n", "utf-8")
    for words in (
        ("score", bundle, tmp_path / "moved.csv", "--p-value"),
        ("drift", bundle, "--data", tmp_path / "moved.csv"),
    ):
        assert "do not hold for" in aetool(*words).stderr
    assert "do not hold for" not in aetool("score", bundle, normal, "--p-value").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one goal"),
        (("--false-alarms", "1%", "--recall", "90%"), "give one goal"),
        (("--cost-miss", "5"), "go together"),
        (("--false-alarms", "1%"), "give --data"),
        (("--threshold", "nan"), "expected a number"),
    ],
)
def test_a_goal_that_is_none_is_a_usage_error(aetool, made, words, message):
    refused = aetool("calibrate", made / "bundle", *words)
    assert refused.exit_code == 2 and message in refused.stderr


def test_other_columns_are_refused_by_name(aetool, made, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    refused = aetool("calibrate", made / "bundle", "--data", tmp_path / "other.csv", "--false-alarms", "5%")
    assert refused.exit_code == 1 and "weight" in refused.stderr
