"""Draw the pictures of the README from the real program: `make pictures`; needs chromium.

The words of the page go into docs/static/report.txt: a test compares them with those of today's page.
"""

import re
import shutil
import tempfile
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import sync_playwright

from aetool.cli import main as aetool

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs" / "static"
WORDS = STATIC / "report.txt"
THEMES = ("light", "dark")
WIDTH, HEIGHT = 1280, 860
"""Pixels that the pictures show, from the top of the page."""


def report(path: Path) -> str:
    """Make the report of the bundle in exported/, and return its HTML."""
    words = ["report", "exported/breast-cancer", "--data", "exported/samples.csv", "--label", "malignant"]
    words = [str(ROOT / word) if word.startswith("exported") else word for word in words]
    result = CliRunner().invoke(aetool, [*words, "-o", str(path)])
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


def words_of(html: str) -> str:
    """Return the words of a page, one line for each element: numbers differ a little from machine to machine."""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", "", html, flags=re.DOTALL)
    lines = re.sub(r"[\d.,:%-]+", "", re.sub(r"<[^>]+>", "\n", text)).splitlines()
    return "\n".join(line.strip() for line in lines if line.strip()) + "\n"


def main() -> None:
    """Write the pictures and the words."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        WORDS.write_text(words_of(report(page)), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for theme in THEMES:
            size = {"width": WIDTH, "height": HEIGHT}
            tab = browser.new_page(viewport=size, color_scheme=theme)  # type: ignore[arg-type]
            tab.goto(page.as_uri())
            tab.screenshot(path=STATIC / f"report-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main()
