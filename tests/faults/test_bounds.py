"""How many numbers a graph is said to hold: shared where nodes must follow each other, and nowhere else."""

import numpy as np
import pytest
from hostile_graphs import FEATURES, also, honest, i64, kept_by_another_order, node

from aetool import Limits
from aetool.onnx_check._memory import numbers_held
from aetool.onnx_check.check import refusal
from aetool.onnx_check.model import read_model

LARGE = 1_000_000


def held(*nodes, kept=(), **constants):
    model = honest()
    also(*nodes, **constants)(model)
    graph = read_model(model.SerializeToString(), 8, 1000).graph
    return numbers_held(graph, (FEATURES,), 1 << 40, kept)


def chain(count):
    """Large values, each made of the one before; not by constants alone."""
    return [
        node("ReduceMin", "features", "c", keepdims=0),
        node("Expand", "c s", "v0"),
        *(node("Abs", f"v{i}", f"v{i + 1}") for i in range(count)),
    ]


def test_nodes_that_follow_each_other_share_their_memory():
    assert 2 * LARGE <= held(*chain(30), s=i64(LARGE)) < 2.1 * LARGE


def test_values_that_are_kept_share_nothing():
    assert held(*chain(30), kept=[f"v{i}" for i in range(31)], s=i64(LARGE)) > 31 * LARGE


def test_nodes_that_may_run_in_another_order_share_nothing():
    assert held(*kept_by_another_order(20), s=i64(LARGE)) > 20 * LARGE


def test_what_follows_from_constants_alone_is_held_twice_and_for_ever():
    nodes = [node("Expand", "c s", "v0"), *(node("Abs", f"v{i}", f"v{i + 1}") for i in range(9))]
    assert held(*nodes, c=np.float32(1), s=i64(LARGE)) > 20 * LARGE


@pytest.mark.parametrize(("channels", "times"), [(1, 8), (16, 0.5)])
def test_images_of_few_channels_take_as_much_as_of_sixteen(channels, times):
    side = int((LARGE / channels) ** 0.5)
    nodes = [
        node("ReduceMin", "features", "c", keepdims=0),
        node("Expand", "c s", "x"),
        node("Conv", "x w", "y"),
    ]
    weights = np.ones((channels, channels, 1, 1), "f4")
    numbers = held(*nodes, s=i64(1, channels, side, side), w=weights)
    assert numbers == pytest.approx(2 * (1 + times) * LARGE, rel=0.02)


def test_the_workspace_of_an_operator_counts():
    nodes = [
        node("ReduceMin", "features", "c", keepdims=0),
        node("Expand", "c s", "x"),
        node("ConvTranspose", "x w", "y"),
    ]
    numbers = held(*nodes, s=i64(1, 1, 300, 300), w=np.ones((1, 1, 15, 15), "f4"))
    assert numbers > 15 * 15 * 300 * 300


def test_a_shape_of_rows_may_be_used_as_exporters_do():
    """A batch through Shape, Gather, Concat, Slice, Reshape, Expand and Where of Equal, as PyTorch writes them."""
    model = honest()
    also(
        node("Shape", "features", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n zeros", "n1"),
        node("Mul", "n1 three", "n3"),
        node("Concat", "n3 rest", "target", axis=0),
        node("Reshape", "features target", "split"),
        node("Slice", "split zeros end zeros", "all"),
        node("Concat", "n1 minus", "asked", axis=0),
        node("Equal", "asked minus", "open"),
        node("ConstantOfShape", "two", "ones", value=onnx_ones()),
        node("Where", "open ones asked", "sizes"),
        node("Expand", "one sizes", "wide"),
        node("Reshape", "all back", "features2"),
        zero=np.int64(0),
        zeros=i64(0),
        three=i64(3),
        rest=i64(10),
        end=i64(2**63 - 1),
        minus=i64(-1),
        two=i64(2),
        one=np.ones((1, 1), "f4"),
        back=i64(-1, FEATURES),
    )(model)
    assert refusal(model.SerializeToString(), (FEATURES,), Limits()) is None


def onnx_ones():
    from onnx import numpy_helper

    return numpy_helper.from_array(i64(1))
