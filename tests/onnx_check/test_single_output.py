"""The score without the decision: fewer nodes, the same bits."""

import numpy as np
import pytest

import aetool
from aetool.bundle.files import DEFAULT_LIMITS
from aetool.onnx_check._protobuf import BYTES, field, fields, integer
from aetool.onnx_check.check import require_admissible
from aetool.onnx_check.edit import with_only
from aetool.onnx_check.model import read_model
from aetool.runtime import graphs


def graph_of(model):
    return read_model(model, DEFAULT_LIMITS.depth, DEFAULT_LIMITS.nodes).graph


def made(graph):
    return {name for node in graph.nodes for name in node.outputs}


def node(inputs, outputs, inner=b""):
    texts = [*(field(1, name.encode()) for name in inputs), *(field(2, name.encode()) for name in outputs)]
    return field(1, b"".join(texts) + field(4, b"Add") + inner)


def test_what_only_the_decision_needs_goes(exported):
    whole = (exported / "detector.onnx").read_bytes()
    before, after = graph_of(whole), graph_of(with_only(whole, "score", ["embedding", "le", "nothing"]))
    assert after.outputs == ["score", "embedding", "nothing"]  # which onnxruntime refuses
    assert made(before) - made(after) == {"le", "is_anomaly"}
    assert [n.operator for n in after.nodes] == [n.operator for n in before.nodes][:-2]
    assert len(after.constants) == len(before.constants) - 1


def test_nodes_stay_in_whatever_order_they_stand():
    nodes = [node(["b"], ["score"]), node(["score"], ["is_anomaly"]), node(["a"], ["b"]), node(["a"], ["c"])]
    outputs = [field(12, field(1, name)) for name in (b"is_anomaly", b"score")]
    less = with_only(integer(1, 8) + field(7, b"".join(nodes + outputs)), "score")
    assert [n.outputs for n in graph_of(less).nodes] == [["score"], ["b"]]
    assert less.startswith(integer(1, 8))


def test_with_graphs_inside_nodes_which_read_values_by_name_all_stays():
    # node.attribute: name, its graph, and that it is one (AttributeProto.GRAPH = 5)
    inner = field(5, field(1, b"body") + field(6, node(["c"], ["d"])) + integer(20, 5))
    nodes = [node(["a"], ["c"]), node(["a"], ["score"], inner), node(["score"], ["is_anomaly"])]
    less = with_only(field(7, b"".join([*nodes, field(12, field(1, b"score"))])), "score")
    assert len(graph_of(less).nodes) == 3


@pytest.mark.parametrize(
    "part", [field(14, b"\x0a\xff"), field(14, field(1, b"\xff\xfe"))]
)  # GraphProto.quantization_annotation: no message, a name that is no text
def test_what_admission_does_not_read_is_left_to_onnxruntime(exported, part):
    whole = (exported / "detector.onnx").read_bytes()
    parts = [
        field(number, bytes(content) + part if number == 7 else bytes(content))
        if kind == BYTES
        else integer(number, content)
        for number, kind, content in fields(memoryview(whole))
    ]
    model = b"".join(parts)
    require_admissible(model, (30,), DEFAULT_LIMITS, "detector.onnx")
    assert part in with_only(model, "score")


def test_the_score_is_that_of_the_whole_graph_to_the_bit(exported, many):
    with aetool.load(exported, provider="cpu") as model:
        for length in (0, 1, 2, 16, 17, len(many)):
            np.testing.assert_array_equal(
                model.score(many[:length]), model.run("detector", many[:length])["score"]
            )
        found = {name: [o.name for o in graph.direct.get_outputs()] for name, graph in model._graphs.items()}
        assert "is_anomaly" in found["detector"]
        assert "is_anomaly" not in found["score alone"]


def test_a_large_graph_is_in_memory_once(exported, rows, monkeypatch):
    monkeypatch.setattr(graphs, "FEW_THREADS_BYTES", 1)
    with aetool.load(exported, provider="cpu") as model:
        model.score(rows)
        model.detect(rows)
        assert list(model._graphs) == ["detector"]


def test_of_a_graph_that_nobody_checked_nothing_is_left_out(exported, rows):
    with aetool.load(exported, provider="cpu", limits=None) as model:
        assert np.isfinite(model.score(rows)).all()
        assert list(model._graphs) == ["detector"]
