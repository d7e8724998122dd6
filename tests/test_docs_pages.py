"""The pages below docs/ are true: what they show runs, in order, each page in a clone of its own."""

import contextlib
import runpy

import documented
import pytest

PAGES = [
    path
    for path in sorted((documented.ROOT / "docs").rglob("*.md"))
    if documented.blocks(path.read_text(encoding="utf-8"), "console")
    or documented.blocks(path.read_text(encoding="utf-8"), "python")
]
PICTURES = runpy.run_path(str(documented.ROOT / "docs" / "pictures.py"))
ELSEWHERE = {"spark.md"}  # needs Spark, and with it Java


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in ELSEWHERE], ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    documented.clone(tmp_path)
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as background:
        reader = documented.Reader(background)
        for block in documented.blocks(page.read_text(encoding="utf-8")):
            if block.language == "console":
                for line in documented.lines(block.content):
                    reader.types(line)
            elif block.language == "python":
                documented.run_python(block.content.replace("8000", reader.port), str(page))
    if page.stem == "tutorial":
        pictured = (PICTURES["STATIC"] / "tutorial.txt").read_text("utf-8")
        assert _top(PICTURES["words_of"]((tmp_path / "customers.html").read_text("utf-8"))) == _top(pictured)


def _top(words):
    """The part of a report's words that its picture shows: what comes later depends on the machine."""
    top, found, _ = words.partition("\nOther thresholds\n")
    assert found
    return top


def test_there_are_pages():
    assert {"tutorial", "train", "export", "serve", "update", "format"} <= {page.stem for page in PAGES}


def test_a_page_that_lies_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as background, pytest.raises(AssertionError, match="info nothing"):
        documented.Reader(background).types(documented.lines("$ aetool info nothing\n")[0])
    with contextlib.ExitStack() as background, pytest.raises(AssertionError, match="promised"):
        documented.Reader(background).types(documented.lines("$ aetool --version\naetool, promised 1.0\n")[0])
    with pytest.raises(AssertionError, match="promised"):
        documented.run_python("print((1, 2))  # (promised)\n", "page")
