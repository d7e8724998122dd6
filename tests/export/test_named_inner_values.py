"""What the export says of values between nodes, and which nodes sum the squares."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import info, layers, model_of

import aetool
from aetool.export import export_checkpoint
from aetool.export.publish import inner_values
from aetool.model import AutoencoderConfig, TrainingConfig, train


def test_values_that_stay_are_named_and_those_that_are_fused_are_not():
    model = model_of(
        [
            *layers(),
            helper.make_node("Sub", ["x", "y"], ["difference"]),
            helper.make_node("Mul", ["difference", "difference"], ["square"]),
        ],
        [info("x", ["batch", 6])],
        [info("square", ["batch", 6])],
    )
    # Tanh goes into the Gemm before it: "before" is gone.
    assert inner_values(model.SerializeToString()) == ("z", "y", "difference")


def test_values_without_a_row_for_each_row_are_not_named():
    model = model_of(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["count"], ["largest"], keepdims=0),
            helper.make_node("Div", ["x", "largest"], ["share"]),
            helper.make_node("Tanh", ["share"], ["y"]),
        ],
        [info("x", ["batch", 6])],
        [info("y", ["batch", 6])],
        weights={},
    )
    assert inner_values(model.SerializeToString()) == ("share",)


def test_images_have_none():
    model = model_of(
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])],
        [info("x", ["batch", 1, 4, 4])],
        [info("y", ["batch", 1, 4, 4])],
        weights={},
    )
    assert inner_values(model.SerializeToString()) == ()


@pytest.mark.parametrize(("width", "expected"), [(12, ["ReduceSumSquare"]), (80, ["ReduceSum"])])
def test_squares_are_summed_by_the_nodes_that_are_fastest_for_the_width(
    tmp_path: Path, make_table, width, expected
):
    rows = np.random.default_rng(0).normal(size=(200, width))
    training = TrainingConfig(epochs=1, score="reconstruction")
    exported = export_checkpoint(train(make_table(rows), training, AutoencoderConfig(width, 5)), tmp_path / "b")
    nodes = onnx.load(tmp_path / "b" / "detector.onnx").graph.node
    assert [node.op_type for node in nodes if node.op_type.startswith("ReduceSum")] == expected
    named = exported.bundle.manifest.variants["fp32"].inner_values
    assert named is not None
    assert {name for node in nodes for name in node.output} > set(named["detector"])
    with aetool.load(tmp_path / "b", provider="cpu") as model:
        many, few = model.score(rows), np.concatenate([model.score(rows[i : i + 4]) for i in range(0, 200, 4)])
        np.testing.assert_allclose(few, many, rtol=1e-6)
