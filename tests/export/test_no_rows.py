"""No rows: onnxruntime ends the process on them in some graphs, so they never reach it."""

import subprocess
import sys

import numpy as np
import pytest
from torch import nn

import aetool
from aetool.export import export_module
from aetool.runtime.gpu._arrays import CPU, run_on_device
from aetool.runtime.ort import open_session
from aetool.runtime.providers import PROVIDERS

EVERY_CALLER = """
import sys
import numpy as np
import aetool
from aetool.bench.factories import bundle as warmed
from aetool.checks.verify import verify_rows

class Phase:
    def __call__(self, name):
        return self
    def __enter__(self):
        pass
    def __exit__(self, *_):
        pass

path, provider = sys.argv[1:]
with aetool.load(path, provider=provider) as model:
    none = np.empty((0, *model.input_shape))
    rows = np.ones((3, *model.input_shape), np.float32)
    for graph in model.graphs:
        given = np.empty((0, *model.manifest.embedding_shape)) if graph == "decoder" else none
        one = model.run(graph, np.ones((1, *given.shape[1:])))
        for name, values in model.run(graph, given).items():
            assert values.shape == (0, *one[name].shape[1:]) and values.dtype == one[name].dtype, (graph, name)
    for method in (model.encode, model.reconstruct, model.score, model.detect):
        assert len(method(none)) == len(method([])) == 0
        out = np.empty_like(method(none))
        assert method(none, out=out) is out
        assert len(method(rows)) == 3
    assert model.reasons(none) == [] and len(model.explain(none).contribution) == 0
for graph in ("encode", "reconstruct", "score"):
    warmed(Phase(), path=path, graph=graph, provider=provider, precision="fp32")
assert all(record.passed for record in verify_rows(path, none, provider=provider))
print("done")
"""


class Recurrent(nn.Module):
    """Windows, (batch, 5, 4), through two recurrent layers, the first of which gives the embedding."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.enc, self.dec = kind(4, 3, batch_first=True), kind(3, 4, batch_first=True)

    def forward(self, windows):
        code, _ = self.enc(windows)
        return code, self.dec(code)[0]


@pytest.fixture(scope="module", params=["LSTM", "GRU"])
def recurrent(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("recurrent") / "bundle"
    rows = np.random.default_rng(0).normal(size=(120, 5, 4)).astype(np.float32)
    export_module(Recurrent(getattr(nn, request.param)).eval(), path, rows=rows)
    return path


@pytest.mark.parametrize(("recurrent", "provider"), [("LSTM", "cpu"), ("GRU", "openvino")], indirect=["recurrent"])
def test_no_rows_give_empty_results_from_a_recurrent_bundle_whoever_asks(recurrent, provider):
    done = subprocess.run(
        [sys.executable, "-c", EVERY_CALLER, str(recurrent), provider],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "needs an Intel CPU" in done.stderr:
        pytest.skip("the OpenVINO plugin offers no device on this CPU")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_no_rows_on_a_device_give_empty_results_there(recurrent, monkeypatch):
    session = open_session((recurrent / "detector.onnx").read_bytes(), PROVIDERS["cpu"], where="detector")
    monkeypatch.setattr(type(session), "run_with_iobinding", lambda *_: pytest.fail("onnxruntime was asked"))
    none = np.empty((0, 5, 4), np.float32)
    found = run_on_device(session, none, (5, 4), device=CPU)
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == {
        "score": ((0,), np.float32),
        "is_anomaly": ((0,), np.bool_),
    }
    assert np.from_dlpack(found["score"]).shape == (0,)


def test_the_runtime_asks_onnxruntime_for_rows_only(recurrent):
    """The guard stands before every graph, not before those that are known to abort."""
    with aetool.load(recurrent, provider="cpu") as model:
        model.score(np.ones((1, 5, 4)))
        graph = next(iter(model._graphs.values()))
        graph._run_once = lambda *_: pytest.fail("onnxruntime was asked")
        assert model.score(np.empty((0, 5, 4))).shape == (0,)
