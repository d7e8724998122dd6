"""A bundle without segments, or with a manifest that speaks of them wrongly."""

import json

import numpy as np
import pytest

import aetool
from aetool import BundleError, InputError
from aetool.bundle.manifest import Manifest
from aetool.checks.parity import compare_segments

DISTANCE = np.array([[1.0, 2.0], [1.0, 1.0 + 1e-7], [2.0, 1.0], [np.nan, np.nan]])
EXPECTED = np.array([0, 0, 1, -1])


def test_segment_without_segments_says_how_to_make_them(model, rows):
    with pytest.raises(InputError, match=r"no segmenter.*aetool segment"):
        model.segment(rows)
    assert "segmenter" not in model.graphs and model.manifest.segments == {}


def test_segments_that_are_no_object_are_refused(exported):
    content = json.loads((exported / "manifest.json").read_text())
    assert "segments" not in content
    with pytest.raises(BundleError, match=r"\$\.segments must be an object"):
        Manifest.from_json(json.dumps({**content, "segments": [1]}), "here")
    made = Manifest.from_json(json.dumps({**content, "segments": {"clusters": 3}}), "here")
    assert json.loads(made.to_json())["segments"] == {"clusters": 3}


def test_a_row_between_two_centres_may_be_in_either():
    found = np.array([0, 1, 1, -1])
    record = compare_segments("segmenter", EXPECTED, found, DISTANCE)
    assert record.passed and (record.flipped, record.borderline) == (0, 1)


@pytest.mark.parametrize("found", [[1, 0, 1, -1], [0, 0, 1, 0], [0, -1, 1, -1], [0, 0, 7, -1], [0, 0, 1]])
def test_any_other_row_in_another_segment_fails(found):
    assert not compare_segments("segmenter", EXPECTED, np.array(found), DISTANCE).passed


def test_a_bundle_opens_as_before(exported):
    assert aetool.load(exported).graphs == ("encoder", "decoder", "autoencoder", "detector", "explainer")
