"""Names of segments: kept in the manifest, and nothing else in the bundle changes."""

import json
import shutil

import pytest

import aetool
from aetool.bundle.bundle import Bundle
from aetool.checks.verify import verify_bundle
from aetool.errors import BundleError, InputError
from aetool.segments import name_segments


@pytest.fixture
def path(segmented, tmp_path):
    return shutil.copytree(segmented.bundle.path, tmp_path / "bundle")


def names_in(path):
    return [entry.get("name") for entry in aetool.load(path).manifest.segments["segments"]]


def test_names_are_kept_changed_and_taken_away(path):
    before = Bundle.open_whole(path)
    name_segments(path, {0: "Small shops", 2: 'Été & co, "große"'})
    assert names_in(path) == ["Small shops", None, 'Été & co, "große"']
    name_segments(path, {2: "", 1: "Others"})
    assert names_in(path) == ["Small shops", "Others", None]
    name_segments(path, {0: "", 1: ""})
    after = Bundle.open_whole(path)
    assert after.manifest == before.manifest
    assert all(after.read(name) == before.read(name) for name in before.manifest.files)
    assert all(record.passed for record in verify_bundle(path))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({3: "x"}, "segment 3: .* has segments 0 to 2"),
        ({-1: "x"}, "segment -1"),
        ({0: "two\nlines"}, "one line"),
        ({0: "x" * 101}, "at most 100 letters expected, found 101"),
    ],
)
def test_what_is_no_name_or_no_segment_is_refused_and_nothing_changes(path, names, told):
    before = Bundle.open_whole(path).manifest
    with pytest.raises(InputError, match=told):
        name_segments(path, names)
    assert Bundle.open_whole(path).manifest == before


def test_a_bundle_without_segments_has_none_to_name(plain):
    with pytest.raises(InputError, match="has no segments to name"):
        name_segments(plain, {0: "x"})


@pytest.mark.parametrize("segments", [{"clusters": 2}, {"segments": [{}]}, {"segments": [3]}])
def test_segments_changed_by_hand_are_told(path, segments):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "segments": segments}))
    with pytest.raises(BundleError, match="changed by hand"):
        name_segments(path, {0: "x"})
