"""A bundle of a series in the page and in Node: a log is drawn as its samples come, with its events."""

import re

import hosts
import pytest
from series_bundles import WAVES, waves

from aetool.bundle.bundle import Bundle
from aetool.deploy.web import web, web_page

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(WAVES)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Two machines, one with a fault."""
    path = tmp_path_factory.mktemp("live") / "log.csv"
    samples = {"p1": waves(300, 3, 0), "p2": waves(300, 3, 1)}
    samples["p2"][100:110] *= 8
    lines = ["time,machine,c2,c0,c1"]
    for t in range(300):
        for machine, (c0, c1, c2) in ((name, each[t]) for name, each in samples.items()):
            lines.append(f"2026-01-01 00:{t // 60:02}:{t % 60:02},{machine},{c2},{c0},{c1}")
    path.write_text("\n".join(lines) + "\n")
    return path, samples


@pytest.mark.parametrize("kind", ["directory", "single file"])
def test_the_page_draws_a_log_and_names_its_events(bundle, log, write, need, kind):
    need("Chromium")
    folder = write(web(bundle) if kind == "directory" else web_page(bundle))
    with hosts.browser() as browser:
        page, wrong = browser.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        if kind == "directory":
            with hosts.served(folder) as url:
                look(page, url, log[0])
        else:
            look(page, (folder / "index.html").as_uri(), log[0])
        assert wrong == []


def look(page, url, path):
    page.goto(url)
    page.wait_for_selector("#check-mark.good", timeout=PATIENCE_MS)
    assert page.inner_text("#feature-rows tr:nth-child(5) th") == "c1, 2"
    page.set_input_files("#csv", path)
    page.locator("#live-title", has_text=re.compile(": 0 events$")).wait_for(timeout=PATIENCE_MS)
    assert page.locator("#live-plot .channel").count() == 3
    page.select_option("#live-group", "p2")
    page.locator("#live-title", has_text=re.compile(": 1 event$")).wait_for(timeout=PATIENCE_MS)
    (event,) = page.locator("#live-events li").all_inner_texts()
    assert event.startswith("2026-01-01 00:01:4") and "peak" in event
    assert page.get_attribute("#live-plot .shade", "d") and page.get_attribute("#live-plot .score", "d")
