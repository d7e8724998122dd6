"""A threshold of the caller's own: in Python, and in the graph on a bare onnxruntime."""

import pickle

import numpy as np
import onnxruntime
import pytest

import aetool
from aetool.core.native import vectors, why_not
from aetool.errors import InputError

THRESHOLDS = (0.05, 0.3, 1.0)


@pytest.fixture
def detector(exported):
    return onnxruntime.InferenceSession((exported / "detector.onnx").read_bytes())


@pytest.mark.parametrize("provider", ["cpu", "auto", "native"])
@pytest.mark.parametrize("threshold", [*THRESHOLDS, -1, 0, np.inf, -np.inf])
def test_a_threshold_decides_alike_in_python_and_in_the_graph(exported, rows, detector, threshold, provider):
    hostile = np.concatenate([rows, np.full((1, rows.shape[1]), np.nan, np.float32)])
    if provider == "native" and vectors() is None:
        pytest.skip(why_not())
    with aetool.load(exported, threshold=threshold, provider=provider) as model:
        given = np.array([model.threshold], np.float32)
        expected = detector.run(["is_anomaly"], {"features": hostile, "threshold": given})[0]
        assert np.array_equal(model.detect(hostile), expected)
        assert np.array_equal(model.run("detector", hostile)["is_anomaly"], expected)
        assert [bool(model.detect(row)) for row in hostile[-3:]] == expected[-3:].tolist()
        assert expected[-1]


def test_the_graph_takes_one_threshold_per_row(rows, detector):
    score = detector.run(["score"], {"features": rows})[0]
    at_or_below = np.where(np.arange(len(rows)) % 2, score, np.nextafter(score, np.float32(0)))
    found = detector.run(["is_anomaly"], {"features": rows, "threshold": at_or_below})[0]
    assert found.tolist() == [i % 2 == 0 for i in range(len(rows))]


def test_a_threshold_is_set_and_taken_back(exported, rows):
    with aetool.load(exported) as model:
        own, before = model.threshold, model.detect(rows)
        model.threshold = 0.1
        assert model.threshold == np.float32(0.1)
        assert np.array_equal(model.detect(rows), ~(model.score(rows) <= np.float32(0.1)))
        assert np.array_equal(pickle.loads(pickle.dumps(model)).detect(rows), model.detect(rows))
        model.threshold = None
        assert model.threshold == own and np.array_equal(model.detect(rows), before)


def test_a_threshold_does_not_change_scores(exported, rows):
    with aetool.load(exported) as model, aetool.load(exported, threshold=0.1) as other:
        assert np.array_equal(model.score(rows), other.score(rows))


def test_out_is_filled_and_checked_with_a_threshold_of_its_own(exported, rows):
    with aetool.load(exported, threshold=0.1) as model:
        out = np.empty(len(rows), bool)
        assert model.detect(rows, out=out) is out and np.array_equal(out, model.detect(rows))
        with pytest.raises(InputError, match="out: expected"):
            model.detect(rows, out=np.empty(len(rows), np.float32))


@pytest.mark.parametrize("value", [np.nan, "0.1", True, 1j, [0.1]])
def test_a_threshold_that_is_no_number_is_refused(exported, value):
    with pytest.raises(InputError, match="threshold: expected a number"):
        aetool.load(exported, threshold=value)
