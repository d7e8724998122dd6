"""A graph on a device, with a CPU session in the GPU's place."""

import numpy as np
import pytest

from aetool import BundleError, InputError
from aetool.runtime._inputs import to_rows
from aetool.runtime.gpu import graph as device_graph
from aetool.runtime.gpu._arrays import CPU, DeviceArray
from aetool.runtime.gpu.graph import DeviceGraph
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS


@pytest.fixture
def session(exported):
    return open_session((exported / "detector.onnx").read_bytes(), PROVIDERS["cpu"], where="detector")


def graph_of(session, cpu=None, to=lambda data: to_rows(data, (), (30,))):
    names = [output.name for output in session.get_outputs()]
    return DeviceGraph("detector", session, to, (30,), names, memory=None, cpu=cpu, device=CPU, device_name="cpu")


@pytest.mark.parametrize("length", [0, 1, 7, 5000, 80_000])
def test_rows_of_the_host_come_back_to_the_host(session, model, many, length):
    rows = np.resize(many, (length, 30))
    graph = graph_of(session)
    score = graph.caller("score")(rows)
    np.testing.assert_allclose(score, model.score(rows), rtol=1e-5)
    both = graph.caller(None)(rows)
    np.testing.assert_array_equal(both["score"], score)
    np.testing.assert_array_equal(both["is_anomaly"], model.detect(rows))
    out = np.empty(length, np.float32)
    assert graph.caller("score")(rows, out) is out
    np.testing.assert_array_equal(out, score)


def test_a_single_row_has_results_without_the_batch_axis(session, model, rows):
    np.testing.assert_allclose(graph_of(session).caller("score")(rows[0]), model.score(rows[0]), rtol=1e-5)


def test_an_array_on_the_device_gives_one_there(session, model, rows, monkeypatch):
    monkeypatch.setattr(device_graph, "is_device_array", lambda data: True)
    graph = graph_of(session)
    found = graph.caller("score")(rows.copy())
    assert isinstance(found, DeviceArray)
    np.testing.assert_allclose(np.from_dlpack(found), model.score(rows), rtol=1e-5)
    assert sorted(graph.caller(None)(rows.copy())) == ["is_anomaly", "score"]
    with pytest.raises(InputError, match="out: results for rows on a device stay there"):
        graph.caller("score")(rows.copy(), np.empty(len(rows), np.float32))


@pytest.mark.parametrize(("fewest", "on_cpu"), [(None, [1, 100, 5000]), (100, [1]), (101, [1, 100]), (1, [])])
def test_batches_below_the_crossover_run_on_the_cpu(session, model, many, monkeypatch, fewest, on_cpu):
    seen = []

    class Recording:
        def caller(self, output):
            def call(rows, out=None):
                seen.append(len(rows))
                return model.run("detector", rows) if output is None else model.score(rows, out=out)

            return call

    monkeypatch.setattr(device_graph, "crossover", lambda *_: fewest)
    graph = graph_of(session, cpu=Recording())
    for length in (1, 100, 5000):
        np.testing.assert_allclose(graph.caller("score")(many[:length]), model.score(many[:length]), rtol=1e-5)
        assert len(graph.caller(None)(many[:length])["score"]) == length
    assert seen == [length for length in on_cpu for _ in range(2)]


def test_the_crossover_is_measured_with_both(session, model, rows, monkeypatch):
    model.detect(rows)
    graph = graph_of(session, cpu=model._graphs["detector"])
    monkeypatch.setattr("aetool.runtime.gpu.graph._found", {})
    assert graph.caller("score")(rows).shape == (len(rows),)


def test_what_onnxruntime_refuses_is_a_bundle_error(session):
    wrong = graph_of(session, to=lambda data: np.zeros((3, 31), np.float32))
    wrong._row = (31,)
    with pytest.raises(BundleError, match=r"detector: onnxruntime failed on rows of shape \(3, 31\)"):
        wrong.caller("score")(None)


@pytest.mark.parametrize("out", [np.empty(3, np.float64), np.empty(4, np.float32), [0.0] * 3])
def test_an_out_that_does_not_fit_is_refused(session, rows, out):
    with pytest.raises(InputError, match="out: expected"):
        graph_of(session).caller("score")(rows[:3], out)


def test_placement_of_a_loaded_model_names_every_node(model):
    nodes = model.placement()
    assert {node.provider for node in nodes} == {"CPUExecutionProvider"}
    assert {node.operator for node in nodes} >= {"Gemm", "Not"}
    assert len(model.placement("encoder")) < len(nodes)
