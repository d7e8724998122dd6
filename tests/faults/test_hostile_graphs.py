"""Graphs of an author who means harm are refused before onnxruntime makes room for them."""

import json
import resource
import shutil

import numpy as np
import pytest
from bundle_workers import EXPORTED
from hostile_graphs import BOMBS, FEATURES, TRICKS, bytes_of, honest

import aetool
from aetool import BundleError, Limits
from aetool.bundle.files import DEFAULT_LIMITS, sha256
from aetool.onnx_check.check import require_admissible
from aetool.runtime import graphs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "bundle"
    shutil.copytree(EXPORTED, path)
    return path


@pytest.fixture
def load(place, monkeypatch):
    """Load a bundle with this detector, every hash right; onnxruntime must not be asked."""

    def apply(detector, **options):
        manifest = json.loads((EXPORTED / "manifest.json").read_text())
        (place / "detector.onnx").write_bytes(detector)
        manifest["files"]["detector.onnx"] = {"sha256": sha256(detector), "size": len(detector)}
        del manifest["variants"]["fp32"]["inner_values"]  # of another graph
        (place / "manifest.json").write_text(json.dumps(manifest))
        return aetool.load(place, provider="cpu", **options)

    return apply


@pytest.fixture
def refused(load, monkeypatch):
    def apply(detector):
        def asked(*_, **__):
            raise AssertionError("onnxruntime was asked")

        monkeypatch.setattr(graphs, "open_session", asked)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(BundleError) as caught:
            load(detector).score(np.ones((2, FEATURES)))
        message = str(caught.value)
        assert "detector.onnx: refused before it runs: " in message and message.isprintable()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB
        return message

    return apply


def test_the_honest_detector_runs(load):
    assert load(honest().SerializeToString()).score(np.ones((2, FEATURES))).tolist() == [30, 30]


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_fill_the_memory_is_refused(refused, name):
    model = honest()
    BOMBS[name](model)
    refused(model.SerializeToString())


@pytest.mark.parametrize("name", TRICKS)
def test_what_no_deployed_graph_needs_is_refused(refused, name):
    change, named = TRICKS[name]
    model = honest()
    change(model)
    assert named in refused(bytes_of(name, model))


def test_an_author_who_is_trusted_may_do_more(load):
    from hostile_graphs import also, node

    model = honest()
    also(node("Unique", "features"))(model)
    detector = model.SerializeToString()
    assert load(detector, limits=None).score(np.ones((1, FEATURES))) == 30
    with pytest.raises(BundleError, match="no such operator"):
        load(detector).score(np.ones((1, FEATURES)))


def test_limits_are_what_the_caller_sets(load):
    detector = honest().SerializeToString()
    for limits, named in (
        (Limits(nodes=2), "more nodes than allowed"),
        (Limits(numbers_per_row=10), "gives 30 numbers"),
        (Limits(file_bytes=100), "more than the 100 allowed"),
    ):
        with pytest.raises(BundleError, match=named):
            load(detector, limits=limits).score(np.ones((1, FEATURES)))
    with pytest.raises(BundleError, match=r"manifest\.json.*more than the 100 allowed"):
        load(detector, limits=Limits(manifest_bytes=100))


@pytest.mark.parametrize("kind", ["mixed_bundle"])
def test_every_graph_that_is_exported_is_let_in(kind, request):
    path = request.getfixturevalue(kind)
    with aetool.load(path, provider="cpu") as model:
        for graph in model.graphs:
            shape = model.manifest.embedding_shape if graph == "decoder" else model.input_shape
            require_admissible((path / f"{graph}.onnx").read_bytes(), shape, DEFAULT_LIMITS, graph)
