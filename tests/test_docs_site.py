"""`make docs` builds without a warning, and every link in what it builds leads somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import aetool
import aetool.export
import aetool.model
import aetool.quantize
import aetool.report
import aetool.scale
import aetool.segments
import aetool.tables
from aetool.cli import main

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """Links and anchors of an HTML file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given[key] for key in ("href", "src") if given.get(key)]
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}


def broken(site: Path) -> list[str]:
    """Links between the files of a site whose file or anchor is not there."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            file, anchor = urldefrag(unquote(link.split("?")[0]))
            target = (path.parent / file).resolve() if file else path
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                found.append(f"{path.relative_to(site)}: {link}")
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndocs: ")[2].partition("\n\n")[0]
    options = re.search(r"-m sphinx (.*) docs docs/_build$", recipe, re.MULTILINE)[1].split()
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", *options, "-d", str(folder / "trees"), "docs", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "--fail-on-warning" in options
    assert done.returncode == 0, done.stderr
    return (folder / "site").resolve()


def test_every_link_leads_somewhere(site):
    assert len(list(site.rglob("*.html"))) > 20
    assert broken(site) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">x</a><a href="b.html#not">x</a><a href="c.html">x</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    assert broken(tmp_path.resolve()) == ["a.html: b.html#not", "a.html: c.html"]


def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.rglob("*.html"):
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//", path.read_text()), path


def test_the_reference_of_commands_and_the_schema_are_there(site):
    text = (site / "cli.html").read_text(encoding="utf-8")
    assert all(f"aetool {name}" in text for name in main.commands)
    assert (site / "manifest.schema.json").exists()


ROOMS = (
    aetool,
    aetool.export,
    aetool.model,
    aetool.quantize,
    aetool.report,
    aetool.scale,
    aetool.segments,
    aetool.tables,
)
TYPES = {"__version__", "PRECISIONS", "Calibration", "Precision"}  # no callables


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(site, room):
    anchors = Page((site / "api.html").read_text(encoding="utf-8")).anchors
    missing = [name for name in room.__all__ if name not in TYPES and f"{room.__name__}.{name}" not in anchors]
    assert missing == []
