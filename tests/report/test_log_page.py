"""The page of a log: its events, the machines that have some, and what the labels say."""

import re

import pytest
from click.testing import CliRunner
from series_bundles import WAVES, waves, with_row_threshold

from aetool.cli import main


def log_of(path, faults):
    """Three machines over two stretches of 80 samples; faults: (machine, first sample, last sample)."""
    samples = {name: waves(160, 3, seed) for seed, name in enumerate(("p1", "p2", "p3"))}
    lines = ["time,machine,c0,c1,c2,finding"]
    for name, first, last in faults:
        samples[name][first:last] *= 8
    for t in range(160):
        second = t + 100 * (t >= 80)
        for name, each in samples.items():
            is_fault = any(name == who and first <= t < last for who, first, last in faults)
            cells = ",".join(map(str, each[t]))
            lines.append(
                f"2026-01-01 00:{second // 60:02}:{second % 60:02},{name},{cells},{'fault' * is_fault or 'ok'}"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    done = CliRunner().invoke(main, [*map(str, arguments), "--provider", "native"])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    log = log_of(folder / "log.csv", [("p2", 20, 30), ("p2", 120, 126), ("p3", 50, 60)])
    run("report", WAVES, "--data", log, "--label", "finding", "-o", folder / "page.html")
    run("score", WAVES, log, "--events", "-o", folder / "events.csv")
    return (folder / "page.html").read_text(), (folder / "events.csv").read_text().splitlines()[1:]


def section(html, key):
    (found,) = re.findall(rf'<section aria-labelledby="{key}".*?</section>', html, re.DOTALL)
    return found


def test_it_lists_the_events_of_aetool_score_with_their_labels(made):
    html, events = made
    lines = re.findall(r"<tr>(.*?)</tr>", section(html, "events"), re.DOTALL)[1:]
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
    expected = [event.replace('"', "").split(",") for event in events]
    assert sorted(cells[:3] for cells in found) == sorted(event[:3] for event in expected)
    assert len(found) == 3 and {cells[-1] for cells in found} == {"anomaly"}
    assert [cells[6].split("\N{NO-BREAK SPACE}")[0].split()[0] for cells in found] == [
        next(event[7] for event in expected if event[:2] == cells[:2]) for cells in found
    ]
    assert "Of 3 stretches labelled as anomalies, events meet 3." in html


def test_rows_with_a_threshold_of_their_own_are_judged_as_aetool_score_judges_them(tmp_path):
    bundle = with_row_threshold(WAVES, tmp_path / "bundle", 5.0)
    log = log_of(tmp_path / "log.csv", [("p1", 52, 53), ("p2", 20, 30), ("p3", 50, 60)])
    run("report", bundle, "--data", log, "-o", tmp_path / "page.html")
    run("score", bundle, log, "--events", "-o", tmp_path / "events.csv")
    run("score", bundle, log, "--events", "--smooth", "1/1", "-o", tmp_path / "more.csv")
    assert "p1" in (tmp_path / "more.csv").read_text()  # a single row
    html = (tmp_path / "page.html").read_text()
    lines = re.findall(r"<tr>(.*?)</tr>", section(html, "events"), re.DOTALL)[1:]
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL)[:3] for line in lines]
    expected = [
        line.replace('"', "").split(",")[:3] for line in (tmp_path / "events.csv").read_text().splitlines()
    ]
    assert sorted(found) == sorted(expected[1:]) and len(found) == 2
    assert "together with what it contributes to them" in html
    assert "a stretch in which 3 of the last 5 rows are above the threshold of rows, 5; the score" in html
    run("report", bundle, "--data", log, "--threshold", "1e6", "-o", tmp_path / "none.html")
    assert "nowhere are 3 of the last 5 rows above the threshold" in (tmp_path / "none.html").read_text()


def test_the_headline_counts_events_windows_and_rows(made):
    assert "3 events in 480 rows of log.csv: the model flags " in made[0]
    assert re.search(r"[0-9]+ of 222 windows of 8 rows", made[0])


def test_each_machine_with_events_is_drawn_with_its_gap_and_labels(made):
    signal = section(made[0], "signal")
    assert re.findall(r"<h3[^>]*>(p[0-9]): ", signal) == ["p2", "p3"] and "more are left out" not in signal
    score = re.findall(r"<figure>.*?</figure>", signal, re.DOTALL)[0]
    assert score.count('class="break"') == 1 and score.count('class="finding"') == 2


def test_the_worst_windows_are_one_of_each_event(made):
    worst = section(made[0], "windows").split("Lowest scores")[0]
    cards = re.findall(r"<h4>(.*?)</h4>.*?group (p[0-9]), start (.*?), end (.*?)</p>", worst, re.DOTALL)
    assert [", labelled an anomaly" in title for title, *_ in cards[:3]] == [True] * 3
    for place, (_, group, start, end) in enumerate(cards):
        for _, other, begin, stop in cards[:place]:
            assert group != other or end < begin or stop < start


def test_more_machines_than_fit_are_told(tmp_path):
    log = log_of(tmp_path / "log.csv", [])
    lines = log.read_text().splitlines()
    more = [lines[0]] + [
        line.replace(",p1,", f",m{i},").replace(",p1", "") for i in range(6) for line in lines if ",p1," in line
    ]
    faulty = [re.sub(r"^(2026-01-01 00:00:3\d,m\d),([^,]+),", r"\1,50.0,", line) for line in more]
    log.write_text("\n".join(faulty) + "\n")
    run("report", WAVES, "--data", log, "-o", tmp_path / "page.html")
    signal = section((tmp_path / "page.html").read_text(), "signal")
    assert len(re.findall(r"<h3[^>]*>m[0-9]: ", signal)) == 4 and "2 more are left out" in signal


def test_a_log_without_events_says_so(tmp_path):
    log = log_of(tmp_path / "log.csv", [])
    run("report", WAVES, "--data", log, "--threshold", "9", "-o", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "No event: no row has a score above the threshold." in html
    assert len(re.findall(r"<h3[^>]*>p[0-9]: ", section(html, "signal"))) == 1
