"""The opset and IR version asked for are what is written; what cannot be is refused."""

import itertools

import numpy as np
import onnx
import peoples_modules as modules
import pytest
import torch
from onnx import TensorProto, helper

from aetool.bundle.manifest import GRAPHS
from aetool.errors import ExportError, InputError
from aetool.export import ExportOptions, export_checkpoint, export_module
from aetool.export.opset import RELEASES, bring_down, limits, standard_opset, target


def test_a_release_loads_what_the_one_before_it_loads():
    pairs = [RELEASES[release] for release in sorted(RELEASES)]
    assert pairs == sorted(pairs)
    assert all(first[1] <= second[1] for first, second in itertools.pairwise(pairs))


@pytest.mark.parametrize(
    ("release", "expected"),
    [("1.17", (20, 9)), ("1.17.3", (20, 9)), ("1.26", (26, 13)), ("1.99", (28, 14)), ("2.0", (28, 14))],
)
def test_a_release_between_two_measured_ones_has_the_limits_of_the_earlier(release, expected):
    assert limits(release) == expected


@pytest.mark.parametrize("release", ["1", "new", "", "1.x", "-1.2", "v1.17", "1.14", "0.9", "1.\u0663"])
def test_what_is_no_release_or_too_old_is_refused(release):
    with pytest.raises(InputError, match="onnxruntime-min: "):
        limits(release)


def test_without_wishes_opset_18_is_written():
    assert target(None, None) == (18, None)
    assert target(None, "1.17") == (18, 9)
    assert target(20, "1.17") == (20, 9)


def test_an_opset_newer_than_the_release_is_refused_before_any_work(tmp_path):
    with pytest.raises(ExportError, match=r"opset 21 was requested, onnxruntime 1\.17 loads up to 20; leave"):
        target(21, "1.17")
    options = ExportOptions(opset=21, onnxruntime_min="1.17")
    with pytest.raises(ExportError, match="loads up to 20"):
        export_module(modules.Plain(), tmp_path / "b", input_shape=(6,), options=options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("release", ["1.15", "1.17", "1.23"])
def test_what_comes_out_is_within_the_limits_of_the_release(release, trained, tmp_path):
    bundle = export_checkpoint(trained, tmp_path / "b", ExportOptions(onnxruntime_min=release)).bundle
    opset, ir = limits(release)
    for graph in GRAPHS:
        model = onnx.load_from_string(bundle.graph(graph))
        assert standard_opset(model) == bundle.manifest.opset <= opset
        assert model.ir_version == bundle.manifest.ir_version <= ir


def test_an_operator_without_an_older_form_is_refused(tmp_path):
    """GroupNormalization is of opset 18; Gelu of 20, which torch writes as older operators."""

    class Grouped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), torch.nn.GroupNorm(2, 4))

        def forward(self, x):
            return self.layers(x)

    try:
        bundle = export_module(
            Grouped(), tmp_path / "b", input_shape=(4, 4, 4), options=ExportOptions(opset=15)
        ).bundle
    except ExportError as error:
        assert "opset 15" in str(error) and "choose a --opset nearer" in str(error)
        assert list(tmp_path.iterdir()) == []
    else:
        assert bundle.manifest.opset == 15


def model_of(node, opset, ir=8):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def test_a_conversion_that_cannot_be_done_is_refused_with_the_reason():
    model = model_of(helper.make_node("Gelu", ["x"], ["y"]), 20)
    with pytest.raises(
        ExportError, match=r"opset 17: the graph \(opset 20\) cannot be converted: .*nearer to 20"
    ) as caught:
        bring_down(model, 17)
    assert "\n" not in str(caught.value)


def test_a_lower_ir_version_is_written_and_a_higher_one_never():
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), 18, ir=10)
    assert bring_down(model, 18, 9).ir_version == 9
    assert bring_down(model, 18, 13).ir_version == 9


def test_a_model_within_the_limits_is_left_alone():
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), 18)
    assert bring_down(model, 18, 9).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize("opset", [12, 99, "18", True])
def test_an_opset_that_is_none_is_refused(opset):
    with pytest.raises(ExportError, match="opset: expected 13 to"):
        bring_down(model_of(helper.make_node("Relu", ["x"], ["y"]), 18), opset)
    with pytest.raises(ExportError, match="opset: expected 13 to"):
        target(opset, "1.17")


def test_conversion_keeps_the_numbers():
    model = model_of(helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.3), 18)
    rows = np.array([[-1.0, 2.0]], np.float32)
    import onnxruntime

    for opset in (13, 15, 20):
        converted = bring_down(model, opset).SerializeToString()
        session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"x": rows})[0], [[-0.3, 2.0]], rtol=1e-6)
