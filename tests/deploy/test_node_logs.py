"""`score.mjs` of a model of windows: a log is cut and scored as `aetool score` does it, or refused in words."""

import json
import re
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner
from series_bundles import WAVES, waves, with_row_threshold

from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Series
from aetool.cli import main
from aetool.deploy.node import node
from aetool.errors import AetoolError
from aetool.runtime.moments import EVENT_SMOOTHING, find_events
from aetool.tables.windows import Log, time_texts

MACHINES, ROWS, PAUSE = ("p1", 'p"2', "p3"), 200, 120


@pytest.fixture(scope="module")
def package(write, need):
    need("Node on the core")
    return write(node(Bundle.open(WAVES)))


@pytest.fixture(scope="module")
def by_row(tmp_path_factory):
    """The bundle with a threshold for rows, to which what each row contributes counts."""
    return with_row_threshold(WAVES, tmp_path_factory.mktemp("bundles") / "waves", 0.9)


def date(second):
    hour, rest = divmod(second, 3600)
    return f"01.03.2026 {6 + hour:02}:{rest // 60:02}:{rest % 60:02}"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Three machines in turn, a pause in the middle, a fault, a machine that is too short, a missing value."""
    samples = [waves(ROWS, 3, seed) for seed in range(len(MACHINES))]
    samples[1][150:160] *= 8
    samples[2][30, 1] = np.nan
    lines = ["time;machine;note;c2;c0;c1"]
    for t in range(ROWS):
        when = date(t if t < ROWS // 2 else t + PAUSE)
        for name, each in zip(MACHINES, samples, strict=True):
            cells = ["" if np.isnan(value) else str(value).replace(".", ",") for value in each[t][[2, 0, 1]]]
            quoted = name.replace('"', '""')
            lines.append(f'{when};"{quoted}";a;{";".join(cells)}')
        if t == 5:
            lines += [f"{when};brief;a;1,5;0,5;0,5"] * 2  # the second has the time of the first
    path = tmp_path_factory.mktemp("logs") / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def scored(package, *given):
    return subprocess.run(["node", "score.mjs", *given], cwd=package, capture_output=True, text=True, check=False)


def in_python(log, out, *options, bundle=WAVES):
    given = ["score", str(bundle), str(log), "--provider", "native", "-o", str(out), *options]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    return out.read_text().splitlines()


def test_windows_of_machines_with_a_pause_are_those_of_aetool_score_bit_for_bit(package, log, tmp_path):
    expected = in_python(log, tmp_path / "scores.csv")
    done = scored(package, log)
    found = done.stdout.splitlines()
    assert found[0] == expected[0] == "group,start,end,score,is_anomaly"
    assert sorted(found) == sorted(expected)
    assert "3 gaps in time; no window crosses one" in done.stderr
    assert "1 rows have the time of the row before and are left out" in done.stderr
    assert "1 run of 'brief' shorter than a window of 8 rows: skipped" in done.stderr


@pytest.mark.parametrize("smooth", [(), ("--smooth", "3/5")])
def test_events_are_those_of_aetool_score_bit_for_bit(package, log, tmp_path, smooth):
    expected = in_python(log, tmp_path / "events.csv", "--events", *smooth)
    assert len(expected) > 1
    assert scored(package, log, "--events", *smooth).stdout.splitlines() == expected


@pytest.fixture(scope="module")
def package_by_row(by_row, write, need):
    need("Node on the core")
    return write(node(Bundle.open(by_row)))


@pytest.mark.parametrize(("smooth", "least"), [((), 4), (("--smooth", "1/1"), 10)])
def test_events_by_row_are_those_of_aetool_score_bit_for_bit(by_row, package_by_row, log, tmp_path, smooth, least):
    expected = in_python(log, tmp_path / "events.csv", "--events", *smooth, bundle=by_row)
    assert len(expected) > least and expected != in_python(log, tmp_path / "others.csv", "--events", *smooth)
    assert scored(package_by_row, log, "--events", *smooth).stdout.splitlines() == expected


RANDOM_EVENTS = """
import { eventsOfRun } from "./moments.mjs";
const { runs, smooth } = JSON.parse(process.argv[1]);
const model = { manifest: { series: { window: 1, stride: 1 } }, rowThreshold: 0.5, graphs: [] };
const found = runs.map(async (scores, i) => {
  const score = Float32Array.from(scores);
  const events = await eventsOfRun(model, {}, { score, maximum: score, scores: score }, smooth[i]);
  return events.map(({ start, stop, peak, score }) => [start, stop, peak, score]);
});
console.log(JSON.stringify(await Promise.all(found)));
"""


def test_events_of_any_scores_and_smoothing_are_those_of_python(package):
    random = np.random.default_rng(0)
    runs = [random.choice([0.25, 0.75, 1.5], random.integers(0, 40), p=[0.6, 0.3, 0.1]) for _ in range(500)]
    smooth = [(int(least), int(least + more)) for least, more in random.integers((1, 0), (5, 5), (500, 2))]
    given = json.dumps({"runs": [run.tolist() for run in runs], "smooth": smooth})
    command = ["node", "--input-type=module", "-e", RANDOM_EVENTS, given]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    expected = [find_events(run > 0.5, run, each) for run, each in zip(runs, smooth, strict=True)]
    assert json.loads(done.stdout) == [[list(event) for event in events] for events in expected]
    assert sum(map(len, expected)) > 500


def test_javascript_smooths_events_by_the_default_of_python_and_its_readme_says_so(package_by_row, package):
    source = (package_by_row / "moments.mjs").read_text()
    (found,) = re.findall(r"^const EVENT_SMOOTHING = (.*?);", source, re.MULTILINE)
    assert tuple(json.loads(found)) == EVENT_SMOOTHING
    told = "It takes {} of the last {} rows above the threshold".format(*EVENT_SMOOTHING)
    assert told in (package_by_row / "README.md").read_text()
    assert told not in (package / "README.md").read_text()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("c0,c1,c2,time", "missing column 'machine', which tells whose rows they are"),
        ("c0,c1,c2,machine", "missing column 'time', which orders the rows and shows gaps"),
        ("c0,c1,time,machine", "missing column 'c2'"),
    ],
)
def test_a_log_without_a_column_of_the_model_is_refused_in_words(package, tmp_path, header, told):
    path = tmp_path / "log.csv"
    path.write_text(header + "\n" + "".join(f"1.5,2.5,3.5,{t}\n" for t in range(20)))
    done = scored(package, path)
    assert done.returncode == 1 and told in done.stderr and done.stdout == ""


def test_a_time_that_goes_back_is_refused(package, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("time,machine,c0,c1,c2\n" + "".join(f"{t % 15},p1,1,2,3\n" for t in range(20)))
    done = scored(package, path)
    assert done.returncode == 1 and "row 16: time goes back from 14 to 0 in 'p1'; sort the log" in done.stderr


NOTATIONS = {
    "dates": ["2026-01-01", "2026-01-02", "2026-01-03 10:00"],
    "parts of a second": ["2026-03-01 06:00:00.123", "2026-03-01T06:01:00.123456", "2026-03-01 06:02"],
    "zones": ["2026-01-01T10:00:00.5Z", "2026-01-02T10:00:00+02:00", "2026-01-03T10:00:00-0130"],
    "German": ["01.03.2026 06:00", "01.03.2026 06:01", "02.03.2026 23:59"],
    "slashes": ["2026/03/01 06:00:00", "2026/03/01 06:01:00", "2026/12/31 06:02:00"],
    "compact": ["20260301T060000", "20260301T060001", "20260301T235959"],
    "before 1970": ["1969-12-31 23:59:58.25", "1969-12-31 23:59:59", "1970-01-01 00:00:00"],
    "Unix": ["1700000000", "1700000001", "1700000002.5"],
    "Unix in ms": ["1700000000000", "1700000000001", "1700000000002"],
    "seconds": ["0", "0.25", "1e3"],
    "mixed": ["2026-01-01T10:00:00Z", "2026-01-02T10:00:00", "2026-01-03T10:00:00Z"],
    "no such day": ["2026-02-30 10:00:00", "2026-03-01 10:00:00", "2026-03-02 10:00:00"],
    "hours alone": ["06:00:00", "06:01:00", "06:02:00"],
    "empty": ["3", "", "5"],
}
READ = """
import { readFileSync } from "node:fs";
import { logOf } from "./log.mjs";
const read = (text) => {
  const series = { window: 1, stride: 1, time: "t", group: "g", gap: null };
  const model = { features: [{ name: "a" }, { name: "b" }], width: 2, inputShape: [1, 2], manifest: { series } };
  try {
    const { runs: [run], textsOf } = logOf(text, model);
    return textsOf(run.times);
  } catch (error) {
    return `refused: ${error.message}`;
  }
};
console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(read)));
"""


def test_times_are_read_as_in_python(package, tmp_path):
    texts = ["t,g,a,b\n" + "".join(f"{time},x,1,2\n" for time in times) for times in NOTATIONS.values()]
    (package / "times.mjs").write_text(READ)
    done = subprocess.run(
        ["node", "times.mjs"], cwd=package, input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for name, text, read in zip(NOTATIONS, texts, found, strict=True):
        path = tmp_path / "log.csv"
        path.write_text(text)
        try:
            (run,) = Log(path, Series(1, 1, time="t", group="g"), ["a", "b"]).runs()
            expected = time_texts(run.times).tolist()
        except AetoolError:
            assert read.startswith("refused: "), name
        else:
            assert [float(t) for t in read] == expected if name == "seconds" else read == expected, name
