"""The page in a real Chromium: what a person sees and does, and what it must not do."""

import re
import shutil
from pathlib import Path

import hosts
import numpy as np
import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.golden import read_golden
from aetool.deploy.web import VERSION, onnxruntime_web, web, web_page

ROOT = Path(__file__).parents[2]
RUNTIME = hosts.NODE_MODULES / "onnxruntime-web"
CHECKED = "#check-mark:is(.good, .bad)"
ENGINES = {"core": None, "ONNX Runtime Web": RUNTIME}
on_both = pytest.mark.parametrize("site", ENGINES, indirect=True)
"""What asks the model. The others ask the page: 14 MB of ONNX Runtime Web cost a second and a half each time."""


@pytest.fixture(scope="module")
def chromium(need):
    need("Chromium")
    with hosts.browser() as browser:
        yield browser


@pytest.fixture(scope="module", params=["core"])
def site(cancer_bundle, write, need, request):
    need("Chromium")
    return write(web(cancer_bundle, ENGINES[request.param]))


@pytest.fixture(scope="module")
def address(site):
    with hosts.served(site) as url:
        yield url


@pytest.fixture
def opened(chromium):
    """opened(url): the page, when it has checked itself; what it asks for and complains of is kept."""
    pages = []

    def go(url, **options):
        page = chromium.new_page(**options)
        page.asked, page.wrong = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.goto(url)
        page.wait_for_selector(CHECKED)
        pages.append(page)
        return page

    yield go
    for page in pages:
        page.close()


def verdict(page):
    return page.inner_text("#verdict-word"), float(
        re.search(r"Score (\S+);", page.inner_text("#verdict-score"))[1]
    )


@pytest.mark.parametrize("site", ["ONNX Runtime Web"], indirect=True)  # the core's: test_core_wasm.py
def test_the_page_checks_itself_and_shows_a_normal_row(opened, address):
    page = opened(address)
    told = page.inner_text("#check-text")
    assert "84 golden rows" in told and "no decision flipped" in told
    assert verdict(page)[0] == "Normal"
    assert page.locator("#check-rows tr").count() == 8
    assert page.wrong == []
    assert all(url.startswith((address, "data:")) for url in page.asked)


@on_both
def test_a_click_scores_a_row_as_pytorch_did(opened, address, cancer_bundle):
    page = opened(address)
    page.click("#abnormal")
    page.wait_for_selector(".is-anomaly")
    golden = read_golden(cancer_bundle)
    word, score = verdict(page)
    assert word == "Anomaly"
    assert np.isclose(golden["score"][golden["is_anomaly"]], score, rtol=1e-3).any()  # four digits are shown


def test_a_row_is_scored_while_its_values_are_typed(opened, address):
    page = opened(address)
    assert page.inner_text("#row-name").startswith("A normal row, golden row ")
    page.focus("#value-3")
    page.keyboard.press("Control+A")
    page.keyboard.type("9000")
    page.wait_for_selector(".is-anomaly")
    assert page.inner_text("#row-name").endswith(", changed")
    assert page.inner_text("#echo") == f"Anomaly, score {page.inner_text('#verdict-score').split()[1].strip(';')}"
    reason = page.locator("#reasons li").first.inner_text().split("\n")
    assert reason[1] == "mean area" and re.fullmatch(r"found 9000, expected [\d.]+", reason[2])
    assert reason[0] == page.locator("tr:has(#value-3) .share").inner_text()
    page.check("#order")
    assert page.locator("#feature-rows th").first.inner_text() == "mean area"


def test_the_score_stands_on_a_log_scale_with_the_threshold_on_it(opened, address, cancer_bundle):
    page = opened(address)
    page.click("#abnormal")
    page.wait_for_selector(".is-anomaly")
    fill, mark = (
        page.eval_on_selector(f"#scale-{part}", f"({{ style }}) => parseFloat(style.{side})")
        for part, side in (("fill", "width"), ("mark", "left"))
    )
    ticks = page.eval_on_selector_all(
        "#scale-ticks span", "(all) => all.map((tick) => [Number(tick.textContent), parseFloat(tick.style.left)])"
    )
    (low, start), (high, end) = ticks[0], ticks[-1]
    assert (start, end) == (0, 100) and low < high
    threshold = cancer_bundle.manifest.variants["fp32"].threshold
    for value, place in ((threshold, mark), (verdict(page)[1], fill)):
        assert place == pytest.approx(100 * np.log(value / low) / np.log(high / low), abs=0.1)
    assert page.inner_text("#scale-limit") == f"threshold {threshold:.4g}"


def test_the_address_may_carry_a_threshold(opened, address, cancer_bundle):
    page = opened(address)
    score = verdict(page)[1]
    for threshold, word in ((score * 0.9, "Anomaly"), (score * 1.1, "Normal")):
        page = opened(f"{address}?threshold={threshold}")
        assert verdict(page) == (word, score)
        assert f"threshold {float(f'{threshold:.4g}'):g}" in page.inner_text("#scale-limit")


@pytest.mark.parametrize("typed", ["", "NaN", "inf"])
def test_a_value_that_is_none_is_never_normal(opened, address, typed):
    page = opened(address)
    page.fill("#value-0", typed)
    page.wait_for_selector(".is-anomaly")


def test_text_where_a_number_belongs_is_told_beside_its_field(opened, address):
    page = opened(address)
    page.click("#abnormal")
    page.wait_for_selector(".is-anomaly")
    page.fill("#value-1", "twelve")
    page.wait_for_selector("#error-1:not([hidden])")
    assert page.inner_text("#error-1") == "Not a number"
    assert page.get_attribute("#value-1", "aria-describedby") == "error-1"
    assert page.inner_text("#verdict-word") == "Not scored" and not page.is_visible(".is-anomaly")
    assert (
        page.inner_text("#verdict-score") == "Correct mean texture." and page.inner_text("#echo") == "Not scored"
    )
    assert page.locator("#reasons li").count() == 0
    type_at_once = """(field) => ["9000", "8", "eight"].forEach((text) => {
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
    })"""
    page.eval_on_selector("#value-2", type_at_once)
    page.wait_for_selector("#error-2:not([hidden])")
    assert page.inner_text("#verdict-score") == "Correct mean texture and 1 more."
    page.fill("#value-2", "80")
    page.fill("#value-1", "12")
    page.wait_for_selector("#verdict-word:is(.good, .bad)")
    assert not page.is_visible("#error-1")


@on_both
def test_a_csv_is_scored_row_by_row(opened, address):
    page = opened(address)
    page.set_input_files("#csv", ROOT / "exported" / "samples.csv")
    page.wait_for_selector("#file-rows tr")
    assert page.locator("#file-rows tr").count() == 100
    assert "of 100 rows are anomalies" in page.inner_text("#file-title")
    row = page.inner_text("#file-rows tr[aria-current=true] button")
    assert page.inner_text("#row-name") == f"{row} of samples.csv"
    page.click("#file-rows tr:last-child button")  # the lowest score
    page.wait_for_selector("#verdict:not(.is-anomaly)")
    row = page.inner_text("#file-rows tr[aria-current=true]:last-child button")
    assert page.inner_text("#row-name") == f"{row} of samples.csv"
    with page.expect_download() as download:
        page.click("#download")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "row,score,is_anomaly" and len(lines) == 101


def test_a_csv_with_other_columns_is_refused_by_name(opened, address, tmp_path):
    (tmp_path / "other.csv").write_text("mean radius,colour\n1,2\n", encoding="utf-8")
    page = opened(address)
    page.set_input_files("#csv", tmp_path / "other.csv")
    page.wait_for_selector("#error:not([hidden])")
    told = page.inner_text("#error")
    assert "29 of its 30 columns are missing, 'mean texture'" in told and "found 'mean radius', 'colour'" in told
    assert page.inner_text("#verdict-word") == "Not scored"


def test_a_file_from_a_spreadsheet_is_read_and_told(opened, address, tmp_path):
    text = (ROOT / "exported" / "samples.csv").read_text(encoding="utf-8")
    (tmp_path / "Proben.csv").write_bytes(text.replace(",", ";").replace(".", ",").encode("utf-16"))
    page = opened(address)
    page.set_input_files("#csv", tmp_path / "Proben.csv")
    page.wait_for_selector("#file-rows tr")
    notes = "read with semicolons between columns, a decimal comma, encoding UTF-16LE"
    assert page.inner_text("#file-notes") == notes
    found = page.inner_text("#file-title"), page.inner_text("#file-rows"), page.inner_text("#verdict-score")
    page.set_input_files("#csv", ROOT / "exported" / "samples.csv")
    page.wait_for_selector("#file-title:has-text('samples.csv')")
    page.wait_for_selector("#verdict-score:has-text('Score')")
    plain = page.inner_text("#file-title"), page.inner_text("#file-rows"), page.inner_text("#verdict-score")
    assert found == (plain[0].replace("samples", "Proben"), *plain[1:])


def test_a_file_that_cannot_be_read_leaves_nothing_of_the_one_before(opened, address, tmp_path):
    (tmp_path / "ragged.csv").write_text("a,b\n1\n", encoding="utf-8")
    page = opened(address)
    page.set_input_files("#csv", ROOT / "exported" / "samples.csv")
    page.wait_for_selector("#file-rows tr")
    page.set_input_files("#csv", tmp_path / "ragged.csv")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error").startswith("ragged.csv: this looks like another table")
    assert not page.is_visible("#file") and page.inner_text("#verdict-word") == "Not scored"
    assert page.inner_text("#row-name") == "ragged.csv" and page.locator("#reasons li").count() == 0
    page.click("#normal")
    page.wait_for_selector("#verdict-word.good")
    assert not page.is_visible("#error")


@on_both
def test_an_empty_cell_alone_is_what_the_score_is_due_to(opened, address):
    page = opened(address)
    page.fill("#value-5", "")
    page.check("#order")
    page.wait_for_selector(".is-anomaly")
    assert page.locator("#feature-rows th").first.inner_text() == "mean compactness"
    widths = page.evaluate("[...document.querySelectorAll('.bar')].map(({ style }) => style.width)")
    assert widths == ["100%", *["0%"] * 29]
    assert page.locator(".bar").first.get_attribute("title") == "makes the score infinite"


def test_shares_are_of_the_score_and_the_largest_comes_first(opened, address, cancer_bundle):
    page = opened(address)
    page.check("#order")
    page.click("#abnormal")
    page.wait_for_selector(".is-anomaly")
    widths = [float(width.rstrip("%")) for width in page.evaluate(
        "[...document.querySelectorAll('.bar')].map(({ style }) => style.width)"
    )]  # fmt: skip
    assert widths == sorted(widths, reverse=True) and sum(widths) == pytest.approx(100, abs=0.1)
    cells = page.evaluate("Array.from({ length: 30 }, (_, i) => document.querySelector(`#value-${i}`).value)")
    (expected,) = aetool.load(cancer_bundle.path).reasons(np.array([cells], dtype=np.float32), 3)
    names = page.locator("#feature-rows th").all_inner_texts()[:3]
    assert names == [reason.feature for reason in expected]


def test_a_bundle_without_an_explainer_shows_no_shares(opened, cancer_bundle, write):
    variant = cancer_bundle.manifest.variants["fp32"]
    files = {graph: path for graph, path in variant.files.items() if graph != "explainer"}
    variants = {"fp32": variant._replace(files=files)}
    older = Bundle(cancer_bundle.path, cancer_bundle.manifest._replace(variants=variants))
    with hosts.served(write(web(older, RUNTIME))) as url:
        page = opened(url)
        assert page.wrong == [] and page.locator("#verdict-word").inner_text() == "Normal"
        assert not page.is_visible("#order") and not page.is_visible(".bar")


@pytest.mark.parametrize("width", [1200, 375])
def test_nothing_is_wider_than_the_window(opened, address, width):
    page = opened(address, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(opened, address):
    page = opened(address)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("input, select, button")]
           .filter((control) => !control.labels?.length && !control.textContent.trim())
           .map((control) => control.id)"""
    )
    assert unnamed == []


def test_a_changed_weight_is_found_by_the_page(opened, cancer_bundle, write):
    folder = write(web(cancer_bundle, RUNTIME))
    graph = folder / "model" / "decoder.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2 + 3] ^= 0x40  # within the weights
    graph.write_bytes(content)
    with hosts.served(folder) as url:
        page = opened(url)
        assert "does not compute what was trained" in page.inner_text("#check-text")


def test_one_file_opens_from_the_disk_and_asks_for_nothing(opened, cancer_bundle, write):
    folder = write(web_page(cancer_bundle, RUNTIME))
    page = opened((folder / "index.html").as_uri())
    assert "no decision flipped" in page.inner_text("#check-text")
    page.click("#abnormal")
    page.wait_for_selector(".is-anomaly")
    assert page.wrong == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert (folder / "index.html").stat().st_size < 8e6


def test_a_page_of_ones_own_uses_the_module(chromium, site, tmp_path):
    shutil.copytree(ROOT / "examples" / "web", tmp_path / "app")
    shutil.copytree(site, tmp_path / "app" / "site")
    with hosts.served(tmp_path / "app") as url:
        page = chromium.new_page()
        page.goto(url)
        page.wait_for_selector("#result:not(:empty)")
        assert re.match(r"Normal: score 0\.\d+", page.inner_text("#result"))
        page.close()


def test_the_runtime_is_the_version_that_is_fetched_by_default(need):
    need("Chromium")
    assert onnxruntime_web(RUNTIME).version == VERSION
