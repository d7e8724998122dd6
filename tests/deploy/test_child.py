"""The process in which `deploy` works on strangers' graphs: its limits hold, its end is told in words."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from aetool.deploy._child import WORKS, in_child, run_graphs
from aetool.errors import ExportError


def model(*nodes, outputs=("y",)):
    """A graph of float32 rows."""
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", ports, made)
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


ROWS = np.ones((3, 2), np.float32)


def test_outputs_come_back_by_name():
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["y"], ["z"])]
    found = run_graphs({"one": (model(*nodes, outputs=("y", "z")), ROWS)}, ".onnx", "here")
    assert set(found["one"]) == {"y", "z"} and found["one"]["y"].tolist() == (-ROWS).tolist()


def test_a_graph_that_takes_more_memory_than_allowed_ends_its_own_process():
    wide = helper.make_tensor("wide", TensorProto.INT64, [2], [1 << 15, 1 << 15])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=wide),
        helper.make_node("ReduceSum", ["x"], ["one"], keepdims=1),
        helper.make_node("Expand", ["one", "shape"], ["y"]),
    ]
    with pytest.raises(ExportError, match=r"here: onnxruntime cannot run one: .*Expand node.*use another target"):
        run_graphs({"one": (model(*nodes), ROWS)}, ".onnx", "here")


def test_a_process_that_takes_too_long_is_ended(tmp_path):
    (tmp_path / "onnx").mkdir()
    with pytest.raises(ExportError, match="conversion timed out after 0 s"):
        in_child("conversion", tmp_path, "here", seconds=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"a run crashed \(SIGSEGV\) within 1\.0 GiB"),
        ("raise MemoryError('too much')", "a run failed: MemoryError: too much"),
        ("import sys; sys.exit(7)", "a run failed: no message"),
    ],
)
def test_an_end_of_the_process_is_told_in_words(tmp_path, monkeypatch, line, message):
    worker = tmp_path / "worker.py"
    worker.write_text(line, encoding="utf-8")
    monkeypatch.setitem(WORKS, "a run", (worker,))
    with pytest.raises(ExportError, match=message):
        in_child("a run", tmp_path, "here", memory=1 << 30)


def test_the_limits_are_those_of_the_process(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, resource, sys\n"
        "from aetool.deploy._child import run_limited\n"
        "run_limited(lambda: None)\n"
        "kinds = resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE\n"
        "sys.exit(str([resource.getrlimit(kind) for kind in kinds]))\n",
        encoding="utf-8",
    )
    monkeypatch.setitem(WORKS, "a run", (worker,))
    expected = str([(3 << 30, 3 << 30), (60, 60), (0, 0)])
    with pytest.raises(ExportError) as caught:
        in_child("a run", tmp_path, "here", memory=3 << 30, seconds=60)
    assert expected in str(caught.value)
