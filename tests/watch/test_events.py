"""`aetool score --events` and `--moments`: a score for each row of a log, and the stretches that are abnormal."""

import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner
from series_bundles import waves

import aetool
from aetool.cli import main
from aetool.runtime.moments import moment_scores


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


def test_each_row_has_mean_and_maximum_of_its_windows_and_none_crosses_a_gap(series, log):
    path, samples = log
    done, rows = score(series, path, "--moments")
    assert done.exit_code == 0, done.stderr
    runs = [("a", samples["a"][:20]), ("a", samples["a"][20:]), ("b", samples["b"])]
    with aetool.load(series, provider="native") as model:
        for number, (group, run) in enumerate(runs):
            views = np.lib.stride_tricks.sliding_window_view(run, 8, axis=0)[::2].transpose(0, 2, 1)
            scores = model.score(np.ascontiguousarray(views))
            length = (len(scores) - 1) * 2 + 8
            expected = moment_scores(scores, length, 8, 2)
            begin = {0: 0, 1: 50, 2: 0}[number]
            mine = [row for row in rows if row["group"] == group and begin <= float(row["time"]) < begin + length]
            assert len(mine) == length
            np.testing.assert_allclose([float(row["score"]) for row in mine], expected.mean, rtol=1e-5)
            np.testing.assert_allclose([float(row["highest"]) for row in mine], expected.maximum, rtol=1e-5)
            flags = [row["is_anomaly"] == "true" for row in mine]
            assert flags == (expected.mean > model.threshold).tolist()


def test_an_event_has_start_end_peak_and_channels(series, log):
    done, (event,) = score(series, log[0], "--events")
    assert done.exit_code == 0, done.stderr
    assert event["group"] == "b"
    start, end, peak = (float(event[name]) for name in ("start", "end", "peak"))
    assert 23 <= start <= 30 and 35 <= end <= 43 and 28 <= peak <= 37 and end - start + 1 == int(event["rows"])
    assert float(event["highest"]) >= float(event["score"]) > 1
    assert event["channel_1"] in ("c0", "c1", "c2") and float(event["channel_1_share"]) > 0.3


def test_smoothing_begins_later_and_too_much_of_it_leaves_nothing(series, log):
    _, (event,) = score(series, log[0], "--events")
    _, (smooth,) = score(series, log[0], "--events", "--smooth", "3/4")
    assert float(smooth["start"]) == float(event["start"]) + 2
    done, events = score(series, log[0], "--events", "--smooth", "50/50")
    assert events == [] and done.stdout.startswith("group,start,end,peak,")


def test_what_does_not_go_together_is_refused(series, log):
    for options, reason in (
        (("--smooth", "2/3"), "give one of them"),
        (("--events", "--moments"), "two results"),
        (("--events", "--top", "3"), "--top is for windows"),
        (("--events", "--smooth", "4/3"), "expected K/N"),
    ):
        done, _ = score(series, log[0], *options)
        assert done.exit_code == 2 and reason in done.stderr
