"""Segments and precisions, whichever comes first: each precision has a segmenter and tolerances of its own."""

import shutil

import numpy as np
import pytest

import aetool
from aetool.checks.fidelity import Budget
from aetool.checks.verify import verify_bundle, verify_rows
from aetool.quantize import QuantizeOptions, quantize
from aetool.segments import add_segments

ANY = Budget(None, None, min_speedup=0)
QUICK = QuantizeOptions(rounds=1, seconds=0.01)


@pytest.fixture(params=["segments first", "int8 first"])
def both(request, segmented, grouped_bundle, groups, tmp_path):
    """A bundle with segments and int8."""
    first = segmented.bundle.path if request.param == "segments first" else grouped_bundle
    path = shutil.copytree(first, tmp_path / "bundle")
    quantize(path, groups[0], precision="int8", options=QUICK, budget=ANY)
    if request.param == "int8 first":
        add_segments(path, groups[0], clusters=3)
    return path


def test_int8_puts_rows_where_fp32_does_and_passes_its_own_test(both, groups):
    expected, found = (aetool.load(both, precision=name).segment(groups[0]) for name in ("fp32", "int8"))
    assert np.mean(expected == found) > 0.99
    records = [*verify_bundle(both), *verify_rows(both, groups[0])]
    assert [record for record in records if not record.passed] == []
    judged = {(record.output, record.rows) for record in records if record.graph == "segmenter"}
    assert {("segment", "golden (int8)"), ("distance", "golden (int8)"), ("segment", "golden")} <= judged


def test_contributions_of_int8_sum_to_its_score(both, groups):
    model = aetool.load(both, precision="int8")
    found = model.explain(groups[0]).contribution.sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(found, model.score(groups[0]), rtol=1e-5)
