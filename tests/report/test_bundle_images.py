"""The page of a bundle whose rows are images: pictures instead of lists of pixels."""

import json
import re
import shutil

import numpy as np
import pytest
from portraits import BUNDLE, samples
from test_page import everything_is_in_order

from aetool.report import bundle_page
from aetool.report.bundle._images import change_of, image_pair
from aetool.report.bundle.data import portray
from aetool.segments import add_segments

SHAPE = (5, 6)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The repository's bundle, as if its 30 columns were pixels."""
    path = shutil.copytree(BUNDLE, tmp_path_factory.mktemp("images") / "images")
    content = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    content["image"] = SHAPE
    (path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def test_no_list_of_pixels_is_on_the_page(images):
    add_segments(images, samples()[0], clusters=2, source="samples.csv")
    rows, labels = samples()
    moved = rows[~labels]
    moved[:, 0] += 100
    portrait = portray(images, moved, source="moved.csv")
    assert portrait.drift["drifted"] and not portrait.changes and portrait.errors is None
    found = everything_is_in_order(bundle_page(portrait))
    assert not [name for name in portrait.manifest.feature_names if any(name in text for text in found.texts)]
    assert any("1 of 30 pixels have changed" in text for text in found.texts)
    assert any("images of 5 \N{MULTIPLICATION SIGN} 6" in text for text in found.texts)


def test_each_picture_says_in_words_what_it_shows(images):
    portrait = portray(images, samples()[0])
    page = bundle_page(portrait)
    told = re.findall(r'<img src="[^"]*" alt="([^"]*)"', page)
    number = portrait.worst[0].number + 1
    assert told[0].startswith(f"Row {number} as found: ") and "(black)" in told[0]
    assert told[1] == f"Row {number} as the model expects it"
    assert told[2].startswith(f"Row {number}, found less expected: up to ")
    assert len(told) == 3 * len((*portrait.worst, *portrait.best)) + (portrait.drift is not None) + len(
        portrait.segment_images
    )
    assert portrait.worst[0].image.found.width == 6 and portrait.worst[0].image.found.height == 5


def test_a_difference_above_and_one_below_have_colours_of_their_own():
    dark, bright, same = (change_of(np.array([[value, 1.0], [0.0, 0.0]])) for value in (-1.0, 1.0, 0.0))
    assert len({dark.png, bright.png, same.png}) == 3
    pair = image_pair(np.array([[0.0, 4.0]]), np.array([[3.0, 4.0]]))
    assert (pair.low, pair.high, pair.largest) == (0.0, 4.0, 3.0)
