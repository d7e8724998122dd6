"""The page of a bundle whose rows are images: pictures, and no field for each pixel."""

import json
import shutil
from pathlib import Path

import hosts
import numpy as np

import aetool
from aetool.bundle.bundle import Bundle
from aetool.deploy.web import web_page

PATIENCE_MS = 120_000
PIXELS = """id => {
    const canvas = document.getElementById(id);
    const { width, height } = canvas;
    return [width, height, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
}"""


def test_the_page_draws_rows_and_lists_no_pixels(cancer_bundle, write, need, tmp_path):
    need("Chromium")
    path = shutil.copytree(cancer_bundle.path, tmp_path / "images")
    content = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    (path / "manifest.json").write_text(json.dumps({**content, "image": [5, 6]}), encoding="utf-8")
    bundle = Bundle.open(path)
    row = np.arange(30, dtype=np.float32)
    table = Path(tmp_path / "one.csv")
    table.write_text(",".join(bundle.manifest.feature_names) + "\n" + ",".join(map(str, row)) + "\n")
    folder = write(web_page(bundle))
    with hosts.browser() as browser:
        page, wrong = browser.new_page(viewport={"width": 375, "height": 900}), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto((folder / "index.html").as_uri())
        page.wait_for_selector("#check-mark.good", timeout=PATIENCE_MS)
        assert page.locator("#feature-rows tr").count() == 0 and page.locator("#form").is_hidden()
        assert "images of 5 \N{MULTIPLICATION SIGN} 6" in page.inner_text("#about")
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.set_input_files("#csv", table)
        page.wait_for_selector("#found[aria-label^='Row 1 of one.csv as found']")
        width, height, *found = page.evaluate(PIXELS, "found")
        expected, difference = (page.evaluate(PIXELS, name)[2:] for name in ("expected", "difference"))
        assert wrong == []
    with aetool.load(path) as model:
        wanted = model.reconstruct(row[None])[0]
    low, high = min(row.min(), wanted.min()), max(row.max(), wanted.max())
    assert (width, height) == (6, 5)
    for pixels, values in ((found, row), (expected, wanted)):
        assert np.allclose(pixels[::4], 255 * (values - low) / (high - low), atol=1)
    apart = row - wanted
    seen = np.abs(apart) > 0.1 * np.abs(apart).max()
    assert np.allclose(difference[3::4], 255 * np.abs(apart) / np.abs(apart).max(), atol=1)
    assert np.array_equal(np.array(difference[::4])[seen] > 100, (apart > 0)[seen])  # orange above, blue below
