"""The provider "native", aetool's own core, and "auto", which is the core for a few rows."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aetool
from aetool import BundleError, InputError, ProviderError
from aetool.core import native as core
from aetool.onnx_check.edit import with_metadata
from aetool.runtime import graphs
from aetool.runtime.settings import RunSettings

pytestmark = pytest.mark.skipif(core.vectors() is None, reason="the core is not compiled here")

METHODS = ("encode", "reconstruct", "score", "detect")
MOST = graphs.NATIVE_ROWS


@pytest.fixture(scope="module")
def native(session_bundle):
    return aetool.load(session_bundle, provider="native")


@pytest.fixture(scope="module")
def session_bundle():
    from app_fixtures import EXPORTED

    return EXPORTED


def same_bits(a, b):
    return a.tobytes() == b.tobytes()


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 200), count=st.integers(1, 300), method=st.sampled_from(METHODS))
def test_a_row_has_the_same_bits_in_every_batch(native, many_rows, start, count, method):
    call = getattr(native, method)
    assert same_bits(call(many_rows[start : start + count]), call(many_rows)[start : start + count])


@pytest.fixture(scope="module")
def many_rows():
    rng = np.random.default_rng(0)
    from app_fixtures import EXPORTED

    with np.load(EXPORTED / "golden.npz") as archive:
        rows = archive["features"].astype(np.float32)
    return rows[rng.integers(0, len(rows), 3000)] * rng.normal(1, 0.05, (3000, rows.shape[1])).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_chunks_change_no_bit(session_bundle, native, many_rows, threads):
    with aetool.AutoencoderSession(
        session_bundle, provider="native", settings=RunSettings(workers=threads, chunk_rows=24)
    ) as other:
        for method in METHODS:
            assert same_bits(getattr(other, method)(many_rows), getattr(native, method)(many_rows))


def test_rows_of_many_threads_at_once_are_not_mixed(native, many_rows):
    expected = native.score(many_rows)
    wrong = []

    def work(first):
        for i in range(first, 1500, 7):
            if native.score(many_rows[i : i + 1])[0] != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("method", METHODS)
def test_auto_is_the_core_for_a_few_rows_and_onnxruntime_for_more(session_bundle, native, many_rows, method):
    with aetool.load(session_bundle) as auto, aetool.load(session_bundle, provider="cpu") as cpu:
        assert auto.provider == "cpu" and auto.native_rows() == MOST and cpu.native_rows() == 0
        assert native.native_rows("encoder") == sys.maxsize
        few, more = many_rows[:MOST], many_rows[: MOST + 1]
        assert same_bits(getattr(auto, method)(few), getattr(native, method)(few))
        found, expected = getattr(auto, method)(more), getattr(cpu, method)(more)
        if method in ("encode", "reconstruct"):
            assert same_bits(found, expected)
        else:  # the products are onnxruntime's, what comes after the last is the core's
            np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("count", [MOST + 1, 700, 3000])
def test_scores_of_many_rows_are_those_of_onnxruntime_and_no_decision_differs(session_bundle, many_rows, count):
    rows = many_rows[:count].copy()
    rows[3, 2], rows[5, 0] = np.nan, np.inf
    settings = RunSettings(chunk_rows=400)
    with (
        aetool.AutoencoderSession(session_bundle, settings=settings) as auto,
        aetool.load(session_bundle, provider="cpu") as cpu,
    ):
        found = auto.score(rows)
        np.testing.assert_allclose(found, cpu.score(rows), rtol=5e-6)
        assert same_bits(auto.detect(rows), cpu.detect(rows)) and auto.detect(rows)[[3, 5]].all()
        assert same_bits(auto.run("detector", rows)["score"], found)
        out = np.empty(count, np.float32)
        assert auto.score(rows, out=out) is out and same_bits(out, found)


def test_a_setting_says_up_to_how_many_rows_the_core_answers(session_bundle, native, many_rows):
    for most in (0, 3, 40):
        with aetool.AutoencoderSession(session_bundle, settings=RunSettings(native_rows=most)) as model:
            assert model.native_rows("autoencoder") == most
            if most:
                few = many_rows[:most]
                assert same_bits(model.reconstruct(few), native.reconstruct(few))
                model.reconstruct(many_rows)  # by the other engine, which must not stay
                assert same_bits(model.reconstruct(few), native.reconstruct(few))


def test_without_the_core_auto_is_onnxruntime(session_bundle, many_rows, monkeypatch):
    monkeypatch.setenv(core.VARIABLE, "0")
    with pytest.raises(ProviderError, match="AETOOL_CORE=0 turns it off"):
        aetool.load(session_bundle, provider="native")
    with aetool.load(session_bundle) as auto, aetool.load(session_bundle, provider="cpu") as cpu:
        assert auto.native_rows() == 0 and same_bits(auto.score(many_rows[:1]), cpu.score(many_rows[:1]))


def test_vectors_that_the_processor_has_not_are_named(session_bundle, monkeypatch):
    monkeypatch.setenv(core.VARIABLE, "mmx")
    with pytest.raises(ProviderError, match="AETOOL_CORE=mmx: expected 0 or what this processor has"):
        aetool.load(session_bundle, provider="native")


def test_what_the_core_lacks_is_named_and_auto_runs_it_elsewhere(session_bundle, many_rows, monkeypatch):
    def lacking(model, row, **_):
        raise graphs.UnsupportedError("node 'conv' (Conv)")

    monkeypatch.setattr(graphs, "translate", lacking)
    refused = pytest.raises(ProviderError, match=r"provider 'native' cannot run it: node 'conv' \(Conv\); use")
    with aetool.load(session_bundle, provider="native") as model, refused:
        model.score(many_rows[:1])
    with aetool.load(session_bundle) as auto, aetool.load(session_bundle, provider="cpu") as cpu:
        assert auto.native_rows() == 0 and same_bits(auto.score(many_rows[:1]), cpu.score(many_rows[:1]))


def test_a_thread_that_flushes_denormals_gets_the_same_bits(native, many_rows):
    mode = core.float_mode()
    if mode is None:
        pytest.skip("no MXCSR here")
    get, put = mode
    rows = (many_rows[:4] * np.float32(1e-41)).astype(np.float32)
    expected, before = native.encode(rows), get()
    try:
        put(before | 0x8040)
        assert same_bits(native.encode(rows), expected) and get() & 0x8040 == 0x8040  # its own mode comes back
    finally:
        put(before)


def test_the_same_is_refused_in_the_same_words(session_bundle):
    bad = [np.ones((2, 29)), np.ones((2, 3, 30)), [["a"] * 30], None, [[1.0] * 30, [1.0]], {"nothing": [1]}]
    with (
        aetool.load(session_bundle, provider="native") as ours,
        aetool.load(session_bundle, provider="cpu") as cpu,
    ):
        for data in bad:
            with pytest.raises(InputError) as expected:
                cpu.score(data)
            with pytest.raises(InputError) as found:
                ours.score(data)
            assert str(found.value) == str(expected.value)
        with pytest.raises(InputError, match="out: expected ndarray of float32"):
            ours.score(np.ones((2, 30), np.float32), out=np.empty(3, np.float32))


def test_a_graph_of_another_bundle_is_refused(bundle, rewrite):
    """Hashes fit, the metadata inside does not: swapped threshold and names would answer wrongly in silence."""
    rewrite(bundle, detector=with_metadata((bundle / "detector.onnx").read_bytes(), {"threshold": "0.125"}))
    for provider in ("native", "auto"):
        with aetool.load(bundle, provider=provider) as model:
            for _ in range(2):
                with pytest.raises(BundleError, match="threshold"):
                    model.score(np.ones((1, 30), np.float32))
