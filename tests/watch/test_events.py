"""`aetool score --events` and `--moments`: a score for each row of a log, and the stretches that are abnormal."""

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from series_bundles import row_scores, waves, with_row_threshold

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import MANIFEST
from aetool.cli import main
from aetool.stream import logs


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two groups with a gap in one and a fault in the other."""
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    samples = {"a": waves(50, 3, 0), "b": waves(60, 3, 1)}
    samples["b"][30:36] *= 8
    lines = ["time,machine,c0,c1,c2"]
    for t in range(90):
        for group, first in (("a", 40), ("b", 0)):
            at = t - 30 if group == "a" and t >= first else t
            if at < len(samples[group]) and not (group == "a" and 20 <= t < 50):
                lines.append(f"{t},{group},{','.join(map(str, samples[group][at]))}")
    path.write_text("\n".join(lines) + "\n")
    return path, samples


def score(bundle, log, *options):
    done = CliRunner().invoke(main, ["score", str(bundle), str(log), *options])
    return done, list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.fixture(scope="module")
def by_row(series, tmp_path_factory):
    """The bundle with a threshold for rows, higher than that for windows."""
    return with_row_threshold(series, tmp_path_factory.mktemp("bundles") / "by_row", 5.0)


@pytest.mark.parametrize("kind", ["series", "by_row"])
def test_each_row_is_scored_by_the_windows_that_cover_it_and_none_crosses_a_gap(kind, log, request):
    bundle, (path, samples) = request.getfixturevalue(kind), log
    done, rows = score(bundle, path, "--moments")
    assert done.exit_code == 0, done.stderr
    runs = [("a", samples["a"][:20]), ("a", samples["a"][20:]), ("b", samples["b"])]
    with aetool.load(bundle, provider="native") as model:
        assert model.row_threshold == (5.0 if kind == "by_row" else model.threshold)
        for number, (group, run) in enumerate(runs):
            views = np.ascontiguousarray(
                np.lib.stride_tricks.sliding_window_view(run, 8, axis=0)[::2].transpose(0, 2, 1)
            )
            scores, own = model.score(views), None
            if kind == "by_row":
                own = model.explain(views).contribution.sum(axis=2, dtype=np.float64)
            expected = row_scores(scores, 8, 2, own)
            length = len(expected.score)
            begin = {0: 0, 1: 50, 2: 0}[number]
            mine = [row for row in rows if row["group"] == group and begin <= float(row["time"]) < begin + length]
            assert len(mine) == length
            np.testing.assert_allclose([float(row["score"]) for row in mine], expected.score, rtol=1e-5)
            np.testing.assert_allclose([float(row["highest"]) for row in mine], expected.maximum, rtol=1e-5)
            flags = [row["is_anomaly"] == "true" for row in mine]
            assert flags == (expected.score > model.row_threshold).tolist()


def test_what_a_row_contributes_makes_an_event_begin_and_end_with_its_fault(series, by_row, log):
    alone = "--events", "--smooth", "1/1"
    (before,), (after,) = (score(bundle, log[0], *alone)[1] for bundle in (series, by_row))
    assert int(after["rows"]) < int(before["rows"])
    assert float(after["start"]) == 30 and float(after["end"]) == 35
    assert after["channel_1"] == before["channel_1"] and float(after["channel_1_share"]) > 0.3


@pytest.mark.parametrize("block", [1, 3, 50])
def test_rows_and_channels_do_not_depend_on_how_many_windows_are_computed_together(
    by_row, log, block, monkeypatch
):
    options = "--events", "--smooth", "1/1", "--provider", "native", "--threshold", "0.6"
    expected = score(by_row, log[0], *options)[1]
    assert len(expected) > 3 and all(event["channel_1"] for event in expected)
    monkeypatch.setattr(logs, "_NUMBERS", block * 8 * 3)
    assert score(by_row, log[0], *options)[1] == expected


def test_a_threshold_given_decides_about_rows_too(by_row, log):
    _, rows = score(by_row, log[0], "--moments", "--threshold", "0.1")
    flags = [row["is_anomaly"] == "true" for row in rows]
    assert flags == [float(row["score"]) > 0.1 for row in rows] and any(flags)


def test_the_threshold_of_rows_moves_with_that_of_windows_in_another_precision(by_row, tmp_path):
    copy = shutil.copytree(by_row, tmp_path / "copy")
    manifest = json.loads((copy / MANIFEST).read_text())
    exact = manifest["variants"]["fp32"]
    manifest["variants"]["int8"] = {**exact, "threshold": 2 * exact["threshold"]}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    found = Bundle.open(copy).manifest
    assert found.row_threshold("fp32") == 5.0 and found.row_threshold("int8") == 10.0
    lacking = {name: file for name, file in exact["files"].items() if name != "explainer"}
    manifest["variants"]["fp32"] = {**exact, "files": lacking}
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert Bundle.open(copy).manifest.row_threshold("fp32") is None


def test_an_event_has_start_end_peak_and_channels(series, log):
    done, (event,) = score(series, log[0], "--events")
    assert done.exit_code == 0, done.stderr
    assert event["group"] == "b"
    start, end, peak = (float(event[name]) for name in ("start", "end", "peak"))
    assert 23 <= start <= 30 and 35 <= end <= 43 and 28 <= peak <= 37 and end - start + 1 == int(event["rows"])
    assert float(event["highest"]) >= float(event["score"]) > 1
    assert event["channel_1"] in ("c0", "c1", "c2") and float(event["channel_1_share"]) > 0.3


def test_smoothing_moves_no_event_and_too_much_of_it_leaves_nothing(series, log):
    _, (event,) = score(series, log[0], "--events")
    _, (smooth,) = score(series, log[0], "--events", "--smooth", "3/4")
    assert smooth == event
    done, events = score(series, log[0], "--events", "--smooth", "50/50")
    assert events == [] and done.stdout.startswith("group,start,end,peak,")


def test_events_take_3_of_the_last_5_rows_where_rows_have_a_threshold_of_their_own(series, by_row, log):
    """And --moments, and bundles of older versions, judge each row alone."""
    low = "--threshold", "0.6"
    for bundle, smooth in ((by_row, "3/5"), (series, "1/1")):
        default, same, other = (
            score(bundle, log[0], "--events", *low, *options)[1]
            for options in ((), ("--smooth", smooth), ("--smooth", {"3/5": "1/1", "1/1": "3/5"}[smooth]))
        )
        assert default == same != other
        rows, alone = (score(bundle, log[0], "--moments", *low, *more)[1] for more in ((), ("--smooth", "1/1")))
        assert rows == alone != score(bundle, log[0], "--moments", *low, "--smooth", "3/5")[1]


@pytest.mark.parametrize(
    ("options", "smooth", "told"),
    [
        (("--events",), [3, 5], "3 of the last 5 rows above 5"),
        (("--events", "--smooth", "2/4"), [2, 4], "2 of the last 4 rows above 5"),
        (("--events", "--smooth", "1/1"), [1, 1], "score above 5"),
        (("--moments",), None, "score above 5"),
    ],
)
def test_the_smoothing_of_events_is_told(by_row, log, tmp_path, options, smooth, told):
    done, _ = score(by_row, log[0], *options, "-o", str(tmp_path / "events.csv"))
    assert re.search(rf"^anomalies .*, {told}$", done.stdout, re.MULTILINE), done.stdout
    assert json.loads(score(by_row, log[0], *options, "--json")[0].stdout)["smooth"] == smooth


def test_what_does_not_go_together_is_refused(series, log):
    for options, reason in (
        (("--smooth", "2/3"), "give one of them"),
        (("--events", "--moments"), "two results"),
        (("--events", "--top", "3"), "--top is for windows"),
        (("--events", "--smooth", "4/3"), "expected K/N"),
    ):
        done, _ = score(series, log[0], *options)
        assert done.exit_code == 2 and reason in done.stderr
