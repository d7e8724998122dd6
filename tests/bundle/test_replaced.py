"""A bundle that is replaced by another one at its path: nobody gets the other one's answers without a word."""

import json
import pickle
import shutil

import numpy as np
import pytest

import aetool
from aetool import BundleError
from aetool.bundle.bundle import Bundle
from aetool.bundle.manifest import Manifest
from aetool.bundle.write import publish


@pytest.fixture
def replace(bundle):
    """replace(): publish another model at the bundle's path, sound in itself."""

    def apply():
        opened = Bundle.open_whole(bundle)
        files = {name: opened.read(name) for name in opened.manifest.files}
        other = opened.manifest._replace(id="f" * 64)
        for name in [name for name in files if name.endswith(".onnx")]:
            files[name] = files[name].replace(opened.manifest.id.encode(), other.id.encode())
        publish(bundle, other, files, overwrite=True)

    return apply


def overwritten_in_place(bundle, replace):
    """As rsync does: the directory stays, its files change."""
    aside = bundle.parent / "aside"
    shutil.copytree(bundle, aside)
    replace()
    other = bundle.parent / "other"
    bundle.rename(other)
    aside.rename(bundle)
    for file in other.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize(
    "how", [lambda bundle, replace: replace(), overwritten_in_place], ids=["renamed", "in place"]
)
def test_a_graph_opened_after_the_bundle_was_replaced_says_so(bundle, replace, rows, how):
    with aetool.load(bundle, provider="cpu") as model:
        expected = model.score(rows)
        how(bundle, replace)
        for method in (model.detect, model.encode, model.reasons, model.reconstruct):
            with pytest.raises(BundleError, match="replaced by another bundle since it was opened; load it again"):
                method(rows)
        np.testing.assert_array_equal(model.score(rows), expected)
    assert aetool.load(bundle).manifest.id == "f" * 64


def test_a_damaged_file_is_not_taken_for_a_replaced_bundle(bundle, rows):
    with aetool.load(bundle, provider="cpu") as model:
        (bundle / "encoder.onnx").write_bytes(b"")
        with pytest.raises(BundleError, match="truncated or replaced, fetch or export the bundle again"):
            model.encode(rows)


@pytest.mark.parametrize("gone", [lambda bundle, replace: replace(), lambda bundle, _: shutil.rmtree(bundle)])
def test_a_preloaded_bundle_answers_everything_whatever_becomes_of_the_directory(
    bundle, replace, rows, many, gone
):
    with aetool.load(bundle, provider="cpu") as lazy:
        expected = {
            graph: lazy.run(graph, lazy.encode(rows) if graph == "decoder" else rows) for graph in lazy.graphs
        }
        scores, reasons = lazy.score(many), lazy.reasons(rows)
    with aetool.load(bundle, provider="cpu", preload=True) as model:
        gone(bundle, replace)
        for graph, outputs in expected.items():
            found = model.run(graph, model.encode(rows) if graph == "decoder" else rows)
            for name, values in outputs.items():
                np.testing.assert_array_equal(found[name], values)
        np.testing.assert_array_equal(model.score(many), scores)
        assert model.reasons(rows) == reasons
        assert len(model.detect(many)) == len(many)


def test_preloading_refuses_a_damaged_graph_at_once(bundle):
    (bundle / "explainer.onnx").write_bytes(b"damaged")
    aetool.load(bundle).close()
    with pytest.raises(BundleError, match=r"explainer\.onnx"):
        aetool.load(bundle, preload=True)


def test_a_pickle_refuses_another_bundle_than_was_pickled(bundle, replace):
    pickled = pickle.dumps(aetool.load(bundle))
    replace()
    with pytest.raises(BundleError, match=r"another bundle than the one that was pickled.*f{12}.*load it again"):
        pickle.loads(pickled)


def test_a_pickle_refuses_the_same_model_with_another_threshold_or_other_graphs(bundle):
    """The id covers the model as it was exported, not a variant that was made again."""
    with aetool.load(bundle) as model:
        pickled = pickle.dumps(model)
        manifest = model.manifest
    original = (bundle / "manifest.json").read_text()
    other = manifest.to_dict()
    other["variants"]["fp32"]["threshold"] *= 2
    (bundle / "manifest.json").write_text(json.dumps(other))
    with pytest.raises(BundleError, match="another bundle than the one that was pickled"):
        pickle.loads(pickled)
    (bundle / "manifest.json").write_text(original)
    assert pickle.loads(pickled).threshold == model.threshold


def test_a_pickle_opens_a_bundle_to_which_something_was_added(bundle, rows):
    """Segments, another precision, a README: nothing of what was pickled."""
    manifest = Manifest.from_json((bundle / "manifest.json").read_text(), "manifest.json")
    files = {name: (bundle / name).read_bytes() for name in manifest.files}
    fp32 = manifest.variants["fp32"]
    without = fp32._replace(files={graph: file for graph, file in fp32.files.items() if graph != "explainer"})
    publish(bundle, manifest._replace(variants={"fp32": without}), files, overwrite=True)
    pickled = pickle.dumps(aetool.load(bundle))
    added = {**manifest.variants, "again": fp32}
    changed = {**files, "README.md": b"new"}
    publish(bundle, manifest._replace(variants=added), changed, overwrite=True)
    np.testing.assert_array_equal(pickle.loads(pickled).score(rows), aetool.load(bundle).score(rows))
