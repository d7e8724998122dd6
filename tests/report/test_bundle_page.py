"""The page of a bundle: whole and safe as a document, and alive in a browser that opens it from the disk."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from bench_results import document, measurement
from test_page import HOSTILE, everything_is_in_order

from aetool.bundle.manifest import Feature
from aetool.errors import InputError
from aetool.report import bundle_page, read_result
from aetool.report.bundle._arrays import channel_pairs, image_pair
from aetool.report.bundle.data import portray, sweep
from aetool.report.bundle.facts import stability

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "exported" / "breast-cancer"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SEGMENTS = {
    "clusters": 2,
    "rows": 100,
    "stability": {"adjusted_rand_index": 0.53, "refits": 20},
    "segments": [
        {
            "segment": number,
            "rows": 50,
            "share": 0.5,
            "label": "high mean radius",
            "name": "Large ones" * number,
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
def names():
    return np.array([f"sample {number:03}" for number in range(100)])


@pytest.fixture(scope="module")
def labelled(names):
    return portray(BUNDLE, *samples(), kept={"id": names}, source="samples.csv")


@pytest.fixture(scope="module")
def drifted():
    """Normal rows, one column of which has moved beyond all that was trained on."""
    rows, labels = samples()
    moved = rows[~labels]
    moved[:, 0] += 100
    return portray(BUNDLE, moved, source="moved.csv")


def test_the_page_offers_the_command_that_keeps_the_threshold(labelled):
    odd = bundle_page(dataclasses.replace(labelled, place="exported/my bundle"))
    assert f"aetool calibrate &#x27;exported/my bundle&#x27; --threshold {labelled.threshold:.6g}</code>" in odd
    assert "aetool calibrate" not in bundle_page(dataclasses.replace(labelled, precision="int8"))


def test_probabilities_come_with_their_reliability(labelled):
    bins = [{"rows": 40, "stated": 0.1, "actual": 0.05}, {"rows": 9, "stated": 0.8, "actual": 0.9}]
    calibrated = labelled.manifest._replace(calibration={"reliability": bins})
    page = bundle_page(dataclasses.replace(labelled, manifest=calibrated))
    assert "stated 80.0\u00a0%, 90.0\u00a0% of 9 rows" in page and "Reliability" not in bundle_page(labelled)
    spoilt = labelled.manifest._replace(calibration={"reliability": [{"rows": "many"}]})
    assert "Reliability" not in bundle_page(dataclasses.replace(labelled, manifest=spoilt))


def with_segments(portrait, count=2):
    """As if `aetool segment` had made some: a row's place in the data tells its segment."""
    points = tuple(
        dataclasses.replace(point, segment=point.number % count) for point in portrait.embedding_map.points
    )
    return dataclasses.replace(
        portrait,
        manifest=portrait.manifest._replace(segments=SEGMENTS),
        embedding_map=dataclasses.replace(portrait.embedding_map, points=points),
    )


def test_everything_is_there_and_in_order(labelled):
    found = everything_is_in_order(bundle_page(with_segments(labelled)))
    for heading in ("Scores", "Rows", "Embeddings", "Segments", "Drift", "Training", "Model card"):
        assert heading in found.texts
    assert "Made from the golden rows" not in found.text
    assert "Segment 1, Large ones" in found.text and "segment 1, Large ones" in found.text
    assert "typical 17, everybody 13 (30.8\xa0% more)" in found.text
    assert found.tags.count("table") == 5 + len(labelled.worst) + len(
        labelled.best
    )  # a table for each row; the rest once


def test_every_section_is_linked_at_the_top(labelled):
    text = bundle_page(labelled)
    navigation = text[text.index("<nav") : text.index("</nav>")]
    links = re.findall(r'href="#([^"]*)">([^<]*)<', navigation)
    assert links == re.findall(r'<h2 id="([^"]*)">([^<]*)<', text) and len(links) >= 5


def test_the_confusion_matrix_counts_every_row_once(labelled):
    text = bundle_page(labelled)
    true_positives, false_negatives, false_positives, true_negatives = (
        int(re.search(rf'id="does-{key}">([\d,]+)<', text)[1])
        for key in ("true-positives", "false-negatives", "false-positives", "true-negatives")
    )
    assert true_positives + false_negatives == labelled.anomalies
    assert true_positives + false_positives == labelled.sweep.flagged[labelled.sweep.own]
    assert false_positives + true_negatives == labelled.rows - labelled.anomalies


def test_without_a_threshold_none_is_named(labelled):
    rows, labels = samples()
    none = float(np.finfo(np.float32).max)
    unset = dataclasses.replace(labelled, threshold=none, sweep=sweep(np.ones(len(rows)), none, labels))
    text = everything_is_in_order(bundle_page(unset)).text
    assert "No threshold is set" in text and "none set" in text
    assert "340282" not in text and "e+38" not in text and "of 100 rows (" not in text


def test_drift_stands_in_the_headline_with_columns_before_and_now(drifted):
    assert drifted.changes and drifted.changes[0].name == "mean radius"
    for change in drifted.changes:
        assert sum(change.before) == pytest.approx(1) and sum(change.now) == pytest.approx(1)
        assert sum(change.now[i] for i, name in enumerate(change.bins) if name.endswith("new")) > 0
    found = everything_is_in_order(bundle_page(drifted))
    assert "Drift:" in found.texts and any("1 of 30 columns have changed (mean radius)" in t for t in found.texts)
    assert "mean radius, before and now" in found.texts and "29 columns without drift" in found.texts


def test_no_drift_is_not_in_the_headline(labelled):
    stable = {**labelled.drift, "drifted": False, "reasons": ()}
    assert "Drift:" not in bundle_page(dataclasses.replace(labelled, drift=stable))


def test_the_errors_of_the_highest_scores_are_a_grid_of_features_and_rows(labelled):
    grid = labelled.errors
    assert grid.rows[: len(labelled.worst)] == tuple(row.number for row in labelled.worst)
    assert grid.left_out == 30 - len(grid.features)
    worst = dict(zip(grid.features, (shares[0] for shares in grid.shares), strict=True))
    first = labelled.worst[0].features[0]
    assert worst[first.name] == pytest.approx(first.share)
    assert f'title="row {grid.rows[0] + 1}, {first.name}: ' in bundle_page(labelled)


def test_the_layers_are_drawn_with_widths_and_dropout_is_struck_out(labelled):
    text = bundle_page(labelled)
    assert "input 30, embedding 120, output 30" in text
    assert "<s>dropout 50.0\xa0% after embedding</s>" in text
    unknown = bundle_page(dataclasses.replace(labelled, manifest=labelled.manifest._replace(provenance={})))
    assert "does not record the layers in between" in unknown and "<s>dropout" not in unknown


def test_precisions_are_compared_where_there_are_several(labelled):
    variants = labelled.manifest.variants
    assert list(variants) == ["fp32"] and "Precisions" not in everything_is_in_order(bundle_page(labelled)).texts
    manifest = labelled.manifest._replace(variants={**variants, "fp16": variants["fp32"]._replace(figures={})})
    found = everything_is_in_order(bundle_page(dataclasses.replace(labelled, manifest=manifest)))
    assert "Precisions" in found.texts and "AUROC drop" not in found.texts  # which neither tells


def test_what_other_thresholds_would_flag_is_never_more_than_was_asked_for(labelled):
    text = bundle_page(labelled)
    lines = re.findall(r'scope="row">([\d.]+)\xa0%</th><td[^>]*>[^<]*</td><td[^>]*data-value="(\d+)"', text)
    assert len(lines) == 6
    assert all(int(flags) <= float(share) / 100 * labelled.rows for share, flags in lines)


def test_the_histogram_counts_rows_and_of_two_kinds_shares(labelled):
    assert ">share of its kind</text>" in bundle_page(labelled)
    alone = dataclasses.replace(labelled.histogram, anomalies=None)
    text = bundle_page(dataclasses.replace(labelled, histogram=alone, anomalies=None, curves=None))
    assert ">rows</text>" in text and ">share of its kind</text>" not in text


@pytest.mark.parametrize(
    ("index", "word"),
    [(0.95, "excellent"), (0.8, "good"), (0.7, "moderate"), (0.53, "poor: other rows would give other groups")],
)
def test_the_page_says_of_stable_segments_what_the_command_says(labelled, index, word):
    found = {"adjusted_rand_index": index, "refits": 20}
    portrait = with_segments(labelled)
    manifest = portrait.manifest._replace(segments={**SEGMENTS, "stability": found})
    text = bundle_page(dataclasses.replace(portrait, manifest=manifest))
    assert f"Stability: {stability(found)}" in text and f"{index:.2f}, {word} (" in text


def test_without_data_it_says_that_the_rows_are_golden():
    found = everything_is_in_order(bundle_page(portray(BUNDLE)))
    assert "Made from the golden rows" in found.text and "Drift" not in found.texts


def test_without_javascript_the_numbers_of_the_bundles_threshold_stand_there(labelled):
    text = bundle_page(labelled)
    sweep = labelled.sweep
    assert f"{sweep.flagged[sweep.own]:,} of {labelled.rows:,}" in text
    assert text.count('class="slider" hidden=""') == 2  # nothing to move that does not move


def test_every_segment_of_the_map_looks_like_no_other(labelled):
    text = bundle_page(with_segments(labelled, 50))
    figure = text[text.index("map-segment-title") :].split("</svg>")[0]
    looks = re.findall(r'<path d="M[-\d.]+,[-\d.]+(h0|m[^"M]*).*?" class="(g\d) dots', figure)
    assert len(looks) == len(set(looks)) == 50
    assert len({colour for _, colour in looks[:10]}) == 10
    style = page_style(text)
    for scheme in style.split("prefers-color-scheme: dark"):
        assert len(dict.fromkeys(re.findall(r"--g\d: (#\w+)", scheme))) == 10


def page_style(text):
    return text[text.index("<style>") : text.index("</style>")]


def test_a_row_is_told_by_its_number_from_1_and_by_what_names_it(labelled, names):
    worst = labelled.worst[0]
    found = everything_is_in_order(bundle_page(labelled))
    assert any(text.startswith(f"Row {worst.number + 1}: score ") for text in found.texts)
    assert f"id {names[worst.number]}" in found.texts and "Rows are counted from 1" in found.text


def test_long_names_of_columns_are_shown_whole(labelled):
    name = "a_name_as_long_as_those_that_data_warehouses_make_of_three_tables"
    first, *rest = labelled.worst[0].features
    worst = dataclasses.replace(labelled.worst[0], features=(dataclasses.replace(first, name=name), *rest))
    assert f"<strong>{name}</strong>" in bundle_page(dataclasses.replace(labelled, worst=(worst,)))


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
            kept=(HOSTILE,),
            features=tuple(
                dataclasses.replace(one, name=HOSTILE, found=HOSTILE, expected=HOSTILE) for one in row.features
            ),
        )
        for row in labelled.worst
    )
    text = bundle_page(
        dataclasses.replace(labelled, manifest=manifest, source=HOSTILE, worst=worst, kept=(HOSTILE,))
    )
    everything_is_in_order(text)
    assert "<script>alert" not in text


def test_50_000_rows_and_all_their_pictures_take_less_than_3_mb():
    rows, labels = samples()
    noise = np.random.default_rng(0).normal(1, 0.05, (50_000, 30)).astype(np.float32)
    many = portray(BUNDLE, np.tile(rows, (500, 1)) * noise, np.tile(labels, 500))
    assert len(bundle_page(with_segments(many)).encode()) < 3_000_000


@pytest.mark.parametrize(
    ("trained_on", "told", "not_told"),
    [
        (True, "These are the rows that the model was trained on.", 'badge less">No drift'),
        (None, "This means little if the model was trained on these very rows", 'badge less">No drift'),
        (False, 'badge less">No drift', "means little"),
    ],
)
def test_no_drift_is_news_of_other_rows_than_those_of_training_alone(labelled, trained_on, told, not_told):
    stable = {**labelled.drift, "drifted": False, "reasons": ()}
    text = bundle_page(dataclasses.replace(labelled, drift=stable, trained_on=trained_on))
    assert told in text and not_told not in text
    drifted = {**stable, "drifted": True, "reasons": ("5.0% of the rows are flagged",)}
    text = bundle_page(dataclasses.replace(labelled, drift=drifted, trained_on=trained_on))
    assert ">Drift</span>" in text and "5.0\xa0% of the rows" in text and "means little" not in text


def test_missing_values_have_columns_where_there_are_any(labelled):
    assert "missing before" not in bundle_page(labelled)
    features = ({**labelled.drift["features"][0], "missing": 0.1}, *labelled.drift["features"][1:])
    missing = dataclasses.replace(labelled, drift={**labelled.drift, "features": features})
    assert ">missing</th>" in bundle_page(missing) and "missing before" not in bundle_page(missing)


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
    assert max(image.width, image.height) <= 96 and len(image.found) < 96 * 96 * 3 * 4 / 3 + 200
    assert (image.width >= image.height) == (shape not in ((3, 40, 30), (40, 30, 3)))


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
