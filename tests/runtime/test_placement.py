"""Which provider takes each node: as onnxruntime recorded it."""

import pytest

from aetool import BundleError, ProviderError
from aetool.runtime import ort
from aetool.runtime.ort import placement
from aetool.runtime.providers import PROVIDERS


@pytest.mark.parametrize("graph", ["encoder", "decoder", "autoencoder", "detector"])
def test_every_node_of_a_bundle_is_on_the_cpu_when_asked_for(exported, graph):
    nodes = placement((exported / f"{graph}.onnx").read_bytes(), PROVIDERS["cpu"], graph)
    assert {node.provider for node in nodes} == {"CPUExecutionProvider"}
    assert "Gemm" in {node.operator for node in nodes}
    assert all(node.name for node in nodes)


def test_a_placement_cannot_be_changed(exported):
    node = placement((exported / "encoder.onnx").read_bytes(), PROVIDERS["cpu"], "encoder")[0]
    with pytest.raises(AttributeError):
        node.provider = "CUDAExecutionProvider"


def test_a_session_that_nobody_asked_records_nothing(exported):
    opened = ort.open_session((exported / "encoder.onnx").read_bytes(), PROVIDERS["cpu"], where="here")
    with pytest.raises(Exception, match="record_ep_graph_assignment_info"):
        opened.get_provider_graph_assignment_info()


def test_what_is_no_model_is_a_bundle_error():
    with pytest.raises(BundleError, match=r"somewhere\.onnx: onnxruntime .* refuses it"):
        placement(b"nothing", PROVIDERS["cpu"], "somewhere.onnx")


def test_an_onnxruntime_that_cannot_tell_is_an_error_naming_the_version(exported, monkeypatch):
    real = ort.onnxruntime()

    class Old(real.InferenceSession):
        get_provider_graph_assignment_info = property()  # as if it were not there

    monkeypatch.setattr(real, "InferenceSession", Old)
    with pytest.raises(ProviderError, match=r"needs onnxruntime 1\.24\.1 or newer, found "):
        placement((exported / "encoder.onnx").read_bytes(), PROVIDERS["cpu"], "encoder")
