"""`aetool watch` on real pipes and files: scores, alerts, what is left out, kills and restarts."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest
from app_fixtures import EXPORTED
from processes import Watching, command, lines_of, message, records_in, run_watch, until
from series_bundles import waves

import aetool

GROUPS = ("a", "b")


def log_of(count, *, fault=None):
    """Samples of every group by name, with a fault in group b."""
    samples = {group: waves(count, 3, place) for place, group in enumerate(GROUPS)}
    if fault is not None:
        samples["b"][fault] *= 8
    return samples


def json_lines(samples, first=0, last=None):
    count = len(samples[GROUPS[0]])
    lines = [message(t, group, samples[group][t]) for t in range(first, last or count) for group in GROUPS]
    return "\n".join(lines) + "\n"


def expected_scores(bundle, samples):
    """(group, time of the last sample, score) of every window, by the batch path."""
    found = []
    with aetool.load(bundle, provider="native") as model:
        for group, each in samples.items():
            windows = np.lib.stride_tricks.sliding_window_view(each, 8, axis=0)[::2].transpose(0, 2, 1)
            scores = model.score(np.ascontiguousarray(windows))
            found += [(group, 7 + 2 * i, float(str(score))) for i, score in enumerate(scores)]
    return sorted(found)


def scores_in(records):
    return sorted((each["group"], each["time"], each["score"]) for each in records if each["kind"] == "score")


def test_scores_are_those_of_the_batch_group_by_group(series):
    samples = log_of(40)
    found, _ = run_watch(series, json_lines(samples), "--scores")
    assert scores_in(found) == expected_scores(series, samples)
    assert [each["sequence"] for each in found] == list(range(1, len(found) + 1))


def test_csv_with_other_columns_gives_the_same_as_json(series):
    samples = log_of(40)
    lines = ["note;c2;time;c0;machine;c1"]
    for t in range(40):
        for group in GROUPS:
            c0, c1, c2 = samples[group][t]
            lines.append(f"x;{c2};1970-01-01T00:00:{t:02}+00:00;{c0};{group};{c1}")
    found, _ = run_watch(series, "\n".join(lines) + "\n", "--scores")
    assert [(g, s) for g, _, s in scores_in(found)] == [(g, s) for g, _, s in expected_scores(series, samples)]
    without, _ = run_watch(series, "\n".join(lines[1:]), "--scores", "--columns", lines[0].replace(";", ","))
    assert without == found


def test_decimal_commas_are_read_where_the_training_table_had_them(series, tmp_path):
    bundle, samples = shutil.copytree(series, tmp_path / "bundle"), log_of(20)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["provenance"]["reading"] = {"sep": ";", "decimal": ","}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    lines = ["time;machine;c0;c1;c2"]
    for t in range(20):
        for group in GROUPS:
            lines.append(f"{t};{group};" + ";".join(str(value).replace(".", ",") for value in samples[group][t]))
    found, _ = run_watch(bundle, "\n".join(lines) + "\n", "--scores")
    expected = sorted((g, s) for g, _, s in expected_scores(series, samples))
    assert sorted((g, s) for g, _, s in scores_in(found)) == expected


def test_an_alert_begins_ends_and_names_its_channels(series):
    samples = log_of(60, fault=slice(30, 36))
    found, said = run_watch(series, json_lines(samples))
    start, end = found
    assert (start["kind"], start["group"]) == ("start", "b") and 30 <= start["time"] <= 33
    assert start["score"] > start["threshold"] and start["channels"][0]["share"] > 0.3
    assert (end["kind"], end["start"]) == ("end", start["time"]) and end["start"] < end["peak"] <= end["end"] <= 43
    assert "1 alerts" in said


def test_smoothing_waits_for_k_of_n(series):
    samples = log_of(60, fault=slice(30, 36))
    (at_once, *_), _ = run_watch(series, json_lines(samples))
    (later, *_), _ = run_watch(series, json_lines(samples), "--smooth", "3/4")
    assert later["time"] == at_once["time"] + 4  # two windows of stride 2 later
    assert run_watch(series, json_lines(samples), "--smooth", "20/20")[0] == []


def test_each_row_of_a_table_stands_alone(rows):
    with aetool.load(EXPORTED) as model:
        names, expected = model.feature_names, model.detect(rows).tolist()
    lines = [json.dumps(dict(zip(names, row.tolist(), strict=True))) for row in rows]
    found, _ = run_watch(EXPORTED, "\n".join(lines))
    assert [each["message"] - 1 for each in found] == [i for i, flag in enumerate(expected) if flag]
    assert all(each["channels"] for each in found)


def test_late_duplicate_and_malformed_messages_are_counted_and_left_out(series):
    samples = log_of(40)
    lines = json_lines(samples).splitlines()
    odd = [
        lines[4],  # late
        "{",
        "[1, 2]",
        "null",
        '{"time": 1}',
        '{"time": "yesterday", "machine": "a", "c0": 1, "c1": 1, "c2": 1}',
        '{"time": 99, "machine": "a", "c0": 1, "c1": 1}',
        '{"time": 99, "machine": "a", "c0": 1, "c1": 1, "c2": "x"}',
        '{"time": 99, "machine": ["a"], "c0": 1, "c1": 1, "c2": 1}',
        "[" * 100_000,
        "9" * 5000,
        "\x00\xff",
        "x" * 3_000_000,
    ]
    text = "\n".join([*lines[:20], lines[19], *odd, *lines[20:]]) + "\n"
    found, said = run_watch(series, text, "--scores")
    assert scores_in(found) == expected_scores(series, samples)
    assert f"Left out so far: 1 late, 1 duplicate, {len(odd) - 1} malformed" in said


def test_missing_values_and_numbers_beyond_float32_are_scored(series):
    values = [{"c0": None, "c1": 1, "c2": 2}, {"c0": 1e300, "c1": 1, "c2": 2}, {"c0": "NA", "c1": "1", "c2": 2}]
    text = "\n".join(json.dumps({"time": t, "machine": "a", **values[t % 3]}) for t in range(8))
    (start,), _ = run_watch(series, text)
    assert start["score"] == "nan" and start["channels"][0]["name"] == "c0"


def test_the_least_recently_used_group_gives_way(series):
    text = "".join(message(t, group, [0, 0, 0]) + "\n" for t, group in enumerate("abcabcaabb"))
    done = subprocess.run(
        command(series, "--max-groups", "2", "--json"), input=text, capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    assert document["groups"] == 2 and document["counts"]["dropped_groups"] == 6
    assert "6 dropped_groups" in done.stderr


@pytest.mark.parametrize("ends", ["clean", "killed"])
def test_a_followed_file_is_scored_once_over_restarts(series, tmp_path, ends):
    samples = log_of(60, fault=slice(30, 36))
    log, state, alerts = tmp_path / "log.jsonl", tmp_path / "watch.state", tmp_path / "alerts.jsonl"
    options = ("--follow", log, "--state", state, "-o", alerts, "--scores")
    parts = [json_lines(samples, first, first + 15) for first in (0, 15, 30, 45)]
    for place, part in enumerate(parts):
        half = len(part) // 2  # in the middle of a line
        with log.open("a") as stream:
            stream.write(part[:half])
        with Watching(series, *options) as watching:
            until(state.exists, "the state")
            with log.open("a") as stream:
                stream.write(part[half:])
            last = [each for each in expected_scores(series, samples) if each[1] < 15 * (place + 1)]
            until(lambda last=last: len(scores_in(records_in(alerts))) >= len(last), "the last score")
            watching.kill() if ends == "killed" else watching.end()
        if ends == "killed":
            with alerts.open("a") as stream:
                stream.write('{"sequence": 99')  # a line that was cut short
    found = records_in(alerts)
    assert scores_in(found) == expected_scores(series, samples)
    assert [each["sequence"] for each in found] == list(range(1, len(found) + 1))
    assert [each["kind"] for each in found if each["kind"] != "score"] == ["start", "end"]


def test_alerts_that_the_file_lacks_are_written_after_a_kill_and_others_not_again(series, tmp_path):
    samples = log_of(60, fault=slice(30, 36))
    state, alerts = tmp_path / "watch.state", tmp_path / "alerts.jsonl"
    options = ("--state", state, "-o", alerts, "--scores")
    with Watching(series, *options, stdin=subprocess.PIPE) as watching:
        watching.process.stdin.write(json_lines(samples))
        watching.process.stdin.flush()
        until(lambda: len(scores_in(records_in(alerts))) == len(expected_scores(series, samples)), "the scores")
        watching.kill()
    whole = alerts.read_text()
    alerts.write_text("".join(whole.splitlines(keepends=True)[:10]))  # as if it was killed before it wrote them
    marks = [
        line for line in (tmp_path / "watch.state.journal").read_text().splitlines() if "delivered" not in line
    ]
    (tmp_path / "watch.state.journal").write_text("\n".join(marks) + "\n")
    run_watch(series, "", *options)
    assert alerts.read_text() == whole


def test_a_file_that_is_rotated_is_read_on(series, tmp_path):
    samples = log_of(40)
    log, alerts = tmp_path / "log.jsonl", tmp_path / "alerts.jsonl"
    log.write_text(json_lines(samples, 0, 20))
    with Watching(series, "--follow", log, "-o", alerts, "--scores"):
        until(lambda: len(scores_in(records_in(alerts))) == 14, "the first file")
        log.rename(tmp_path / "log.1")
        log.write_text(json_lines(samples, 20, 40))
        until(lambda: len(scores_in(records_in(alerts))) == 34, "the second file")
    assert scores_in(records_in(alerts)) == expected_scores(series, samples)


def test_a_state_belongs_to_one_process_and_one_model(series, convolved, tmp_path):
    state = tmp_path / "watch.state"
    with Watching(series, "--follow", tmp_path / "log", "--state", state):
        until(state.exists, "the state")
        second = subprocess.run(
            command(series, "--state", state), input="", capture_output=True, text=True, check=False
        )
        assert second.returncode == 1 and "another process is using this state" in second.stderr
    state.write_text("{}")
    refused = subprocess.run(
        command(series, "--state", state), input="", capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1 and "not a state of aetool watch" in refused.stderr


def test_metrics_count_what_happened(series, tmp_path):
    with Watching(series, "--metrics-port", "0", "--scores", stdin=subprocess.PIPE) as watching:
        address = re.search(r"http://\S+", watching.process.stderr.readline())[0]
        watching.process.stdin.write(json_lines(log_of(10)) + "{\n")
        watching.process.stdin.flush()

        def read():
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.read().decode()

        until(lambda: "aetool_watch_malformed_total 1\n" in read(), "the count")
        text = read()
        assert "aetool_watch_samples_total 20\n" in text and "aetool_watch_groups 2\n" in text
        watching.end()


def test_a_webhook_gets_each_alert_though_it_was_away(series):
    got, failures = [], [503, 429]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = failures.pop() if failures else 200
            if code == 200:
                got.append(json.loads(body))
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    text = json_lines(log_of(60, fault=slice(30, 36)))
    with Watching(series, "--webhook", address, stdin=subprocess.PIPE) as watching:
        watching.process.stdin.write(text)
        watching.process.stdin.flush()
        until(lambda: len(got) == 2, "the alerts")
        watching.end()
    server.shutdown()
    assert [each["kind"] for each in got] == ["start", "end"]


def test_a_message_is_scored_as_it_comes_not_at_the_end(series):
    text = json_lines(log_of(60, fault=slice(30, 36)))
    with Watching(series, stdin=subprocess.PIPE) as watching:
        watching.process.stdin.write(text)
        watching.process.stdin.flush()
        assert lines_of(watching.process.stdout.readline())[0]["kind"] == "start"


def test_watching_needs_no_packages_but_the_runtime(series, tmp_path):
    code = (
        "import sys\nfrom aetool.cli import main\n"
        f"main(['watch', {str(series)!r}], standalone_mode=False)\n"
        "heavy = {'torch', 'onnx', 'pyarrow', 'paho', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "print(heavy, file=sys.stderr)\nassert not heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_current_version_of_an_agent_is_used_told_and_given_way_to(series, tmp_path):
    device, log, alerts = tmp_path / "dev-1", tmp_path / "log.jsonl", tmp_path / "alerts.jsonl"
    (device / "reports").mkdir(parents=True)
    for version in ("one", "two"):
        shutil.copytree(series, device / "versions" / version)
    (device / "current").symlink_to("versions/one")
    samples = log_of(40, fault=slice(30, 36))
    log.write_text(json_lines(samples))
    expected = expected_scores(series, samples)
    with Watching(device, "--follow", log, "-o", alerts, "--scores") as watching:
        until(lambda: len(scores_in(records_in(alerts))) == len(expected), "the scores")
        assert scores_in(records_in(alerts)) == expected
        (device / "next").symlink_to("versions/two")
        (device / "next").rename(device / "current")
        _, said = watching.process.communicate(timeout=60)
        assert watching.process.returncode == 0 and "The agent has another version now" in said
    report = json.loads((device / "reports" / "one.json").read_text())
    assert report["rows"] == len(expected) and 0 < report["flagged"] < 10
