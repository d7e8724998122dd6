"""The openvino provider: on Intel CPUs with its plugin the same results as the CPU provider, else an error."""

import base64
import importlib.util
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import aetool
from aetool import ProviderError
from aetool.runtime import providers
from aetool.runtime.machine import usable_cores
from aetool.runtime.ort import open_session, placement
from aetool.runtime.providers import PROVIDERS, candidates

# A whole ONNX model of one node, StringNormalizer, which OpenVINO does not have.
UNKNOWN_TO_OPENVINO = base64.b64decode(
    "CAg6QQoYCgF4EgF5IhBTdHJpbmdOb3JtYWxpemVyEgFnWhAKAXgSCwoJCAgSBQoDEgFiYhAKAXkSCwoJCAgSBQoDEgFiQgQKABAR"
)
INSTALLED = importlib.util.find_spec("onnxruntime_ep_openvino") is not None
needs_plugin = pytest.mark.skipif(not INSTALLED, reason="onnxruntime-ep-openvino is not installed")


@pytest.fixture
def plugin():
    """Skips where OpenVINO cannot run: the plugin takes Intel's CPUs only."""
    if not INSTALLED:
        pytest.skip("onnxruntime-ep-openvino is not installed")
    try:
        return providers.openvino_device()
    except ProviderError as error:
        if "needs an Intel CPU" not in str(error):
            raise
        pytest.skip("the OpenVINO plugin offers no device on this CPU")


def scaled(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.max(np.abs(found - expected)) / max(np.ptp(expected), 1e-30)


def test_without_the_plugin_the_error_names_the_extra(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", None)  # as if it were not installed
    providers._register.cache_clear()
    with pytest.raises(ProviderError, match=r"not installed; install aetool with the extra 'openvino'"):
        aetool.load(exported, provider="openvino")


@needs_plugin
def test_openvino_here_is_openvino_or_an_error(exported, rows):
    try:
        model = aetool.load(exported, provider="openvino")
    except ProviderError as error:
        assert "use provider='cpu'" in str(error)
        return
    assert model.provider == "openvino"
    model.score(rows)
    assert model._graphs["detector"].direct.get_providers()[0] == providers.OPENVINO


def test_auto_is_never_openvino():
    assert "openvino" not in {provider.name for provider in candidates("auto")}


@pytest.mark.parametrize("threads", [1, 2, 100])
def test_its_options_are_float32_and_the_threads_asked_for(threads):
    cpu = json.loads(providers.openvino_options(threads)["load_config"])["CPU"]
    assert cpu["INFERENCE_PRECISION_HINT"] == "f32"
    streams = int(cpu["NUM_STREAMS"])
    assert int(cpu["INFERENCE_NUM_THREADS"]) == streams * threads
    assert streams == max(1, usable_cores() // threads)


@pytest.mark.parametrize("graph", ["encoder", "decoder", "autoencoder", "detector"])
def test_its_results_are_those_of_the_cpu(plugin, exported, model, rows, many, graph):
    with aetool.load(exported, provider="openvino") as other:
        for features in (rows, rows[:2], many):
            given = model.encode(features) if graph == "decoder" else features
            expected, found = model.run(graph, given), other.run(graph, given)
            for name, values in expected.items():
                if values.dtype == bool:
                    np.testing.assert_array_equal(found[name], values)
                else:
                    assert scaled(found[name], values) <= 1e-5, name


@pytest.mark.parametrize("method", ["encode", "decode", "reconstruct", "score", "detect"])
def test_each_batch_size_reads_the_rows_of_this_call(plugin, exported, model, many, method):
    """Its sessions copy an input as it is bound: rows written into a buffer afterwards would go unread."""
    given = model.encode(many) if method == "decode" else many
    expected = getattr(model, method)(given)
    apart = 0 if method == "detect" else 1e-5 * np.ptp(expected)
    with aetool.load(exported, provider="openvino") as other:
        compute = getattr(other, method)
        for length in (1, 2, 16, 17, 500, 5000):
            for start in (0, 30, 60):  # the second and third use the first one's buffers
                part = slice(start, min(start + length, len(many)))
                out = np.empty_like(expected[part])
                assert compute(given[part], out=out) is out
                for found in (compute(given[part]), out):
                    np.testing.assert_allclose(found, expected[part], rtol=0, atol=apart)
        for row in range(20):
            np.testing.assert_allclose(compute(given[row]), expected[row], rtol=0, atol=apart)


def test_results_of_earlier_calls_stay(plugin, exported, model, many):
    with aetool.load(exported, provider="openvino") as other:
        kept = [other.reconstruct(many[start : start + 1 + start % 20]) for start in range(100)]
    for start, found in enumerate(kept):
        assert scaled(found, model.reconstruct(many[start : start + 1 + start % 20])) <= 1e-5


def test_nan_and_infinity_are_anomalies_there_too(plugin, exported, rows):
    broken = rows[:4].copy()
    broken[0, 0], broken[1, 3], broken[2, 5], broken[3] = np.nan, np.inf, -np.inf, 3e38
    with aetool.load(exported, provider="openvino") as other:
        assert other.detect(broken).all()


def test_every_node_is_its_own(plugin, exported):
    model = (exported / "detector.onnx").read_bytes()
    assert {node.provider for node in placement(model, PROVIDERS["openvino"], "here")} == {providers.OPENVINO}


def test_threads_may_open_it_at_once_and_share_it(plugin, exported, model, many):
    """Registered once, whoever comes first."""
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: aetool.load(exported, provider="openvino"), range(8)))
        found = list(pool.map(lambda _: opened[0].score(many), range(8)))
    for scores in found:
        assert scaled(scores, model.score(many)) <= 1e-5


def test_threads_that_share_it_get_their_own_rows_results(plugin, exported, model, many):
    expected = model.score(many)
    apart = 1e-5 * np.ptp(expected)

    def work(seed):
        random = np.random.default_rng(seed)
        for length in random.choice([1, 2, 7, 16, 17, 100, 3000], 60):
            start = int(random.integers(0, len(many) - length))
            part = slice(start, start + length)
            np.testing.assert_allclose(other.score(many[part]), expected[part], rtol=0, atol=apart)

    with aetool.load(exported, provider="openvino") as other, ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_ever_new_batch_sizes_do_not_make_memory_grow(plugin, exported, run_python):
    """OpenVINO keeps near a megabyte for each size of batch that it sees, for good."""
    done = run_python(
        """
import sys, numpy as np, aetool
def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
random = np.random.default_rng(0)
rows = np.ones((8000, 30), np.float32)
with aetool.load(sys.argv[1], provider="openvino") as model:
    def calls(sizes):
        for size in sizes:
            model.reconstruct(rows[:size])
    calls([*range(1, 17), 8000, 8000 - 1, 4095, 4096, *random.integers(17, 8000, 50)])
    before = resident()
    calls(random.integers(17, 8000, 200))
    print(resident() - before)
""",
        exported,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20  # MB; with chunks of every size it was over 100


def test_it_starts_no_more_threads_than_fit(plugin, exported, run_python):
    done = run_python(
        """
import os, sys, aetool, numpy as np
from aetool.runtime.machine import usable_cores
with aetool.load(sys.argv[1], provider="openvino", intra_op_num_threads=usable_cores()) as model:
    before = len(os.listdir("/proc/self/task"))
    model.score(np.ones((1, 30)))
    print(len(os.listdir("/proc/self/task")) - before)
""",
        exported,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= usable_cores() + 1


def test_it_prints_nothing(plugin, exported, run_python):
    done = run_python(
        """
import sys, numpy as np, aetool
with aetool.load(sys.argv[1], provider="openvino") as model:
    model.encode(np.ones((2000, 30)))
""",
        exported,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_application_may_have_registered_the_plugin_already(plugin, exported, run_python):
    done = run_python(
        """
import sys, numpy as np, onnxruntime, onnxruntime_ep_openvino as plugin, aetool
onnxruntime.register_execution_provider_library("OpenVINOExecutionProvider", plugin.get_library_path())
print(aetool.load(sys.argv[1], provider="openvino").score(np.ones((1, 30))).shape)
""",
        exported,
    )
    assert (done.returncode, done.stdout) == (0, "(1,)\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_may_use_it(plugin, exported, run_python):
    done = run_python(
        """
import os, sys, numpy as np, aetool
with aetool.load(sys.argv[1], provider="openvino") as model:
    parent = model.score(np.ones((1, 30)))
    child = os.fork()
    if child == 0:
        os._exit(0 if np.allclose(model.score(np.ones((9000, 30))), parent) else 3)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        exported,
    )
    assert done.returncode == 0, done.stderr


def test_what_it_cannot_take_is_an_error_not_a_cpu_node(plugin):
    with pytest.raises(ProviderError, match="'openvino' does not work on this machine"):
        open_session(UNKNOWN_TO_OPENVINO, PROVIDERS["openvino"], where="here")
