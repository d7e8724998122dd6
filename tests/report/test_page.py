"""The page as a document: whole, closed, self-contained, and safe with anybody's names."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_results import document, measurement

from aetool.report import benchmark_page, read_result

VOID = {"meta", "br", "hr", "col", "img", "input"}
HOSTILE = "<script>alert(1)</script>\"' onload=x & </svg>\u202e\x00"


class Page(HTMLParser):
    """What stands in a page; every element must be closed by its own end."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.links, self.texts, self.refers = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs), (tag, attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        for name in ("aria-labelledby", "aria-describedby"):
            self.refers += (given.get(name) or "").split()
        assert not any(name.startswith("on") for name in given), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


@pytest.fixture
def page(write):
    """The page of a document, as text."""
    return lambda document: benchmark_page(read_result(write(document)))


def pictures(text):
    """Every inline SVG, read as the XML that it has to be."""
    found = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    return [ET.fromstring(one) for one in found if "xmlns" in one]


def everything_is_in_order(text):
    """Closed, ids used once and found, nothing from outside, every figure told in words."""
    found = Page(text)
    assert len(set(found.ids)) == len(found.ids)
    assert set(found.refers) <= set(found.ids)
    inside = [link for link in found.links if not link.startswith("data:image/png;base64,")]
    assert {link.removeprefix("#") for link in inside} <= set(found.ids) and inside
    assert "@import" not in text and "url(" not in text
    outside = re.sub(r'xmlns="[^"]*"', "", text)
    assert "http://" not in outside and "https://" not in outside
    assert "nan" not in re.findall(r'(?:d|x|y|x1|y1|cx|width|height)="([^"]*)"', text.lower())
    drawn = pictures(text)
    assert len(drawn) == found.tags.count("figure") == found.tags.count("figcaption") > 0
    for one in drawn:
        names = [child.tag.rpartition("}")[2] for child in one]
        assert names[:2] == ["title", "desc"] and all(child.text for child in one[:2])
    return found


def test_many_measurements(page, many):
    found = everything_is_in_order(page(many))
    assert len(many["results"]) > 60
    assert "aetool against raw-onnxruntime: faster in 17 of 19 cases" in found.text
    assert found.tags.count("tr") > len(many["results"])
    for heading in ("Latency", "Throughput", "Measurements", "Start-up and memory", "Agreement"):
        assert heading in found.texts
    assert "Inside the graph" in found.texts  # one of them was profiled


def test_one_measurement_of_few_samples(page, single):
    text = page(single)
    found = everything_is_in_order(text)
    assert "No comparison in this file. aetool takes" in found.text
    assert text.count('title="not enough samples"') == 3
    assert "Warning" not in found.text and "Comparison" not in found.texts


@pytest.mark.parametrize("samples", [1, 2])
def test_hardly_any_samples(page, samples):
    everything_is_in_order(page(document([measurement(samples=samples)])))


def test_all_that_may_be_null_is_null(page, single):
    (found,) = single["results"]
    found |= dict.fromkeys(("resident_after_load_bytes", "peak_memory_bytes", "threads", "placement"))
    found["share_of_peak"] = None
    single["bundle"]["embedding"] = None
    single["machine"]["quota_cores"] = 1.5
    for file in single["bundle"]["files"].values():
        file["multiply_adds_per_row"] = None
    single["agreement"] = []
    text = page(single)
    shown = everything_is_in_order(text)
    assert "1.5 allowed by the container" in shown.text
    assert "Agreement" not in shown.texts
    assert "matrix peak" not in text and "memory copy" in text


def test_an_unstable_measurement_is_told_loudly_and_at_its_ratio(page, many):
    text = page(many)
    assert "1 of 95 measurements not stable" in text and 'role="region"' in text
    assert text.index("1 of 95 measurements not stable") < text.index('id="latency"')
    assert "windows 21.0\xa0% apart" in text and text.count('class="sparkline"') == 1
    next(found for found in many["results"] if not found["stability"]["stable"])["stability"]["reason"] = (
        "so noisy"
    )
    assert "so noisy" in page(many) and "no stable measurement in 1 of 19 cases" in text
    for found in many["results"]:
        found["stability"]["stable"] = True
    assert "not stable" not in page(many)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (
            {"p50": 0.71, "spread": [0.69, 0.73], "p99": 0.9},
            ("faster", "0.90\N{MULTIPLICATION SIGN} at p99", "spread 0.69"),
        ),
        ({"p50": 1.2, "spread": [1.1, 1.3], "p99": 1.31}, ("slower", "1.31\N{MULTIPLICATION SIGN} at p99")),
        (
            {"p50": 0.99, "spread": [0.9, 1.1], "p99": None},
            ("no difference beyond the noise", "not enough samples"),
        ),
    ],
)
def test_verdicts_in_words(page, many, ratio, words):
    many["ratios"] = [many["ratios"][0] | ratio]
    text = page(many)
    assert all(word in text for word in words)
    assert "the time of raw-onnxruntime at p50" in text


def test_ratios_of_several_settings_are_told_apart(page, many):
    first = many["ratios"][0]
    many["ratios"] = [{**first, "threads": threads} for threads in (1, 2, None)]
    text = page(many)
    everything_is_in_order(text)
    assert "single-stream, 1 thread" in text and "single-stream, 2 threads" in text
    assert "single-stream, default threads" in text and "single-stream, cpu" not in text


def test_names_from_the_file_are_shown_and_never_run(page, many):
    many["bundle"]["name"] = many["machine"]["cpu"] = HOSTILE
    many["command"] = ["aetool", HOSTILE]
    many["parameters"] = {HOSTILE: HOSTILE, "nested": {HOSTILE: [HOSTILE]}}
    many["machine"]["packages"] = {HOSTILE: HOSTILE}
    many["results"][0]["profile"][0] |= {"node": HOSTILE, "op": HOSTILE}
    for entry in many["results"] + many["agreement"]:
        entry["contestant"] = entry["contestant"].replace("torch", HOSTILE)
    for entry in many["results"] + many["ratios"]:
        entry["graph"] = entry["graph"].replace("score", HOSTILE)
        entry["scenario"] = entry["scenario"].replace("offline", HOSTILE)
        entry["provider"] = HOSTILE
    text = page(many)
    found = everything_is_in_order(text)
    assert found.tags.count("script") == 1 and text.count("<script") == 1
    assert "\u202e" not in text and "\x00" not in text
    assert "<script>alert(1)</script>" in found.text  # as text


def test_throughput_is_drawn_by_scenario(page):
    loads = [(1, "single-stream"), (64, "single-stream"), (16384, "offline"), (1, "server")]
    rows = [measurement(batch=batch, scenario=scenario) for batch, scenario in loads]
    text = page(document(rows))
    everything_is_in_order(text)
    assert "encode, single-stream and offline" in text and text.count('class="s0 open"') == 1
    only = page(document(rows[3:]))
    everything_is_in_order(only)
    assert "Throughput" not in Page(only).texts


def test_parameters_and_times_are_plain_text(page, single):
    single["parameters"] = {"graphs": ["score", "encode"], "threads": [None], "against": None, "rounds": 1200}
    single["created"] = "2026-11-30T00:12:34Z"
    text = page(single).split("<script>")[0]
    assert "score, encode" in text and "1,200" in text and "30 November 2026, 00:12 UTC" in text
    assert "null" not in text and "2026-11-30T" not in text and "[&quot;" not in text


def test_long_names_are_shortened_in_figures_only(page, single):
    single["results"][0]["contestant"] = "x" * 300
    text = page(single)
    everything_is_in_order(text)
    assert "x" * 300 in text
    assert all(
        len(one.text) < 80 for svg in pictures(text) for one in svg.iter("{http://www.w3.org/2000/svg}text")
    )


def test_more_contestants_than_colours_have_signs_of_their_own(page):
    names = [f"contestant {i}" for i in range(20)]
    text = page(document([measurement(name) for name in names]))
    everything_is_in_order(text)
    legend = re.search(r'<ul class="legend">.*?</ul>', text)[0]
    signs = re.findall(r'<path d="([^"]*)" transform="[^"]*" class="(s\d) dot">', legend)
    assert len(signs) == len(set(signs)) == 20


def test_extreme_values_stay_inside_the_figures(page, single):
    (found,) = single["results"]
    found["latency_s"] |= {"min": 1e-9, "p50": 2e-6, "max": 900.0, "p90": 1.0, "p99": 800.0, "p99.9": 850.0}
    found["histogram"] = {"edges_s": [1e-9, 1e-6, 3e-6, 900.0], "counts": [0, 10**12, 1]}
    found["throughput_rows_per_s"] = 1e-3
    single["ceiling"] = {"matmul_gflops": {}, "copy_gb_per_s": 1e6}
    for svg in pictures(page(single)):
        for one in svg.iter():
            for name in ("x", "x1", "x2"):
                assert 0 <= float(one.get(name, 0)) <= 400


def test_the_policy_lets_run_what_is_in_the_page_and_nothing_else(page, single):
    import base64
    import hashlib

    text = page(single)
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#x27;sha256-{digest}&#x27;" in text
    assert "default-src &#x27;none&#x27;" in text and " style=" not in text


def test_the_same_file_gives_the_same_page(page, many):
    assert page(many) == page(many)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: the page is not opened in a browser")
def test_a_browser_opens_it_without_a_fault_and_its_script_sorts(page, many, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(many), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    opened = subprocess.run(
        [CHROMIUM, *options, "--enable-logging=stderr", "--v=0", "--dump-dom", file.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in opened.stderr  # a refused style, a script that fails
    assert '<th scope="col"><button type="button">graph</button></th>' in opened.stdout
    assert Path(file).read_text(encoding="utf-8").count("<figure") == opened.stdout.count("<figure")
