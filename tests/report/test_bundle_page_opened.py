"""The page of a bundle, opened from the disk in a browser."""

import dataclasses
import shutil

import numpy as np
import pytest
from portraits import with_segments
from test_page import everything_is_in_order

from aetool.report import bundle_page
from aetool.report.bundle._images import image_pair
from aetool.report.bundle._windows import channel_pairs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
    pages = []

    def go(portrait=None, **options):
        file.write_text(bundle_page(portrait or with_segments(labelled)), encoding="utf-8")
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


OVERLAPS = """selector => {
    const boxes = [...document.querySelectorAll(selector)].map((text) => [text, text.getBoundingClientRect()]);
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1)
        .filter(([other, b]) => one.ownerSVGElement === other.ownerSVGElement && meet(a, b))
        .map(([other]) => one.textContent + " | " + other.textContent));
}"""


SMALL = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.getClientRects().length && !/^(script|style|title|desc)$/i.test(one.tagName))
    .filter((one) => [...one.childNodes].some((part) => part.nodeType === 3 && part.textContent.trim()))
    .filter((one) => {
        const frame = one.ownerSVGElement;
        const scale = frame ? frame.getBoundingClientRect().width / frame.viewBox.baseVal.width : 1;
        return parseFloat(getComputedStyle(one).fontSize) * scale < 11.95;
    })
    .map((one) => one.textContent)"""


CUT = """() => {
    for (const one of document.querySelectorAll("details")) one.open = true;
    return [...document.querySelectorAll(".explained .scroll, .explained p")]
        .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent);
}"""


@pytest.mark.parametrize("width", [375, 1280])
def test_no_text_covers_another_and_none_of_a_rows_card_is_cut(opened, labelled, width):
    page = opened(with_segments(labelled, 12), viewport={"width": width, "height": 900})
    assert page.locator("svg .large").count() == 12
    assert page.evaluate(OVERLAPS, "svg text") == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SMALL) == []


def test_it_is_printed_without_controls_and_with_whole_tables(opened):
    page = opened(viewport={"width": 690, "height": 900})  # A4 between its margins
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("nav").is_visible() and not page.locator("#threshold-slider").is_visible()
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 691
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every((e) => e.clientHeight >= e.scrollHeight)"
    )


def test_images_are_pictures_and_windows_curves(opened, labelled):
    random = np.random.default_rng(0)
    image = image_pair(*random.random((2, 1, 28, 20)))
    found, expected = random.random((2, 300, 3))
    found[7, 2] = 9.0
    channels = tuple(channel_pairs(found, expected, np.abs(found - expected)))
    assert channels[0].name == "channel 2" and 7 in channels[0].steps and max(channels[0].found) == 9.0
    first, second, *_ = labelled.worst
    rows = (
        dataclasses.replace(first, features=(), image=image),
        dataclasses.replace(second, features=(), channels=channels),
    )
    shown = dataclasses.replace(labelled, worst=rows, best=(), errors=None)
    everything_is_in_order(bundle_page(shown))
    page = opened(shown)
    sizes = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.naturalHeight])")
    assert sizes == [[20, 28]] * 3  # decoded, and allowed by the page's policy
    assert page.locator("article svg[role=img]").count() == 3


@pytest.mark.parametrize("shape", [(28, 28), (3, 40, 30), (40, 30, 3), (5, 16, 16), (1, 200, 500)])
def test_images_of_any_layout_fit_into_the_page(shape):
    image = image_pair(*np.random.default_rng(0).random((2, *shape)))
    assert max(image.found.width, image.found.height) <= 96 and len(image.found.png) < 96 * 96 * 3 * 4 / 3 + 200
    assert (image.found.width >= image.found.height) == (shape not in ((3, 40, 30), (40, 30, 3)))


def test_a_table_wider_than_its_place_says_that_it_scrolls(opened, labelled):
    page = opened(labelled, viewport={"width": 375, "height": 900})
    hint = page.locator(".wide:has(+ .scroll > .heat)")
    hint.wait_for(state="visible")
    page.set_viewport_size({"width": 1280, "height": 900})
    hint.wait_for(state="hidden")


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
    assert f"{sweep.hits[3] / labelled.anomalies * 100:.1f}\xa0%" in page.inner_text("#does-recall")
    assert page.inner_text("#tile-recall-0") in page.inner_text("#does-recall")
    assert page.inner_text("#tile-flagged-1").startswith(f"{flagged(page)} of ")
    assert int(page.inner_text("#does-true-positives")) == sweep.hits[3]
    assert page.inner_text("#tiles-at").startswith("At the threshold ")
    command = page.inner_text("#does-command")
    assert command.endswith(f"--threshold {float(page.inner_text('#does-threshold')):g}")
    assert page.inner_text("#does-recall") in slider.get_attribute("aria-valuetext")
    assert marks[0] != page.get_attribute("#roc-mark", "transform")
    assert marks[1] != page.get_attribute("#threshold-line", "transform")
    page.get_by_role("button", name="Reset to the bundle's threshold").click()
    assert flagged(page) == sweep.flagged[sweep.own]
    assert "flags" in page.inner_text("#threshold-said")
    assert page.inner_text("#tiles-at").startswith("At the bundle's threshold")


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


def test_a_dot_of_the_map_tells_its_row_to_the_pointer_and_to_the_keyboard(opened, labelled, names):
    page = opened()
    assert page.inner_text("#map-row").startswith("row ")  # before anything was moved
    page.locator("#map-slider").focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    worst = labelled.worst[0]
    assert page.inner_text("#map-row").startswith(f"row {worst.number + 1}, id {names[worst.number]}, score ")
    assert "segment" in page.inner_text("#map-row") and "labelled" in page.inner_text("#map-row")
    ring = page.locator("#map .ring").first
    ring.scroll_into_view_if_needed()
    box = ring.bounding_box()
    assert page.locator("#map-tip").is_hidden()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.inner_text("#map-tip") == page.inner_text("#map-row")
    assert page.inner_text("#map-tip").startswith(f"row {worst.number + 1}, ")


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
