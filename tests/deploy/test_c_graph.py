"""What the generator of C sees of a graph: the same numbers, and no name or text of its author."""

import hostile_names
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aetool.deploy._generator import plain_graph
from aetool.runtime.providers import onnxruntime

EVIL = "*/ evil /*"
ROWS = np.array([[-1.5, 2.0]], np.float32)


def run(model):
    session = onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: ROWS})


def branch(operator):
    """A graph inside an If that reads values from outside."""
    node = helper.make_node(operator, ["in side", f"weight {EVIL}"], [f"inner {EVIL}"], name=f"{EVIL} {operator}")
    output = helper.make_tensor_value_info(f"inner {EVIL}", TensorProto.FLOAT, [None, 2])
    weight = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), f"weight {EVIL}")
    return helper.make_graph([node], EVIL, [], [output], [weight])


@pytest.fixture
def model():
    zero = numpy_helper.from_array(np.array(0.0, np.float32), EVIL)
    nodes = [
        helper.make_node("LeakyRelu", [EVIL + "in"], ["in side"], name=EVIL, alpha=0.5),
        helper.make_node("Constant", [], [f"zero {EVIL}"], value=zero),
        helper.make_node("ReduceSum", ["in side"], [f"sum {EVIL}"], keepdims=0),
        helper.make_node("Greater", [f"sum {EVIL}", f"zero {EVIL}"], [f"is {EVIL}"]),
        helper.make_node(
            "If",
            [f"is {EVIL}"],
            ["score"],
            then_branch=branch("Add"),
            else_branch=branch("Mul"),
            name=f"{EVIL} if",
        ),
        helper.make_node("Clip", ["score", "", f"zero {EVIL}"], [f"extra {EVIL}"]),
    ]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, [EVIL, 2]),
        helper.make_tensor_value_info(f"extra {EVIL}", TensorProto.FLOAT, [EVIL, 2]),
    ]
    given = helper.make_tensor_value_info(EVIL + "in", TensorProto.FLOAT, [EVIL, 2])
    graph = helper.make_graph(nodes, EVIL, [given], outputs, doc_string=EVIL)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(EVIL, 1)]
    made = helper.make_model(graph, opset_imports=opsets[:1], ir_version=9, producer_name=EVIL, doc_string=EVIL)
    helper.set_model_props(made, {EVIL: EVIL})
    return made


def test_the_graph_computes_the_same_and_holds_no_text_of_its_author(model):
    (expected, _) = run(model)
    model.opset_import.append(helper.make_opsetid(EVIL, 1))  # onnxruntime refuses it, the check of graphs does not
    model.graph.node[0].attribute.append(helper.make_attribute(EVIL, EVIL))
    plain = plain_graph(model, "detector", "features", ["score", "is_anomaly"])
    assert b"evil" not in plain.SerializeToString()
    onnx.checker.check_model(plain)
    assert [value.name for value in plain.graph.input] == ["features"]
    assert [value.name for value in plain.graph.output] == ["score"]
    np.testing.assert_array_equal(run(plain)[0], expected)


def test_a_hostile_bundle_leaves_nothing_behind_in_any_graph(cancer_bundle):
    for graph in ("encoder", "decoder", "autoencoder", "detector", "explainer"):
        model = hostile_names.hostile(onnx.load_from_string(cancer_bundle.graph(graph)))
        given, outputs = model.graph.input[0].name, [value.name for value in model.graph.output]
        content = plain_graph(model, graph, given, outputs).SerializeToString()
        for name in (hostile_names.MARK, "x" * 20, "*/", "??/", "constructor"):
            assert name.encode() not in content
