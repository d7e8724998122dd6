"""The command line on a log: from rows with a time and a machine to windows, scores and a report."""

import json
import re
import shutil

import click.testing
import numpy as np
import pyarrow.parquet as pq
import pytest

import aetool as aetool_package
from aetool.bundle.bundle import Bundle
from aetool.bundle.write import publish
from aetool.cli import main
from aetool.stream.logs import normal_row_scores
from aetool.tables.windows import Log, read_windows

WINDOW, STRIDE = 16, 4


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two machines, 700 rows each, a second apart; a gap of an hour; rows 600 to 620 of the second are worn."""
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    lines = ["time,machine,state,flow,heat"]
    for second in range(700):
        clock = np.datetime64("2026-03-01T08:00:00") + second + (3600 if second >= 350 else 0)
        for machine in ("press", "pump"):
            is_worn = machine == "pump" and 600 <= second < 620
            flow = np.sin(second / 4) + (3 if is_worn else 0)
            state = "worn" if is_worn else "ok"
            lines.append(
                f"{str(clock).replace('T', ' ')},{machine},{state},{flow:.4f},{20 + np.cos(second / 4):.4f}"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(log, tmp_path_factory):
    """(what train said, the bundle)"""
    folder, run = tmp_path_factory.mktemp("bundles"), click.testing.CliRunner().invoke
    cut = ["--window", str(WINDOW), "--stride", str(STRIDE), "--time", "time", "--group", "machine"]
    rest = ["--label", "state", "--epochs", "8", "-o", str(folder / "checkpoint"), "--json"]
    result = run(main, ["train", str(log), *cut, *rest])
    assert result.exit_code == 0, result.output
    exported = run(main, ["export", str(folder / "checkpoint"), "-o", str(folder / "bundle")])
    assert exported.exit_code == 0, exported.output
    return json.loads(result.stdout), result.stderr, folder / "bundle"


def test_prototypes_of_wide_windows_are_refused_with_the_largest_that_have_some(log, tmp_path):
    command = ["train", str(log), "--window", "200", "--time", "time", "--group", "machine", "--label", "state"]
    result = click.testing.CliRunner().invoke(
        main, [*command, "--score", "prototypes", "-o", str(tmp_path / "checkpoint")]
    )
    assert result.exit_code == 2 and not (tmp_path / "checkpoint").exists()
    assert "windows of up to 256 numbers; 200 rows of 2 channels are 400" in " ".join(result.output.split())


def test_training_tells_how_the_log_was_cut(trained):
    document, said, _ = trained
    assert document["features"] == ["flow", "heat"]
    assert document["series"] == {
        "window": WINDOW,
        "stride": STRIDE,
        "every": None,
        "time": "time",
        "group": "machine",
        "gap": 5.0,
    }
    assert (document["rows"], document["runs"]) == (1400, 4)
    assert document["rows_labelled_anomalous"] == 20 + WINDOW - 1
    assert "2 gaps in time; no window crosses one" in said


def test_scores_of_a_log_have_a_row_for_each_window(aetool, log, trained, tmp_path):
    result = aetool("score", trained[2], log, "-o", tmp_path / "scores.parquet", "--json")
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    assert list(table) == ["group", "start", "end", "score", "is_anomaly"]
    assert len(table["start"]) == 4 * ((350 - WINDOW) // STRIDE + 1) == json.loads(result.stdout)["rows"]
    flagged = [i for i, is_odd in enumerate(table["is_anomaly"]) if is_odd and table["group"][i] == "pump"]
    worst = int(np.argmax(table["score"]))
    assert worst in flagged and table["group"][worst] == "pump"
    assert (
        str(table["start"][worst]) <= "2026-03-01 09:10:20" and str(table["end"][worst]) >= "2026-03-01 09:10:00"
    )
    assert {(end - start).seconds for start, end in zip(table["start"], table["end"], strict=True)} == {WINDOW - 1}


def test_the_worst_windows_are_explained_by_channel(aetool, log, trained):
    result = aetool("score", trained[2], log, "--top", 2, "--explain", 1)
    header, first, _ = result.stdout.splitlines()
    assert header == "group,start,end,score,is_anomaly,why_1,why_1_share,why_1_expected,why_1_found"
    assert re.match(r'"pump","2026-03-01 09:[01]\d:\d\d","2026-03-01 09:[01]\d:\d\d",[\d.]+,true,"flow"', first)


def test_a_log_is_evaluated_verified_and_calibrated(aetool, log, trained, tmp_path):
    evaluated = json.loads(aetool("evaluate", trained[2], log, "--label", "state", "--json").stdout)
    assert evaluated["anomalies"] == 9 and evaluated["auroc"] > 0.99
    found = evaluated["events"]
    assert (found["findings"], found["found"]) == (1, 1) and 0 <= found["after_median"] <= WINDOW + 20
    # Events by their default, alerts by that of aetool watch.
    assert (found["smooth"], found["alert_smooth"]) == ([3, 5], None)
    smoothed = aetool("evaluate", trained[2], log, "--label", "state", "--smooth", "3/5")
    said = " ".join(smoothed.stdout.split())
    assert "1 of 1 findings found" in said, smoothed.output
    assert "smoothing 3 of the last 5 rows for events, 3 of the last 5 scores for alerts" in said
    refused = aetool("evaluate", trained[2], log, "--smooth", "3/5")
    assert refused.exit_code == 2 and "give --label" in refused.output
    before = json.loads(
        aetool("evaluate", trained[2].parent / "checkpoint", log, "--label", "state", "--json").stdout
    )
    assert before["anomalies"] == 9 and before["auroc"] == pytest.approx(evaluated["auroc"])
    assert json.loads(aetool("verify", trained[2], "--data", log, "--json").stdout)["passed"] is True
    goal = "--label", "state", "--false-alarms", "5%"
    calibrated = aetool("calibrate", trained[2], "--data", log, *goal, "-o", tmp_path / "calibrated")
    assert calibrated.exit_code == 0, calibrated.output


def flagged_shares(bundle, log, threshold=None):
    """Shares of windows and of rows above their thresholds, of those without a labelled row."""
    with aetool_package.load(bundle, provider="cpu") as model:
        read = Log(log, model.manifest.series, model.feature_names, label="state")
        windows = read_windows(read).table
        rows, limit = normal_row_scores(model, read), model.row_threshold
        return float(model.detect(windows.values[~windows.labels]).mean()), float((rows > limit).mean())


def test_calibration_leaves_the_same_share_of_rows_flagged_as_of_windows(aetool, log, trained, tmp_path):
    before = Bundle.open(trained[2]).manifest
    assert before.series.row_threshold is not None
    made = [tmp_path / "by rows", tmp_path / "given", tmp_path / "in proportion"]
    goal = "--data", log, "--label", "state", "--false-alarms", "20%"
    assert aetool("calibrate", trained[2], *goal, "-o", made[0]).exit_code == 0
    assert flagged_shares(made[0], log) == pytest.approx((0.2, 0.2), abs=0.01)
    # A number alone goes by the rows that the bundle keeps: now those of this log.
    higher = 1.05 * Bundle.open(made[0]).manifest.variants["fp32"].threshold
    assert aetool("calibrate", made[0], "--threshold", higher, "-o", made[1]).exit_code == 0
    of_windows, of_rows = flagged_shares(made[1], log)
    assert of_windows < 0.19 and of_rows == pytest.approx(of_windows, abs=0.01)
    # And where it keeps none, both move by the same factor.
    known = json.loads((made[1] / "baseline.json").read_text())
    assert known.pop("row_scores")
    without = Bundle.open(shutil.copytree(made[1], tmp_path / "without"))
    files = {name: without.read(name) for name in without.manifest.files}
    publish(without.path, without.manifest, {**files, "baseline.json": json.dumps(known).encode()}, overwrite=True)
    assert aetool("calibrate", without.path, "--threshold", 2 * higher, "-o", made[2]).exit_code == 0
    series = [Bundle.open(path).manifest.series for path in made[1:]]
    assert series[1].row_threshold == pytest.approx(2 * series[0].row_threshold)
    ids = {before.id, *(Bundle.open(path).manifest.id for path in made)}
    assert len(ids) == 4


def test_the_page_draws_the_log_with_what_was_flagged(aetool, log, trained, tmp_path):
    page = tmp_path / "page.html"
    options = "--data", log, "--label", "state"
    result = aetool("report", trained[2], *options, "-o", page)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    signal = text[text.index('id="signal"') : text.index('id="windows"')]
    assert "pump: 168 windows from 2026-03-01 08:00:00" in signal
    assert re.search(
        r"3 of the last 5 rows are above the threshold of rows, [\d.]+; the score of a row is that", text
    )
    refused = aetool("report", trained[2], "--smooth", "3/5", "-o", tmp_path / "other.html")
    assert refused.exit_code == 2 and "--smooth is for a log" in refused.output
    listed = aetool("score", trained[2], log, "--events", "--json")
    assert f"{json.loads(listed.stdout)['events']} event" in text
    assert re.findall(r'aria-label="(\w+) over time', signal) == ["score", "flow", "heat"]
    assert 'class="odd"' in signal  # the stretch that is flagged
    worn = re.findall(r"<title>flow, 2026-03-01 09:(\d\d):\d\d: 100% of the threshold", signal)
    assert worn and set(worn) <= {"09", "10"}  # worn from 09:10:00 to 09:10:19


def test_windows_in_an_array_are_still_rows(aetool, trained, tmp_path):
    np.save(tmp_path / "windows.npy", np.zeros((3, WINDOW, 2), np.float32))
    result = aetool("score", trained[2], tmp_path / "windows.npy")
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--time", "time"), "not numbers: column"),
        (("--time", "time", "--drop", "machine"), "have the time of the row before; name the column that tells"),
        (("--time", "when", "--group", "machine"), "when"),
        (("--every", "1s"), "--every needs --time"),
        (("--label-share", "50%"), "--label-share needs --label"),
        (("--categorical", "machine"), "--categorical is for tables"),
        (("--group", "machine", "--window", 0), "0 is not in the range"),
        (("--group", "machine", "--stride", 0), "0 is not in the range"),
        (("--time", "time", "--group", "machine", "--window", 351), "the longest of 4 runs has 350 rows"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_words(aetool, log, tmp_path, options, told):
    drop = ("--drop", "state") if "--label" not in options else ()
    result = aetool("train", log, "--window", WINDOW, *options, *drop, "-o", tmp_path / "checkpoint")
    assert result.exit_code in (1, 2) and told in result.output
    assert not (tmp_path / "checkpoint").exists()


@pytest.fixture(scope="module")
def shifts(tmp_path_factory):
    """A log in German notation, of which no column is named yet."""
    path = tmp_path_factory.mktemp("logs") / "shifts.csv"
    lines = ["Zeit;Maschine;Zustand;Strom;Befund"]
    for minute in range(60):
        for machine in ("press-1", "press-2"):
            state, found = ("idle", "run")[minute % 7 > 2], ("ok", "fault")[minute == 50]
            lines.append(f"01.03.2026 06:{minute:02};{machine};{state};{minute % 9},5;{found}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_options_that_name_a_logs_columns_are_offered_by_what_these_hold(aetool, shifts, tmp_path):
    named = "--time Zeit --group Maschine --label Befund"
    say = lambda *options: " ".join(aetool("train", shifts, "-o", tmp_path / "c", *options).stderr.split())  # noqa: E731
    assert f"try {named} --drop Zustand" in say("--window", 8)
    assert f"looks like a log; a model of how its rows follow one another: --window 32 {named}" in say()
    # Who obeys "no text" must not get windows of mixed machines.
    silent = say("--window", 8, "--drop", "Maschine,Zustand,Befund")
    assert "'Zeit' holds times" in silent and f"try {named}, or --drop Zeit" in silent
    assert f"try {named}" in say("--window", 8, "--time", "Zeit", "--drop", "Maschine,Zustand")
    assert not (tmp_path / "c").exists()


def test_windows_in_the_order_of_rows_alone_are_trained_with_a_warning(aetool, shifts, tmp_path):
    drop = "--drop", "Zeit,Maschine,Zustand,Befund"
    result = aetool("train", shifts, "--window", 8, *drop, "--epochs", 1, "-o", tmp_path / "checkpoint")
    assert result.exit_code == 0, result.output
    assert "without --time Zeit, windows cross gaps, and rows of several machines" in " ".join(
        result.stderr.split()
    )


@pytest.mark.parametrize(
    "options", [("--time", "t"), ("--stride", 2), ("--every", "1s"), ("--sort",), ("--architecture", "conv")]
)
def test_options_of_a_log_need_a_window(aetool, log, tmp_path, options):
    result = aetool("train", log, *options, "-o", tmp_path / "checkpoint")
    assert result.exit_code == 2 and "give --window too" in result.output


def test_impute_last_needs_a_window(aetool, log):
    result = aetool("train", log, "--impute", "last")
    assert result.exit_code == 2 and "--impute last is for the windows of a log" in result.output


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ("reconstruct", (), "a log has no one reconstruction"),
        ("score", ("--keep", "state"), "--keep state copies a cell of a row, and a window or an event has many"),
        ("score", ("--events", "--keep", "state"), "--keep state copies a cell of a row"),
        ("feedback", ("--label", "state", "--keep", "time"), "--keep time copies a cell of a row"),
        ("feedback", ("--label", "state", "--data", "{log}", "--id", "time"), "--id is for tables"),
        ("score", ("--fdr", "5%"), "--fdr is for tables"),
        ("score", ("-o", "scores"), "a log's windows go into one file"),
    ],
)
def test_what_windows_of_a_log_have_not_is_refused(aetool, log, trained, command, options, told):
    result = aetool(command, trained[2], log, *(str(option).format(log=log) for option in options))
    assert result.exit_code == 2 and told in " ".join(result.output.split())


def test_false_alarms_of_a_log_are_listed_with_their_channels(aetool, log, trained, tmp_path):
    goal = "--threshold", "0.0001"  # every window is flagged
    low = aetool("calibrate", trained[2], *goal, "-o", tmp_path / "low")
    assert low.exit_code == 0, low.output
    result = aetool("feedback", tmp_path / "low", log, "--label", "state", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["causes"]) <= {"flow", "heat"}


def test_a_comparison_needs_labels_of_both_kinds(aetool, log, trained, tmp_path):
    normal = tmp_path / "normal.csv"
    normal.write_text(log.read_text().replace(",worn,", ",ok,"))
    result = aetool("compare", trained[2], trained[2], "--data", normal, "--label", "state")
    assert result.exit_code == 1 and "no row is labelled an anomaly" in result.output


def test_rows_of_training_are_no_measure_of_false_alarms(aetool, log, trained, tmp_path):
    again = aetool(
        "calibrate", trained[2], "--data", log, "--label", "state", "--false-alarms", "5%", "-o", tmp_path / "b"
    )
    assert "log.csv, if it is the log of training" in again.stderr and "give others" in " ".join(
        again.stderr.split()
    )


def test_a_file_of_events_tells_their_number_alone(aetool, log, trained, tmp_path):
    said = aetool("score", trained[2], log, "--events", "-o", tmp_path / "events.csv").stdout
    assert re.search(r"^events +\d", said, re.MULTILINE) and not re.search(r"^rows", said, re.MULTILINE)
