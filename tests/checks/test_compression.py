"""Embeddings in fewer bytes: what they weigh, and what decoding them loses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aetool import InputError, load
from aetool.checks.compression import LARGEST, compression, from_int8, int8_scale, to_int8


class Halves:
    """Keeps the first half of the columns."""

    def encode(self, rows):
        return rows[:, : rows.shape[1] // 2].copy()

    def decode(self, embedding):
        return np.concatenate([embedding, np.zeros_like(embedding)], axis=1)


finite = st.floats(-(2.0**99), 2.0**99, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=finite))
def test_int8_is_within_half_a_step_of_every_value(embedding):
    scale = int8_scale(embedding)
    sent = to_int8(embedding, scale)
    assert sent.dtype == np.int8 and np.abs(sent.astype(int)).max() <= LARGEST
    assert (np.abs(from_int8(sent, scale) - embedding) <= scale * (0.5 + 1e-4)).all()


def test_bytes_are_those_of_the_formats():
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    found = compression(Halves(), rows)
    assert found.features_bytes_per_row == 32 and len(found.scale) == 4
    assert [(one.format, one.bytes_per_row, one.ratio) for one in found.formats] == [
        ("fp32", 16, 2.0),
        ("fp16", 8, 4.0),
        ("int8", 4, 8.0),
    ]


def test_errors_are_in_standard_deviations_of_the_columns():
    rows = np.random.default_rng(0).normal(3, [1, 1000], (4000, 2)).astype(np.float32)
    rows -= rows.mean(axis=0)
    whole, *rounded = compression(Halves(), rows).formats
    assert whole.error == pytest.approx(np.sqrt(0.5), rel=1e-3)  # one column of two is lost
    assert whole.added == 0 and 0 < rounded[0].added < rounded[1].added < 0.01


def test_missing_cells_are_left_out():
    rows = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    expected = compression(Halves(), rows).formats[0].error
    rows[3, 3] = np.nan
    found = compression(Halves(), rows).formats
    assert found[0].error == pytest.approx(expected, rel=0.05)
    assert all(np.isfinite((one.error, one.added)).all() for one in found)


def test_on_a_bundle_fewer_bytes_lose_no_less(bundle, cancer):
    with load(bundle, provider="cpu") as model:
        found = compression(model, cancer.values.astype(np.float32))
    fp32, fp16, int8 = found.formats
    assert fp32.bytes_per_row == 4 * 12 and found.features_bytes_per_row == 4 * 30
    assert fp32.added == 0 < fp16.added < int8.added < fp32.error


def test_no_rows_are_refused():
    with pytest.raises(InputError, match="one row or more"):
        compression(Halves(), np.empty((0, 4), np.float32))
