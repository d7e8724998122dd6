"""What `load` would not run, `deploy` gives to nobody."""

import json
import shutil
from pathlib import Path

import hosts
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import aetool
from aetool.bundle.bundle import Bundle
from aetool.bundle.files import sha256
from aetool.deploy.c import c
from aetool.deploy.mobile import mobile
from aetool.deploy.node import node
from aetool.deploy.triton import triton
from aetool.deploy.web import web
from aetool.errors import BundleError


def to_web(bundle):
    return web(bundle, hosts.NODE_MODULES / "onnxruntime-web")


@pytest.fixture(scope="module")
def bomb(cancer_bundle, tmp_path_factory):
    """A bundle with right hashes whose detector makes 256 GiB of one row."""
    path = Path(shutil.copytree(cancer_bundle.path, tmp_path_factory.mktemp("bomb") / "bundle"))
    model = onnx.load(path / "detector.onnx")
    wide = numpy_helper.from_array(np.array([1 << 18, 1 << 18], np.int64), "wide")
    model.graph.initializer.append(wide)
    model.graph.node.append(helper.make_node("Expand", ["score", "wide"], ["more"]))
    content = model.SerializeToString()
    (path / "detector.onnx").write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["detector.onnx"] = {"sha256": sha256(content), "size": len(content)}
    manifest["variants"]["fp32"].pop("inner_values", None)
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Bundle.open_whole(path)


@pytest.mark.parametrize("target", [c, mobile, node, to_web, triton])
def test_no_target_takes_a_graph_that_load_refuses(bomb, target, need, monkeypatch):
    if target is to_web:
        need("Chromium")
    with pytest.raises(BundleError, match="refused before it runs"):
        aetool.load(bomb.path, provider="cpu").score(np.ones((1, 30)))
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a process was started"))
    with pytest.raises(BundleError, match="detector: refused before it runs"):
        target(bomb)
