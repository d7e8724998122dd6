"""What aetool computes of a graph before it runs is what onnxruntime gives when it runs."""

import numpy as np
import onnxruntime as ort
import pytest
from bundle_workers import EXPORTED
from operator_samples import SAMPLES, model_of

from aetool import Limits
from aetool.runtime.admission import CONTROL, refusal
from aetool.runtime.bounds import _Counter
from aetool.runtime.inner_values import with_outputs
from aetool.runtime.model_proto import NUMPY, read_model
from aetool.runtime.shape_rules import RULES
from aetool.runtime.shapes import Rows, Value


def computed(content, row):
    """Every value between the nodes, by name."""
    graph = read_model(content, 8, 1000).graph
    found, counter = {}, _Counter(1 << 40)
    results = counter._results

    def remember(node, *arguments):
        values, inside = results(node, *arguments)
        found.update(zip(node.outputs, values, strict=False))
        return values, inside

    counter._results = remember
    counter.count(graph, {graph.inputs[0]: Value((Rows(1), *row), 1)}, 1)
    return graph, found


def for_rows(side, n):
    return side.times * n if isinstance(side, Rows) else side


def assert_the_same(content, rows):
    graph, found = computed(content, rows.shape[1:])
    names = [name for node in graph.nodes for name in node.outputs if name]
    model = with_outputs(content, [name for name in names if name not in graph.outputs])
    results = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(names, {graph.inputs[0]: rows})
    for name, result in zip(names, results, strict=True):
        assert tuple(for_rows(side, len(rows)) for side in found[name].shape) == np.shape(result), name
        kind = found[name].kind
        assert not kind or np.dtype(NUMPY[kind]) == result.dtype, name
        if found[name].content is not None:
            sides = [for_rows(side, len(rows)) for side in found[name].content.flat]
            np.testing.assert_array_equal(np.array(sides).reshape(result.shape), result)


CASES = [(operator, n) for operator, samples in SAMPLES.items() for n in range(len(samples))]


@pytest.mark.parametrize(("operator", "n"), CASES)
def test_what_is_computed_from_shapes_is_what_onnxruntime_gives(operator, n):
    model, _ = model_of(operator, *SAMPLES[operator][n])
    content = model.SerializeToString()
    assert refusal(content, (3,), Limits()) is None
    assert_the_same(content, np.ones((2, 3), np.float32))


def test_every_operator_that_is_let_in_has_a_sample():
    assert set(SAMPLES) == set(RULES)
    assert CONTROL.isdisjoint(RULES)


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("kind", ["table", "mixed_bundle", "convolutional"])
def test_every_value_of_an_exported_graph_has_the_shape_computed(kind, rows, request):
    path = EXPORTED if kind == "table" else request.getfixturevalue(kind)
    for graph in ("encoder", "autoencoder", "detector"):
        content = (path / f"{graph}.onnx").read_bytes()
        shape = {"table": (30,), "mixed_bundle": (5,), "convolutional": (1, 8, 8)}[kind]
        assert_the_same(content, np.random.default_rng(0).uniform(0, 2, (rows, *shape)).astype(np.float32))
