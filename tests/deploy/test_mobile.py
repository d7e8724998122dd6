"""ORT format: the files run, the operators are named, what is wrong is not given."""

import numpy as np
import onnx
import pytest

from aetool.bundle.bundle import Bundle
from aetool.deploy import mobile as mobile_module
from aetool.deploy.mobile import mobile
from aetool.errors import BundleError, ExportError, VerificationError


class Changed(Bundle):
    """A bundle whose detector is another."""

    detector = b""

    def graph(self, graph, precision="fp32"):
        return self.detector if graph == "detector" else super().graph(graph, precision)


@pytest.fixture(scope="module")
def made(cancer_bundle):
    return mobile(cancer_bundle)


def test_every_graph_is_there_with_the_operators_that_a_build_needs(made):
    assert {f"{graph}.ort" for graph in ("encoder", "decoder", "autoencoder", "detector")} < set(made.files)
    assert all(made.files[name][4:8] == b"ORTM" for name in made.files if name.endswith(".ort"))
    operators = [line for line in made.files["required_operators.config"].decode().splitlines() if line[0] != "#"]
    assert all(len(line.split(";")) == 3 for line in operators)
    assert any("Gemm" in line for line in operators)
    assert b"/" not in made.files["required_operators.config"]  # no path of the machine that made it


def test_a_graph_that_does_not_compute_what_was_trained_is_refused(cancer_bundle, monkeypatch):
    monkeypatch.setattr(mobile_module, "in_order", lambda _: ("detector",))
    changed = Changed(cancer_bundle.path, cancer_bundle.manifest)
    model = onnx.load_from_string(cancer_bundle.graph("detector"))
    weight = next(w for w in model.graph.initializer if w.name.endswith("residual_weight"))
    weight.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.01), weight.name)
    )
    changed.detector = model.SerializeToString()
    with pytest.raises(VerificationError, match="detector in ORT format does not compute what was trained: score"):
        mobile(changed)


def test_a_graph_that_is_not_let_in_is_never_given_to_onnxruntime(cancer_bundle, monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a process was started"))
    changed = Changed(cancer_bundle.path, cancer_bundle.manifest)
    changed.detector = b"no graph"
    monkeypatch.setattr(mobile_module, "in_order", lambda _: ("detector",))
    with pytest.raises(BundleError, match="detector: refused before it runs"):
        mobile(changed)


def test_a_graph_that_onnxruntime_does_not_run_is_refused(cancer_bundle, monkeypatch):
    monkeypatch.setattr(mobile_module, "in_order", lambda _: ("detector",))
    changed = Changed(cancer_bundle.path, cancer_bundle.manifest)
    model = onnx.load_from_string(cancer_bundle.graph("detector"))
    (node,) = (node for node in model.graph.node if node.op_type == "LeakyRelu")
    node.CopyFrom(onnx.helper.make_node("Gelu", node.input, node.output, approximate="other"))
    model.opset_import[0].version = 20
    changed.detector = model.SerializeToString()
    with pytest.raises(ExportError, match=r"onnxruntime cannot run detector: .*approximation_algorithm: other"):
        mobile(changed)
