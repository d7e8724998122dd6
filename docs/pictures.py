"""Draw the pictures of the README and the tutorial from the real program: `make pictures`; needs chromium.

The words of the pages go into docs/static/*.txt: tests compare them with those of today's pages.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner
from playwright.sync_api import sync_playwright

from aetool.cli import main as aetool

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs" / "static"
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


def tutorial(path: Path) -> str:
    """Run the commands of the tutorial in the directory of `path`, and return the HTML of its report."""
    shutil.copytree(ROOT / "docs", path.parent / "docs")
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in re.findall(r"^\$ (aetool|python) (.+)$", text, re.MULTILINE):
        program = [sys.executable, *(["-m", "aetool"] if line[0] == "aetool" else [])]
        command = [*program, *shlex.split(line[1], comments=True)]
        subprocess.run(
            command, cwd=path.parent, env=environment, check="drift" not in command, capture_output=True
        )
    return (path.parent / "customers.html").read_text(encoding="utf-8")


PAGES = {"report": report, "tutorial": tutorial}


def words_of(html: str) -> str:
    """Return the words of a page, one line for each element: numbers differ a little from machine to machine."""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", "", html, flags=re.DOTALL)
    lines = re.sub(r"[\d.,:%-]+", "", re.sub(r"<[^>]+>", "\n", text)).splitlines()
    kept = [line.strip() for line in lines if line.strip() and not line.endswith("UTC")]  # the date of the page
    return "\n".join(kept) + "\n"


def main() -> None:
    """Write the pictures and the words."""
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, make in PAGES.items():
            page = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "page.html"
            page.write_text(make(page), encoding="utf-8")
            (STATIC / f"{name}.txt").write_text(words_of(page.read_text(encoding="utf-8")), encoding="utf-8")
            for theme in THEMES:
                size = {"width": WIDTH, "height": HEIGHT}
                tab = browser.new_page(viewport=size, color_scheme=theme)  # type: ignore[arg-type]
                tab.goto(page.as_uri())
                tab.screenshot(path=STATIC / f"{name}-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main()
