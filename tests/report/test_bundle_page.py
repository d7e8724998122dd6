"""The page of a bundle: whole and safe as a document, and alive in a browser that opens it from the disk."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from bench_results import document, measurement
from test_report_page import HOSTILE, everything_is_in_order

from aetool.errors import InputError
from aetool.manifest import Feature
from aetool.portrait.portray import portray
from aetool.report import bundle_page, read_result

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "exported" / "breast-cancer"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SEGMENTS = {
    "clusters": 2,
    "rows": 100,
    "stability": {"adjusted_rand_index": 0.8},
    "segments": [
        {
            "segment": number,
            "rows": 50,
            "share": 0.5,
            "label": "high mean radius",
            "traits": [
                {
                    "feature": "mean radius",
                    "difference": 1.0,
                    "statistic": "median",
                    "of_segment": 17.0,
                    "of_all": 13.0,
                    "ratio": 17 / 13,
                }
            ],
        }
        for number in range(2)
    ],
}


def samples():
    table = np.loadtxt(ROOT / "exported" / "samples.csv", delimiter=",", skiprows=1).astype(np.float32)
    return table[:, 1:31], table[:, 31] != 0


@pytest.fixture(scope="module")
def labelled():
    return portray(BUNDLE, *samples(), source="samples.csv")


def with_segments(portrait):
    """As if `aetool segment` had made two: a row's place in the data tells its segment."""
    points = tuple(dataclasses.replace(point, segment=point.number % 2) for point in portrait.embedding_map.points)
    return dataclasses.replace(
        portrait,
        manifest=portrait.manifest._replace(segments=SEGMENTS),
        embedding_map=dataclasses.replace(portrait.embedding_map, points=points),
    )


def test_everything_is_there_and_in_order(labelled):
    found = everything_is_in_order(bundle_page(with_segments(labelled)))
    for heading in ("Scores", "Rows", "Embeddings", "Segments", "Drift", "Precisions", "Training", "Model card"):
        assert heading in found.texts
    assert "Made of the golden rows" not in found.text
    assert "typical 17, everybody 13 (31% more)" in found.text
    assert found.tags.count("table") == 2 + len(labelled.worst) + len(labelled.best)


def test_without_data_it_says_that_the_rows_are_golden():
    found = everything_is_in_order(bundle_page(portray(BUNDLE)))
    assert "Made of the golden rows" in found.text and "Drift" not in found.texts


def test_without_javascript_the_numbers_of_the_bundles_threshold_stand_there(labelled):
    text = bundle_page(labelled)
    sweep = labelled.sweep
    assert f"{sweep.flagged[sweep.own]:,} of {labelled.rows:,}" in text
    assert text.count('class="slider" hidden=""') == 2  # nothing to move that does not move


def test_hostile_names_are_shown_as_text(labelled):
    manifest = labelled.manifest._replace(
        name=HOSTILE,
        features=(Feature(HOSTILE), *labelled.manifest.features[1:]),
        provenance={HOSTILE: HOSTILE, "history": "none", "training": HOSTILE},
        score={"definition": HOSTILE},
    )
    worst = tuple(
        dataclasses.replace(
            row,
            features=tuple(
                dataclasses.replace(one, name=HOSTILE, found=HOSTILE, expected=HOSTILE) for one in row.features
            ),
        )
        for row in labelled.worst
    )
    text = bundle_page(dataclasses.replace(labelled, manifest=manifest, source=HOSTILE, worst=worst))
    everything_is_in_order(text)
    assert "<script>alert" not in text


def test_50_000_rows_and_all_their_pictures_take_less_than_3_mb():
    rows, labels = samples()
    noise = np.random.default_rng(0).normal(1, 0.05, (50_000, 30)).astype(np.float32)
    many = portray(BUNDLE, np.tile(rows, (500, 1)) * noise, np.tile(labels, 500))
    assert len(bundle_page(with_segments(many)).encode()) < 3_000_000


def test_the_benchmark_of_the_bundle_is_shown_and_another_bundles_refused(labelled, write):
    content = document([measurement("aetool"), measurement("torch")])
    with pytest.raises(InputError, match="give a benchmark of this bundle"):
        bundle_page(labelled, read_result(write(content)))
    content["bundle"]["id"] = labelled.manifest.id
    found = everything_is_in_order(bundle_page(labelled, read_result(write(content))))
    assert "Speed" in found.texts


def test_a_bundle_without_explainer_or_history_has_a_page_too(labelled):
    manifest = labelled.manifest._replace(provenance={}, threshold={"value": 1.0})
    bare = dataclasses.replace(labelled, manifest=manifest, worst=(), best=(), embedding_map=None, drift=None)
    found = everything_is_in_order(bundle_page(bare))
    assert "no explainer" in found.text and "Training" not in found.texts


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: the page is not opened in a browser")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, labelled, tmp_path):
    """The page, opened from the disk; what it asks for and says on the console is kept."""
    file = tmp_path / "page.html"
    file.write_text(bundle_page(with_segments(labelled)), encoding="utf-8")
    pages = []

    def go(**options):
        page = browser.new_page(**options)
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield go
    for page in pages:
        assert page.asked == [file.as_uri()] and page.said == []
        page.close()


def flagged(page):
    return int(page.inner_text("#does-flagged").split(" of ")[0].replace(",", ""))


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_from_the_disk_asks_for_nothing_and_is_as_wide_as_the_window(opened, width, scheme):
    page = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#threshold-slider").is_visible() and page.locator("#map-slider").is_visible()


def test_keys_move_the_threshold_and_what_it_does(opened, labelled):
    page, sweep = opened(), labelled.sweep
    slider = page.locator("#threshold-slider")
    slider.focus()
    marks = page.get_attribute("#roc-mark", "transform"), page.get_attribute("#threshold-line", "transform")
    page.keyboard.press("Home")
    assert flagged(page) == sweep.flagged[0]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert flagged(page) == sweep.flagged[3]
    assert f"{sweep.hits[3] / labelled.anomalies * 100:.0f} %" in page.inner_text("#does-recall")
    assert page.inner_text("#does-recall") in slider.get_attribute("aria-valuetext")
    assert marks[0] != page.get_attribute("#roc-mark", "transform")
    assert marks[1] != page.get_attribute("#threshold-line", "transform")
    page.get_by_role("button", name="Back to the bundle's").click()
    assert flagged(page) == sweep.flagged[sweep.own]
    assert "flags" in page.inner_text("#threshold-said")


def test_the_mouse_drags_the_threshold(opened, labelled):
    page = opened()
    picture = page.locator("svg.draggable")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(across, down)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, down, steps=5)
    page.mouse.up()
    assert flagged(page) == labelled.sweep.flagged[-1] == 0
    page.mouse.move(across, down)
    assert flagged(page) == 0  # let go


def test_a_dot_of_the_map_tells_its_row_to_the_pointer_and_to_the_keyboard(opened, labelled):
    page = opened()
    page.locator("#map-slider").focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    worst = labelled.worst[0]
    assert page.inner_text("#map-told").startswith(f"row {worst.number}, score ")
    assert "segment" in page.inner_text("#map-told") and "labelled" in page.inner_text("#map-told")
    ring = page.locator("#map .ring").first
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    assert page.locator("#map-tip").is_hidden()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.inner_text("#map-tip") == page.inner_text("#map-told")
    assert page.inner_text("#map-tip").startswith(f"row {worst.number}, ")


def test_every_control_has_a_name_and_every_picture_is_told(opened):
    page = opened()
    for role in ("slider", "button", "img", "region"):
        for one in page.get_by_role(role).all():
            assert page.evaluate(
                """element => element.getAttribute("aria-label") || element.labels?.length
                   || element.textContent.trim() || element.getAttribute("aria-labelledby")""",
                one.element_handle(),
            ), one
    assert page.get_by_role("slider", name="Threshold").count() == 1
