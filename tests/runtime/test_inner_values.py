"""Inner values: bound to memory for a few rows, never seen outside, and never needed."""

import json
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest

import aetool
from aetool import BundleError
from aetool.onnx_check.edit import with_outputs
from aetool.runtime.cpu import TYPES, row_kinds


def test_named_values_become_outputs_and_the_others_stay_what_they_were(exported, rows):
    data = (exported / "detector.onnx").read_bytes()
    names = json.loads((exported / "manifest.json").read_text())["variants"]["fp32"]["inner_values"]["detector"]
    plain, more = (
        ort.InferenceSession(m, providers=["CPUExecutionProvider"]) for m in (data, with_outputs(data, names))
    )
    found = [output.name for output in more.get_outputs()]
    assert found == ["score", "is_anomaly", *names]
    for a, b in zip(
        plain.run(None, {"features": rows}), more.run(["score", "is_anomaly"], {"features": rows}), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert with_outputs(data, []) == data


def test_a_name_of_any_length_is_written_as_protobuf_wants_it():
    for length in (1, 127, 128, 300, 20_000):
        added = with_outputs(b"", ["x" * length])
        assert added.endswith(b"x" * length)
        assert added[0] == 7 << 3 | 2


def test_run_gives_the_outputs_of_the_graph_alone(model, rows):
    for length in (1, 5, 84):
        assert sorted(model.run("detector", rows[:length])) == ["is_anomaly", "score"]


def test_a_bundle_without_them_runs_all_the_same(bundle, rewrite, model, rows):
    rewrite(bundle, lambda manifest: manifest["variants"]["fp32"].pop("inner_values"))
    with aetool.load(bundle, provider="cpu") as bare:
        for length in (1, 5, 84):
            np.testing.assert_array_equal(bare.score(rows[:length]), model.score(rows[:length]))


@pytest.mark.parametrize("names", [["nothing"], ["score"], ["\u0000"], ["le", "x" * 300]])
def test_a_value_that_the_graph_does_not_have_is_a_bundle_error(bundle, rewrite, rows, names):
    rewrite(bundle, lambda manifest: manifest["variants"]["fp32"]["inner_values"].update(detector=names))
    with pytest.raises(BundleError), aetool.load(bundle, provider="cpu") as model:
        model.score(rows)


def test_a_value_of_an_unknown_type_is_a_bundle_error(exported, rows, monkeypatch):
    monkeypatch.delitem(TYPES, "tensor(bool)")
    with (
        aetool.load(exported, provider="cpu") as model,
        pytest.raises(BundleError, match="is_anomaly, le are of types"),
    ):
        model.detect(rows)


def test_a_weight_is_no_inner_value_and_a_run_that_fails_is_a_bundle_error(bundle, rewrite, model, rows):
    names = ["pipeline.last.bias"]
    rewrite(bundle, lambda manifest: manifest["variants"]["fp32"]["inner_values"].update(detector=names))
    with aetool.load(bundle, provider="cpu") as other:
        with pytest.raises(BundleError, match=r"failed on rows of shape \(2, 30\)"):
            other.score(rows[:2])
        np.testing.assert_array_equal(other.score(rows), model.score(rows))


@pytest.mark.parametrize(("error", "seen"), [(RuntimeError("no"), BundleError), (MemoryError(), MemoryError)])
def test_an_error_of_one_run_over_all_rows_is_a_bundle_error_unless_memory_ran_out(
    exported, rows, monkeypatch, error, seen
):
    def fail(*_):
        raise error

    with aetool.load(exported, provider="cpu") as model:
        model.score(rows)
        monkeypatch.setattr(model._graphs["score alone"], "_run_once", fail)
        with pytest.raises(seen):
            model.score(rows)


def test_the_side_that_a_graph_leaves_open_is_found_by_a_run(exported):
    session = ort.InferenceSession(exported / "encoder.onnx", providers=["CPUExecutionProvider"])
    open_side = SimpleNamespace(name="embedding", shape=["batch", "width"], type="tensor(float)")
    stand_in = SimpleNamespace(get_outputs=lambda: [open_side], run=session.run)
    assert row_kinds(stand_in, "features", (30,)) == {"embedding": ((120,), np.float32)}
