"""The pictures in the README show today's page."""

import runpy

import documented

PICTURES = runpy.run_path(str(documented.ROOT / "docs" / "pictures.py"))


def test_the_words_of_the_pictured_page_are_those_of_today(tmp_path):
    words = PICTURES["words_of"](PICTURES["report"](tmp_path / "report.html"))
    assert len(words.split()) > 200
    assert words == (PICTURES["STATIC"] / "report.txt").read_text(encoding="utf-8"), "run: make pictures"


def test_pictures_are_small():
    for name in PICTURES["PAGES"]:
        for theme in PICTURES["THEMES"]:
            assert 10_000 < (PICTURES["STATIC"] / f"{name}-{theme}.png").stat().st_size < 150_000
