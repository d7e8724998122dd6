"""A bundle of a series in the page: a log is cut at gaps, and shown with the events of `aetool score`."""

import csv
import io
import re

import hosts
import pytest
from click.testing import CliRunner
from series_bundles import WAVES, waves, with_row_threshold

from aetool.bundle.bundle import Bundle
from aetool.cli import main
from aetool.deploy.web import web, web_page
from aetool.runtime.moments import event_smoothing

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """One scored by windows alone, and one with a threshold for rows."""
    by_row = with_row_threshold(WAVES, tmp_path_factory.mktemp("bundles") / "waves", 5.0)
    return {"directory": WAVES, "single file": by_row}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two machines, one with two faults, and a pause."""
    path = tmp_path_factory.mktemp("live") / "log.csv"
    samples = {"p1": waves(300, 3, 0), "p2": waves(300, 3, 1)}
    for first in (100, 220):
        samples["p2"][first : first + 10] *= 8
    lines = ["time,machine,c2,c0,c1"]
    for t in range(300):
        second = t if t < 150 else t + 60
        for machine, (c0, c1, c2) in ((name, each[t]) for name, each in samples.items()):
            lines.append(f"2026-01-01 00:{second // 60:02}:{second % 60:02},{machine},{c2},{c0},{c1}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["directory", "single file"])
def test_the_page_draws_a_log_and_names_its_events(bundles, log, write, need, kind):
    need("Chromium")
    bundle = Bundle.open(bundles[kind])
    folder = write(web(bundle) if kind == "directory" else web_page(bundle))
    with hosts.browser() as browser:
        page, wrong = browser.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        if kind == "directory":
            with hosts.served(folder) as url:
                look(page, url, log, bundle.path)
        else:
            look(page, (folder / "index.html").as_uri(), log, bundle.path)
        assert wrong == []


def look(page, url, path, bundle):
    page.goto(url)
    page.wait_for_selector("#check-mark.good", timeout=PATIENCE_MS)
    assert page.text_content("#feature-rows tr:nth-child(5) th") == "c1, 2"
    assert not page.is_visible("#feature-rows")
    page.set_input_files("#csv", path)
    page.locator("#live-title", has_text=re.compile(": 2 events in 600 rows$")).wait_for(timeout=PATIENCE_MS)
    assert page.input_value("#live-group") == "p2"
    assert page.locator("#live-group option").all_inner_texts() == ["p1 (0)", "p2 (2)"]
    assert page.locator("#live-plot .channel").count() == 2 * 3
    assert page.locator("#live-plot .gap").count() == 1 and page.locator("#live-plot .shade").count() == 2
    assert "2 gaps in time; no window crosses one" in page.inner_text("#live-notes")
    smooth = event_smoothing(Bundle.open(bundle).manifest.row_threshold("fp32"), None)
    assert page.input_value("#live-smooth") == ("1/1" if smooth is None else "{}/{}".format(*smooth))
    assert listed(page) == in_python(bundle, path)
    for chosen in ("1/1", "3/5"):
        page.select_option("#live-smooth", chosen)
        page.wait_for_timeout(300)
        assert listed(page) == in_python(bundle, path, "--smooth", chosen)
    assert not page.is_visible("#verdict") and not page.is_visible("#why")
    page.locator("#live-events button").nth(1).click()
    assert page.locator("#live-plot .chosen").count() == 1
    page.click("#normal")
    page.locator("#verdict-word", has_text="Normal").wait_for()


def listed(page):
    """Group, start, end and the channel that contributes most of each event."""
    lines = [line.split("\t") for line in page.locator("#live-events tr").all_inner_texts()]
    return [(group, start, end, channels.split()[0]) for group, start, end, _, channels in lines]


def in_python(bundle, path, *options):
    done = CliRunner().invoke(
        main, ["score", str(bundle), str(path), "--events", "--provider", "native", *options]
    )
    events = csv.DictReader(io.StringIO(done.stdout))
    return [(each["group"], each["start"], each["end"], each["channel_1"]) for each in events]
