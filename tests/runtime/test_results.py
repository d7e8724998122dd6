"""What comes back: correct, the caller's own, and the same however the rows were cut."""

import subprocess

import numpy as np
import pytest

import aetool
from aetool.runtime.chunks import largest_chunk
from aetool.runtime.cpu import FEW_ROWS

CHUNK_ROWS = largest_chunk(120)  # the widest of features, embedding and reconstruction has 120 numbers
METHODS = ("encode", "reconstruct", "score", "detect")


def scaled(found, expected):
    """Largest difference as a share of the expected values' range."""
    if expected.dtype == bool:
        return float(np.count_nonzero(found != expected))
    return float(np.abs(found - expected).max() / np.ptp(expected))


@pytest.mark.parametrize(
    ("method", "output"), [("encode", "embedding"), ("reconstruct", "reconstruction"), ("score", "score")]
)
def test_golden_vectors_reproduce(model, golden, method, output):
    assert scaled(getattr(model, method)(golden["features"]), golden[output]) <= 1e-5


def test_golden_decisions_reproduce(model, golden):
    np.testing.assert_array_equal(model.detect(golden["features"]), golden["is_anomaly"])
    assert set(golden["is_anomaly"]) == {True, False}


def test_decoding_the_embedding_is_reconstructing(model, rows):
    assert scaled(model.decode(model.encode(rows)), model.reconstruct(rows)) <= 1e-6


def test_detect_is_not_score_at_most_threshold(model, many):
    flagged = model.detect(many)
    np.testing.assert_array_equal(flagged, ~(model.score(many) <= np.float32(model.threshold)))
    assert 0 < flagged.sum() < len(many)


def test_the_autoencoder_graph_gives_both_outputs(model, rows):
    outputs = model.run("autoencoder", rows)
    assert sorted(outputs) == ["embedding", "reconstruction"]
    assert scaled(outputs["embedding"], model.encode(rows)) <= 1e-6


LENGTHS = (
    *(1, 2, FEW_ROWS, FEW_ROWS + 1),
    *(CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS, 2 * CHUNK_ROWS + 1, 5000),
)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_rows_gives_what_each_row_alone_gives(model, many, method, length):
    run = getattr(model, method)
    whole = run(many[:length])
    assert len(whole) == length
    sample = sorted({0, length // 2, max(0, length - 2), length - 1, min(length - 1, CHUNK_ROWS)})
    single = np.stack([run(many[i]) for i in sample])
    if length > 2:
        assert scaled(whole[sample], single) <= 1e-6
    else:
        np.testing.assert_allclose(whole[sample], single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_chunked_equals_one_run_over_all_rows(model, exported, many, method, monkeypatch):
    chunked = getattr(model, method)(many)
    monkeypatch.setattr("aetool.runtime.chunks.CHUNK_NUMBERS", many.size * 120)
    monkeypatch.setattr("aetool.runtime.chunks.MAX_CHUNK_ROWS", len(many))
    with aetool.load(exported, provider=model.provider) as whole:
        assert scaled(chunked, getattr(whole, method)(many)) <= 1e-6


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1, 7, 200, 5000])
def test_repeated_runs_are_identical(model, many, method, length):
    first = getattr(model, method)(many[:length])
    for _ in range(5):
        np.testing.assert_array_equal(getattr(model, method)(many[:length]), first)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [1, 7, CHUNK_ROWS, 5000])
def test_a_later_call_does_not_change_an_earlier_result(model, many, method, length):
    first = getattr(model, method)(many[:length])
    kept = first.copy()
    for _ in range(3):
        getattr(model, method)(many[:length] * 3)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("length", [1, 7, 200, 5000])
def test_results_belong_to_the_caller(model, many, length):
    given = many[:length].copy()
    first, second = model.reconstruct(given), model.reconstruct(given)
    assert first.flags.writeable
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, given)
    kept = second.copy()
    first[...] = 0
    np.testing.assert_array_equal(model.reconstruct(given), kept)


def test_results_have_the_documented_dtypes(model, rows):
    assert [getattr(model, method)(rows).dtype for method in METHODS] == [np.float32] * 3 + [np.bool_]


def test_the_callers_own_arithmetic_is_left_alone(run_python, exported) -> None:
    """onnxruntime can make the calling thread take denormal numbers for zero, for good."""
    done: subprocess.CompletedProcess[str] = run_python(
        """
import sys, numpy as np, aetool
with aetool.load(sys.argv[1]) as model:
    for method in (model.encode, model.reconstruct, model.detect):
        method(np.ones((2000, 30)))
tiny = np.array([5e-324, 1e-310])
assert (tiny * 1.0 == [5e-324, 1e-310]).all() and (tiny * 1.0 != 0).all()
""",
        exported,
    )
    assert done.returncode == 0, done.stderr
