"""PyTorch as a contestant computes what the checkpoint computes, and nothing of onnxruntime is with it."""

import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from aetool.bench import _torch_contestant as torch_contestant
from aetool.bench.contestants import Contestant, Load, opened
from aetool.model import save_checkpoint


@pytest.fixture
def checkpoint(trained, tmp_path):
    save_checkpoint(trained, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("graph", ["encode", "reconstruct", "score"])
def test_eager_computes_what_the_checkpoint_does(trained, checkpoint, tmp_path, graph):
    features = trained.held_out.features
    np.save(rows := tmp_path / "rows.npy", features)
    arguments = {"checkpoint": str(checkpoint), "graph": graph, "threads": 1}
    with opened([Contestant("torch", "aetool.bench._torch_contestant:eager", arguments)]) as (running,):
        loaded = running.load()
        running.take(rows)
        (output,) = loaded.outputs
        found = running.outputs()[output]
        assert len(running.turn(Load(seconds=0.01)).latencies_ns) > 0
    expected = trained.evaluate(features)[output]
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)
    assert loaded.import_s > 0 and loaded.session_creation_s > 0 and loaded.provider == "cpu"


def test_categories_are_encoded_and_decoded(mixed_trained):
    features = mixed_trained.held_out.features
    pipeline = mixed_trained.pipeline()
    import torch

    for graph, output in torch_contestant.OUTPUT.items():
        with torch.inference_mode():
            found = torch_contestant._function(pipeline, graph)(torch.from_numpy(features)).numpy()
        expected = mixed_trained.evaluate(features)[output]
        assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)


def test_compiled_is_compiled(checkpoint, monkeypatch):
    import torch

    compiled = []
    monkeypatch.setitem(sys.modules, "onnxruntime", sys.modules.get("onnxruntime"))
    monkeypatch.setattr(torch, "compile", lambda run: compiled.append(run) or run)
    subject = torch_contestant.compiled(lambda name: nullcontext(), checkpoint=str(checkpoint), graph="score")
    assert len(compiled) == 1
    assert subject.call(np.zeros((2, 30), np.float32)).shape == (2,)


def test_a_torch_process_carries_no_onnxruntime(checkpoint):
    code = (
        "import sys\nfrom contextlib import nullcontext\nfrom aetool.bench._worker import module_alone\n"
        "for name in [name for name in sys.modules if name.split('.')[0] in ('aetool', 'onnxruntime')]:\n"
        "    del sys.modules[name]\n"
        "module = module_alone('aetool.bench._torch_contestant')\n"
        f"module.eager(lambda n: nullcontext(), checkpoint={str(checkpoint)!r}, graph='score')\n"
        "assert sys.modules['onnxruntime'] is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
