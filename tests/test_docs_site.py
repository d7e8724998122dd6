"""`make docs` builds without a warning, its notebooks run, and every link in what it builds leads somewhere."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import click
import pytest
from documented import every_command

import aetool
import aetool.export
import aetool.model
import aetool.quantize
import aetool.release
import aetool.report
import aetool.segments
import aetool.stream
import aetool.tables

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


def build(pages: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The site of `pages` in folder/site; what notebooks keep for a while goes into the folder too."""
    places = ["-d", folder / "trees", pages, folder / "site"]
    command = [sys.executable, "-m", "sphinx", "-c", ROOT / "docs", *options, *places]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": path}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndocs: ")[2].partition("\n\n")[0]
    options = re.search(r"-m sphinx (.*) docs docs/_build/html$", recipe, re.MULTILINE)[1].split()
    assert "--fail-on-warning" in options
    folder = tmp_path_factory.mktemp("docs")
    done = build(ROOT / "docs", folder, *options)
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
    assert all(f"aetool {name}" in text for name in every_command())
    anchors = Page(text).anchors
    for words, command in every_command().items():
        options = {param.opts[-1] for param in command.params if isinstance(param, click.Option)}
        named = {"-".join([*words.split(), option.lstrip("-")]) for option in options - {"--quiet", "--json"}}
        assert named <= anchors
    assert (site / "manifest.schema.json").exists()


ROOMS = (
    aetool,
    aetool.export,
    aetool.model,
    aetool.quantize,
    aetool.release,
    aetool.report,
    aetool.stream,
    aetool.segments,
    aetool.tables,
)
TYPES = {"__version__", "PRECISIONS", "Calibration", "Precision"}  # no callables


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(site, room):
    anchors = set().union(*(Page(path.read_text("utf-8")).anchors for path in (site / "api").glob("*.html")))
    modules = {path.stem for path in Path(room.__file__).parent.glob("*.py")}  # which other rooms import
    names = set(room.__all__) - TYPES - modules
    missing = [name for name in names if f"{room.__name__}.{name}" not in anchors]
    assert missing == []


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def outputs(notebook: Path) -> dict[str, list[dict]]:
    """Cell -> what it shows, of a notebook that was run."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}


@pytest.fixture
def shown(site, request):
    """What every cell of a notebook shows, as text."""
    found = outputs(site.parent / "jupyter_execute" / "notebooks" / f"{request.param}.ipynb")
    return {
        cell: "".join(line for one in parts for line in one.get("text") or one["data"]["text/plain"])
        for cell, parts in found.items()
    }


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_stored_without_what_it_shows(notebook):
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if "outputs" in cell]
    assert cells
    told = "clear the outputs of all cells before you save it"
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), told


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_draws_its_figures_into_its_page_and_warns_of_nothing(site, notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    drawing = {cell["id"] for cell in cells if "plt.show()" in "".join(cell["source"])}
    found = outputs(site.parent / "jupyter_execute" / "notebooks" / notebook.name)
    drawn = {cell for cell, parts in found.items() if any("image/png" in one.get("data", {}) for one in parts)}
    assert drawn == drawing and len(drawing) > 3
    page = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<img [^>]*_images/", page)) == len(drawing)  # the other one is the logo
    assert not [one for parts in found.values() for one in parts if one.get("name") == "stderr"]


@pytest.mark.parametrize("shown", ["first_model"], indirect=True)
def test_in_the_first_model_the_oddest_reading_is_a_planted_fault_and_most_faults_are_found(shown):
    assert re.search(r"^state: (leak|bearing|stuck)$", shown["oddest"], re.MULTILINE)
    flagged = {
        state: int(count) for state, count in re.findall(r"^(\w+) +(\d+) +\d+$", shown["again"], re.MULTILINE)
    }
    assert sum(flagged[fault] for fault in ("leak", "bearing", "stuck")) >= 18
    price = re.search(r"^0.020 +\S+ +(\d+) +(\d+)$", shown["prices"], re.MULTILINE)
    assert int(price[1]) == flagged["well"]  # the price that was told is the one that is paid
    told, of = re.search(r"(\d+) of (\d+) outputs agree", shown["verify"]).groups()
    assert told == of


@pytest.mark.parametrize("shown", ["customers"], indirect=True)
def test_the_customers_that_were_planted_are_a_segment_and_the_column_that_moved_is_named(shown):
    customers, odd = re.search(r"^senders +(\d+) +(\d+) ", shown["naming"], re.MULTILINE).groups()
    assert customers == odd == "30"
    assert shown["drift"].startswith("spending: ")


def test_a_cell_that_fails_fails_the_build_and_is_told(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    notebook = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    notebook["cells"] = [{"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# Title"}, code]
    code["source"] = "1 / 0"
    (pages / "index.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    done = build(pages, tmp_path, "--fail-on-warning", "--quiet", "-D", "html_extra_path=")
    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr
