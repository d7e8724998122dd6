"""Bundles made of symbolic links: read where the caller allows it, never from outside their own tree."""

import os
import shutil

import numpy as np
import pytest

import aetool
from aetool import BundleError, Limits
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import linked_file, read_inside
from aetool.checks.verify import verify_bundle

LINKS = Limits(symbolic_links=True)


def as_config_map(bundle):
    """As Kubernetes mounts one: every name leads through ..data, which is swapped as a whole."""
    version = bundle / "..2026_11_29_12_00_00.1"
    version.mkdir()
    for file in [path for path in bundle.iterdir() if path.is_file()]:
        file.rename(version / file.name)
        file.symlink_to(f"..data/{file.name}")
    (bundle / "..data").symlink_to(version.name)
    return bundle


def as_model_cache(bundle):
    """As Hugging Face keeps one: blobs by their hash, snapshots of links to them."""
    entry = bundle.parent / "models--somebody--model"
    snapshot = entry / "snapshots" / "0f3a"
    snapshot.mkdir(parents=True)
    (entry / "blobs").mkdir()
    for i, file in enumerate(sorted(bundle.iterdir())):
        file.rename(entry / "blobs" / f"{i:064x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{i:064x}")
    return snapshot


def as_versions_beside_each_other(bundle):
    """A directory of the bundle that is a link, and links of links."""
    shutil.copytree(bundle, bundle / "v1")
    for file in [path for path in bundle.iterdir() if path.is_file()]:
        file.unlink()
        file.symlink_to(f"v2/../v2/{file.name}")
    (bundle / "v2").symlink_to("v1")
    return bundle


LAYOUTS = {
    "ConfigMap": as_config_map,
    "model cache": as_model_cache,
    "links of links": as_versions_beside_each_other,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_links_inside_the_tree_are_followed_where_the_caller_allows_it(bundle, layout, rows):
    expected = aetool.load(bundle).score(rows)
    path = layout(bundle)
    with pytest.raises(BundleError, match=r"symbolic link.*Limits\(symbolic_links=True\).*cp -rL"):
        aetool.load(path)
    with aetool.load(path, limits=LINKS, preload=True) as model:
        np.testing.assert_array_equal(model.score(rows), expected)
    assert Bundle.open_whole(path, limits=LINKS).manifest == model.manifest
    assert all(record.passed for record in verify_bundle(path, limits=LINKS))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_printed_remedy_makes_a_bundle_that_anybody_reads(bundle, layout, rows):
    path = layout(bundle)
    copy = bundle.parent / "copy"
    assert os.system(f"cp -rL {path} {copy}") == 0
    assert aetool.load(copy).score(rows).shape == (len(rows),)


OUTSIDE = {
    "absolute": lambda bundle, real: str(real),
    "above": lambda bundle, real: os.path.relpath(real, bundle),
    "a directory above": lambda bundle, real: (bundle / "up").symlink_to("..") or f"up/{real.name}",
    "a prefix of the name": lambda bundle, real: (
        "../" + shutil.move(str(real), f"{bundle}-other").rpartition("/")[2]
    ),
}


@pytest.mark.parametrize("target", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("name", ["manifest.json", "detector.onnx"])
def test_no_link_leads_out_of_the_bundle(bundle, rows, name, target):
    real = bundle.parent / f"outside-{name}"
    (bundle / name).rename(real)
    (bundle / name).symlink_to(target(bundle, real))
    assert (bundle / name).read_bytes()
    with pytest.raises(BundleError, match=r"leads out of the bundle; copy the bundle with `cp -rL`"):
        aetool.load(bundle, limits=LINKS).score(rows)


def test_a_blob_of_another_cache_is_outside(bundle, rows):
    snapshot = as_model_cache(bundle)
    other = shutil.copytree(snapshot.parents[1], snapshot.parents[2] / "models--other--model", symlinks=True)
    stolen = (snapshot / "detector.onnx").readlink().name
    (snapshot / "detector.onnx").unlink()
    (snapshot / "detector.onnx").symlink_to(f"../../../{other.name}/blobs/{stolen}")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        aetool.load(snapshot, limits=LINKS).score(rows)


def test_a_link_that_is_changed_after_it_was_looked_at_leads_nowhere_else(tmp_path, monkeypatch):
    (tmp_path / "bundle" / "v1").mkdir(parents=True)
    (tmp_path / "bundle" / "v1" / "a").write_bytes(b"inside")
    (tmp_path / "bundle" / "a").symlink_to("v1/a")
    (tmp_path / "a").write_bytes(b"outside")

    def looked_at_then_changed(directory, name):
        found = linked_file(directory, name)
        shutil.rmtree(tmp_path / "bundle" / "v1")
        (tmp_path / "bundle" / "v1").symlink_to(tmp_path)
        return found

    monkeypatch.setattr("aetool.bundle.files.linked_file", looked_at_then_changed)
    with pytest.raises(OSError):
        read_inside(tmp_path / "bundle", "a", 100, Limits(symbolic_links=True))


def test_a_version_that_is_swapped_while_it_is_read_is_read_from_the_next(tmp_path, monkeypatch):
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a").write_text(version)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "a").symlink_to("..data/a")
    real = os.open

    def swap_first(path, *arguments, **options):
        if path == "v1":
            monkeypatch.setattr(os, "open", real)
            (tmp_path / "new").symlink_to("v2")
            (tmp_path / "new").rename(tmp_path / "..data")
            shutil.rmtree(tmp_path / "v1")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", swap_first)
    assert read_inside(tmp_path, "a", 100, Limits(symbolic_links=True)) == b"v2"


def test_a_foreign_file_among_the_links_is_found(bundle):
    as_config_map(bundle)
    (bundle / "..data" / "more.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"more\.onnx: foreign file"):
        Bundle.open_whole(bundle, limits=LINKS)


@pytest.mark.parametrize("target", ["../outside", "signature.json", "nowhere"])
def test_a_signature_that_leads_elsewhere_is_foreign(bundle, target):
    (bundle.parent / "outside").write_text("{}")
    as_config_map(bundle)
    (bundle / "signature.json").symlink_to(target)
    with pytest.raises(BundleError, match=r"signature\.json: foreign file"):
        Bundle.open_whole(bundle, limits=LINKS)


def test_a_hard_link_says_how_to_allow_it(bundle):
    os.link(bundle / "manifest.json", bundle.parent / "other name")
    with pytest.raises(BundleError, match=r"hard link.*Limits\(hard_links=True\)"):
        aetool.load(bundle)
