"""A provider asked for is used, or it is an error: never a silent CPU."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

import aetool
from aetool import BundleError, InputError, ProviderError
from aetool.runtime import ort, providers
from aetool.runtime.cpu import Graph
from aetool.runtime.providers import PROVIDERS


@pytest.mark.parametrize("name", ["gpu", "CUDA", "CPUExecutionProvider", "", None, ["cpu"], {"cpu"}])
def test_an_unknown_provider_is_an_error_listing_the_known_ones(exported, name):
    with pytest.raises(
        ProviderError, match=re.escape(f"provider {name!r} is unknown; choose one of auto, cpu, cuda, openvino")
    ):
        aetool.load(exported, provider=name)


def test_cuda_without_a_gpu_is_an_error_not_a_cpu_session(exported, monkeypatch):
    monkeypatch.setattr(providers, "cuda_devices", lambda: 0)
    with pytest.raises(ProviderError, match=r"use provider='cpu'|install aetool with the extra 'cuda'"):
        aetool.load(exported, provider="cuda")


def test_cuda_here_is_cuda_or_an_error(exported, rows):
    try:
        model = aetool.load(exported, provider="cuda")
    except ProviderError:
        return
    assert model.provider == "cuda"
    assert model._open("detector").direct.get_providers()[0] == "CUDAExecutionProvider"
    model.score(rows)


def test_cuda_that_only_seems_to_work_is_an_error(exported, monkeypatch, capfd):
    """A driver with a GPU, and an onnxruntime that cannot use it."""
    if providers.cuda_devices():
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(providers, "cuda_devices", lambda: 1)
    with pytest.raises(ProviderError, match=r"cuda.*provider='cpu'|the extra 'cuda'") as caught:
        aetool.load(exported, provider="cuda")
    assert str(caught.value).isprintable()
    assert capfd.readouterr().out == ""  # preload_dlls and the fallback of InferenceSession would print there


def test_what_is_missing_of_cuda_is_said_in_the_error_and_not_on_stdout(exported, monkeypatch, capfd):
    """onnxruntime itself would blame the nodes that fell to the CPU."""
    real = providers.onnxruntime()
    if "CUDAExecutionProvider" not in real.get_available_providers() or providers.cuda_devices():
        pytest.skip("needs onnxruntime-gpu where CUDA is not installed")
    monkeypatch.setattr(real, "preload_dlls", lambda: real.print("Failed to load", "libsome.so.13"))
    providers.load_cuda_libraries.cache_clear()
    model = (exported / "encoder.onnx").read_bytes()
    with pytest.raises(
        ProviderError,
        match=r"Failed to load libsome\.so\.13; install CUDA and cuDNN, or install aetool with the extra 'cuda'",
    ):
        ort.open_session(model, PROVIDERS["cuda"], where="here")
    providers.load_cuda_libraries.cache_clear()
    assert capfd.readouterr().out == ""
    assert "print" not in vars(real)


class FakeRuntime:
    """An onnxruntime that takes the CPU whatever it is asked for."""

    __version__ = "0"

    def __init__(self):
        self.entries = {}

    def SessionOptions(self):  # noqa: N802 - onnxruntime's name
        return SimpleNamespace(add_session_config_entry=self.entries.__setitem__)

    def InferenceSession(self, model, options, providers, enable_fallback):  # noqa: N802
        self.asked, self.fallback = providers, enable_fallback
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])


def test_a_session_that_landed_on_the_cpu_is_refused(monkeypatch):
    fake = FakeRuntime()
    monkeypatch.setattr(ort, "onnxruntime", lambda: fake)
    with pytest.raises(ProviderError, match="'cuda' was requested, onnxruntime used CPUExecutionProvider"):
        ort.open_session(b"", PROVIDERS["cuda"], where="here")
    assert fake.asked == [("CUDAExecutionProvider", {"use_tf32": "0"})]  # the CPU is not even offered
    assert fake.fallback == 0
    assert fake.entries["session.disable_cpu_ep_fallback"] == "1"


def test_what_was_chosen_is_reported(exported, rows):
    with aetool.load(exported, provider="cpu") as model:
        assert np.isfinite(model.encode(rows)).all()
        used = model._graphs["encoder"].direct.get_providers()[0]
        assert PROVIDERS[model.provider].registered == used
        assert f"on {model.provider}" in repr(model)


def test_auto_is_the_cpu_where_there_is_no_gpu(exported, monkeypatch):
    monkeypatch.setattr(providers, "cuda_devices", lambda: 0)
    assert aetool.load(exported).provider == "cpu"


def test_an_unknown_precision_is_an_error_listing_those_there_are(exported):
    with pytest.raises(BundleError, match="no precision 'int4'; it has fp32"):
        aetool.load(exported, precision="int4")


@pytest.mark.parametrize("threads", [0, -1, "2", 1.5, True, 1025, 2**31])
def test_an_unusable_number_of_threads_is_an_input_error(exported, threads):
    with pytest.raises(InputError, match="intra_op_num_threads: expected an integer of 1 to 1024"):
        aetool.load(exported, intra_op_num_threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_inside_one_run_do_not_change_results(exported, model, many, threads):
    with aetool.load(exported, intra_op_num_threads=threads) as other:
        np.testing.assert_allclose(other.score(many), model.score(many), rtol=1e-5)


def test_encoding_makes_the_encoder_session_only(exported, rows):
    with aetool.load(exported, provider="cpu") as model:
        assert model._graphs == {}
        model.encode(rows)
        assert list(model._graphs) == ["encoder"]


class FailingSession:
    """A session on a device that gives up in mid-run."""

    def __init__(self, real):
        self._real, self._sess = real, self

    def get_providers(self):
        return ["CUDAExecutionProvider"]

    def run(self, *_):
        raise RuntimeError("CUDA failure 2: out of memory\nat some line")

    run_with_iobinding = run

    def __getattr__(self, name):
        return getattr(self._real, name)


@pytest.mark.parametrize("length", [1, 500])
def test_a_provider_that_fails_in_mid_run_is_named_with_the_remedy(exported, rows, many, length):
    content = (exported / "detector.onnx").read_bytes()
    failing = FailingSession(ort.open_session(content, PROVIDERS["cpu"], where="detector.onnx"))
    graph = Graph("detector.onnx", failing, lambda: failing, lambda data: data, (30,), ["score"], 1)
    with pytest.raises(
        ProviderError, match=r"detector\.onnx: .*out of memory.*CUDAExecutionProvider; use provider='cpu'"
    ):
        graph.caller("score")(many[:length].astype(np.float32))
